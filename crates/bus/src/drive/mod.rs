//! The loop that drives a processor over a partition that this process owns.

mod driver;
mod lane;
mod rebuild;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use epicenter_model::Codec;

pub use driver::Driver;
use lane::Lane;
pub(crate) use rebuild::rebuild;

use crate::step::Batch;
use crate::{Fault, Processor, ProcessorSpec, Progress, Record, State, StoreId, Traced};

/// A batch closes after that time, when its input is not drained before.
const BATCH_TIME: Duration = Duration::from_millis(100);
/// A batch closes at that size, in and out, bytes. No count of records closes it: a commit costs the same for all.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long to wait for the first record of a batch before looking around.
const IDLE: Duration = Duration::from_millis(100);
/// How often to look how far behind the partition is.
const LOOK: Duration = Duration::from_secs(1);

/// A partition that this process owns.
pub(crate) trait Assigned {
    /// Its next record.
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault>;

    /// Writes the batch's records, state delta and input offset, wholly or not at all. Retries what passes; a fault ends
    /// the ownership.
    fn commit(&mut self, batch: &Batch) -> Result<(), Fault>;

    /// Offsets from the last record that was read to the end; `None` when that is not known.
    fn behind(&mut self) -> Option<u64>;

    /// Whether the partition is still to be worked on; when not, what [`Assigned::poll`] would say is [`Poll::Drain`].
    fn is_owned(&mut self) -> Result<bool, Fault>;
}

/// What a partition has to say.
pub(crate) enum Poll {
    /// Its next record.
    Record(Record),
    /// Nothing within the time.
    Idle,
    /// The ownership ends: commit what is there, and go.
    Drain,
}

/// Drives `processor` from `state` on until the partition is drained or lost.
pub(crate) fn drive<P: Processor>(
    log: &mut impl Assigned,
    spec: &ProcessorSpec,
    processor: P,
    state: State,
    mut tell: impl FnMut(Progress),
) -> Result<(), Fault> {
    let codec = processor.codec();
    while !is_readable(&codec, spec, &state) {
        if !log.is_owned()? {
            return Ok(());
        }
        std::thread::sleep(IDLE);
    }
    let mut input = Input { log, codec, held: None, again: VecDeque::new() };
    let mut lane = Lane::new(spec, processor, state)?;
    let (mut looked, mut newest) = (None, None);
    loop {
        if looked.is_none_or(|looked: Instant| looked.elapsed() > LOOK) {
            looked = Some(Instant::now());
            if let Some(records) = input.behind() {
                tell(Progress::Behind { records, newest });
            }
        }
        let mut batch = Batch::default();
        let record = match input.poll(IDLE)? {
            Poll::Idle => continue,
            Poll::Drain => return Ok(()),
            Poll::Record(record) => record,
        };
        let began = Instant::now();
        lane.take(record, &mut batch);
        let deadline = began + BATCH_TIME;
        let mut draining = false;
        // The clock is not asked for every record.
        let in_time = |batch: &Batch| !batch.records.is_multiple_of(32) || Instant::now() < deadline;
        while batch.size < BATCH_BYTES && !lane.astray && in_time(&batch) {
            match input.poll(Duration::ZERO)? {
                Poll::Record(record) => lane.take(record, &mut batch),
                Poll::Idle => break,
                Poll::Drain => {
                    draining = true;
                    break;
                }
            }
        }
        let batch = lane.close(batch, &mut input.again)?;
        let processing = began.elapsed();
        input.log.commit(&batch)?;
        let commit = began.elapsed() - processing;
        for traced in &batch.traced {
            tell(Progress::Traced(Traced { ended: SystemTime::now(), ..*traced }));
        }
        let Batch { records, dead_letters, oldest, .. } = batch;
        tell(Progress::Committed { records, dead_letters, oldest, processing, commit });
        newest = newest.max(Some(batch.timestamp));
        lane.settle(&batch)?;
        if draining && input.again.is_empty() {
            return Ok(());
        }
    }
}

/// The values of the public stores name schemas that can be had. A private store is its processor's own matter.
fn is_readable(codec: &Codec, spec: &ProcessorSpec, state: &State) -> bool {
    let public = spec.stores.iter().enumerate().filter(|(_, store)| store.public);
    let mut values = public.flat_map(|(index, _)| state.scan(StoreId(index), b"")).map(|(_, value)| value);
    values.all(|value| !waits(codec, &value))
}

/// The schema by which a payload was written cannot be had now.
fn waits(codec: &Codec, payload: &[u8]) -> bool {
    codec.record_type(payload).is_err_and(|error| error.is_retryable())
}

/// The partition's records, as far as their schemas can be had.
struct Input<'l, L> {
    log: &'l mut L,
    codec: Codec,
    /// A record that was read and whose schema cannot be had now.
    held: Option<Record>,
    /// Records that were read and are in no batch yet.
    again: VecDeque<Record>,
}

impl<L: Assigned> Input<'_, L> {
    /// The next record. While one is held, there is none.
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault> {
        if let Some(record) = self.again.pop_front() {
            return Ok(Poll::Record(record));
        }
        let record = match self.held.take() {
            Some(_) if !self.log.is_owned()? => return Ok(Poll::Drain),
            Some(record) => record,
            None => match self.log.poll(wait)? {
                Poll::Record(record) => record,
                other => return Ok(other),
            },
        };
        if record.payload.as_deref().is_some_and(|payload| waits(&self.codec, payload)) {
            self.held = Some(record);
            std::thread::sleep(wait);
            return Ok(Poll::Idle);
        }
        Ok(Poll::Record(record))
    }

    fn behind(&mut self) -> Option<u64> {
        Some(self.log.behind()? + self.again.len() as u64 + u64::from(self.held.is_some()))
    }
}
