//! What passes between the thread of the group and the thread of a partition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::ConsumerGroupMetadata;

use crate::Fault;

/// How long an aborted commit waits for a newer token before it tries again with what there is.
const NEWER_TOKEN: Duration = Duration::from_millis(250);

/// What the group's thread tells the thread of a partition. The life of an ownership:
/// `Owned` → (`Draining` | `Lost`) → `Gone`.
#[derive(Default)]
pub(super) struct Control {
    state: Mutex<ControlState>,
    changed: Condvar,
}

#[derive(Default)]
struct ControlState {
    phase: Phase,
    /// Counts the tokens.
    issue: u64,
    token: Option<Arc<ConsumerGroupMetadata>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Ours.
    #[default]
    Owned,
    /// Given up in order: what is processed may still be committed.
    Draining,
    /// Taken away: nothing may be committed any more.
    Lost,
    /// Nothing is done for it any more.
    Gone,
}

impl Control {
    /// Hands over the membership as it is now. Only the thread that polls the group may call it: a token that is fetched
    /// elsewhere could be newer than the state that it is to protect.
    pub(super) fn issue(&self, token: Arc<ConsumerGroupMetadata>) {
        let mut state = self.state.lock();
        state.token = Some(token);
        state.issue += 1;
        self.changed.notify_all();
    }

    /// Moves on to `phase`; phases never go back.
    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        if phase as u8 > state.phase as u8 {
            state.phase = phase;
        }
        self.changed.notify_all();
    }

    /// Moves on to the end; says whether it was not there yet.
    pub(super) fn leave(&self) -> bool {
        let before = std::mem::replace(&mut self.state.lock().phase, Phase::Gone);
        self.changed.notify_all();
        before != Phase::Gone
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Waits until nothing is done for the partition any more, or `deadline`.
    pub(super) fn wait_gone(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.phase != Phase::Gone {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// The token with its number; a fault when the partition is no longer ours.
    pub(super) fn token(&self) -> Result<(u64, Arc<ConsumerGroupMetadata>), Fault> {
        let state = self.state.lock();
        match (&state.token, state.phase) {
            (Some(token), Phase::Owned | Phase::Draining) => Ok((state.issue, Arc::clone(token))),
            _ => Err(Fault::fenced("committing", "the group took the partition away")),
        }
    }

    /// Waits for a token that is newer than number `issue`; a fault when the partition is given up meanwhile.
    pub(super) fn newer(&self, issue: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + NEWER_TOKEN;
        let mut state = self.state.lock();
        while state.issue == issue && state.phase == Phase::Owned {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        if state.phase == Phase::Owned {
            Ok(())
        } else {
            Err(Fault::fenced("committing again", "the partition is given up"))
        }
    }
}
