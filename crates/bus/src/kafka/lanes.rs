//! The threads of the partitions that a member owns.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use rdkafka::consumer::ConsumerGroupMetadata;

use super::control::{Control, Phase};
use super::partition::{Hands, Ownership};
use crate::{Fault, Processor};

/// Before a partition that failed is taken up again.
const PAUSE: Duration = Duration::from_millis(500);
/// The same, when somebody must mend something first.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// One thread for each owned partition.
///
/// Nobody waits for a thread that has lost its partition: it may still stand in a call to the cluster, or close its clients,
/// which takes as long as the brokers let it. When the group gives the partition back, another thread takes it over, and fences
/// that one like any predecessor.
pub(super) struct Lanes<'scope, 'env, P> {
    scope: &'scope Scope<'scope, 'env>,
    work: &'env Ownership<'env, P>,
    running: BTreeMap<u32, Lane>,
    not_before: BTreeMap<u32, Instant>,
}

struct Lane {
    control: Arc<Control>,
    /// How the ownership ended; it is hung up without a word when the thread panics.
    outcome: Receiver<Result<(), Fault>>,
}

impl<'scope, 'env, P: Processor> Lanes<'scope, 'env, P> {
    /// Whose threads live as long as `scope`.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, work: &'env Ownership<'env, P>) -> Self {
        Self { scope, work, running: BTreeMap::new(), not_before: BTreeMap::new() }
    }

    /// Hands out `token`, starts the threads of partitions that have none, and sees to those that have ended.
    pub(super) fn tend(&mut self, owned: &mut BTreeMap<u32, Arc<Control>>, token: &Arc<ConsumerGroupMetadata>) {
        let over: Vec<_> =
            self.running.iter().filter_map(|(partition, lane)| Some((*partition, lane.over()?))).collect();
        for (partition, outcome) in over {
            self.end(owned, partition, outcome);
        }
        for (partition, control) in owned.iter() {
            control.issue(Arc::clone(token));
            let before = self.running.get(partition).filter(|lane| !Arc::ptr_eq(&lane.control, control));
            if let Some(lane) = before {
                tracing::info!(service = self.work.spec.name, partition, "its thread of before has not ended yet");
                self.work.leave(*partition, &lane.control);
                self.running.remove(partition);
            }
            let waits = self.not_before.get(partition).is_some_and(|instant| Instant::now() < *instant);
            if !waits && !self.running.contains_key(partition) {
                self.start(*partition, control);
            }
        }
    }

    /// Nothing may be committed any more.
    pub(super) fn lose(&self) {
        self.running.values().for_each(|lane| lane.control.enter(Phase::Lost));
    }

    fn end(&mut self, owned: &mut BTreeMap<u32, Arc<Control>>, partition: u32, outcome: Result<(), Fault>) {
        let Some(lane) = self.running.remove(&partition) else { return };
        let (service, trouble) = (&self.work.spec.name, &self.work.clients.trouble);
        let part = format!("{service}/{partition}");
        let pause = match outcome {
            Ok(()) => Duration::ZERO,
            Err(Fault::Fatal { what, why, mend }) => {
                tracing::error!(service, partition, "the partition stands still: {what}: {why}. {mend}");
                trouble.stands(&part, format!("{what}: {why}"), mend);
                LONG_PAUSE
            }
            Err(fault) => {
                tracing::info!(service, partition, %fault, "the partition was given up");
                PAUSE
            }
        };
        match owned.get_mut(&partition) {
            // Still ours: it is taken up again from the beginning, as a new ownership.
            Some(control) if Arc::ptr_eq(control, &lane.control) => {
                *control = Arc::default();
                self.not_before.insert(partition, Instant::now() + pause);
            }
            _ => trouble.goes_on(&part),
        }
    }

    fn start(&mut self, partition: u32, control: &Arc<Control>) {
        let (tell, outcome) = sync_channel(1);
        let (work, own) = (self.work, Arc::clone(control));
        let body = move || {
            let mut hands = None;
            let outcome = Hands::new(work, partition).and_then(|new| work.own(partition, &own, hands.insert(new)));
            work.leave(partition, &own);
            // Who does not listen any more has gone on without it.
            let _ = tell.send(outcome);
            let ended = Instant::now();
            drop(hands);
            tracing::debug!(
                service = work.spec.name,
                partition,
                took_ms = ended.elapsed().as_millis() as u64,
                "closed its clients"
            );
        };
        // What panics hangs up, which tells it.
        let run = move || drop(catch_unwind(AssertUnwindSafe(body)));
        let service = &self.work.spec.name;
        match std::thread::Builder::new().name(format!("{service}/{partition}")).spawn_scoped(self.scope, run) {
            Ok(_) => drop(self.running.insert(partition, Lane { control: Arc::clone(control), outcome })),
            Err(error) => {
                tracing::error!(service, partition, %error, "no thread for the partition: it is tried again");
                self.not_before.insert(partition, Instant::now() + LONG_PAUSE);
            }
        }
    }
}

impl Lane {
    /// How it ended, once it has.
    fn over(&self) -> Option<Result<(), Fault>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(Fault::fatal("driving the partition", "its thread panicked", "A bug: please report it")))
            }
        }
    }
}
