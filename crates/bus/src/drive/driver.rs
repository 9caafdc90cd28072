//! The same steps by hand.

use super::lane::Lane;
use crate::step::Batch;
use crate::{Emit, Processor, ProcessorSpec, Record, Reject, State};

/// Drives a processor by hand, in memory, for tests: the same steps, without a log.
pub struct Driver<'s, P> {
    lane: Lane<'s, P>,
}

impl<'s, P: Processor> Driver<'s, P> {
    /// A processor on empty state.
    ///
    /// # Panics
    /// When the processor does not restore from it.
    pub fn new(spec: &'s ProcessorSpec, processor: P) -> Self {
        Self::on(spec, processor, State::new(&spec.stores))
    }

    fn on(spec: &'s ProcessorSpec, processor: P, state: State) -> Self {
        Self { lane: Lane::new(spec, processor, state).expect("the state restores") }
    }

    /// Processes one record and settles its effects. Gives what it emitted, or why it was rejected.
    ///
    /// # Errors
    /// The rejection; then nothing has changed.
    pub fn feed(&mut self, record: &Record) -> Result<Vec<Emit>, Reject> {
        let mut batch = Batch::default();
        let outcome = self.lane.process(record, &mut batch, true);
        self.lane.settle(&batch).expect("the state restores");
        outcome.map(|()| batch.emits)
    }

    /// The state as it is committed.
    pub fn state(&self) -> &State {
        &self.lane.state
    }

    /// Goes on with another instance, restored from the committed state, as after a crash.
    pub fn restart(self, processor: P) -> Self {
        Self::on(self.lane.spec, processor, self.lane.state)
    }
}
