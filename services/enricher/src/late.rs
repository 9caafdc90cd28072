//! Surroundings that become known after the Event that needed them.

use epicenter_bus::Reject;
use epicenter_model::{ContextUpdate, ObjectRef, RecordType, Timestamp};

use crate::cluster::is_late_yet_useful;
use crate::enricher::Scope;
use crate::join::Surroundings;
use crate::state::{Digest, STATE, Table, Waiter, Waiting, decode, digest, digest_of, encode};

/// Objects that wait for one other object at most. More of them ask for it again with their next Event.
const WAITERS: usize = 64;

impl Scope<'_, '_> {
    /// Remembers that an Event about `object` was sent with surroundings that lack something.
    pub(crate) fn await_missing(&mut self, object: &ObjectRef, surroundings: &Surroundings) -> Result<(), Reject> {
        if surroundings.missing.is_empty() {
            return Ok(());
        }
        self.wait(object, self.at, digest_of(&surroundings.context), &surroundings.missing)
    }

    fn wait(&mut self, object: &ObjectRef, at: Timestamp, sent: Digest, missing: &[String]) -> Result<(), Reject> {
        for key in missing {
            let digest = digest(&[key]);
            let row = Table::Waiting.key(self.cluster, &digest);
            let mut waiting: Waiting = self.step.get(STATE, &row).map_or_else(|| Ok(Waiting::default()), decode)?;
            waiting.objects.retain(|waiter| is_late_yet_useful(waiter.at, self.at));
            if waiting.objects.len() < WAITERS && waiting.objects.iter().all(|waiter| waiter.object != *object) {
                waiting.objects.push(Waiter { object: object.clone(), at, sent });
                self.step.put(STATE, row, encode(&waiting));
                self.memory.waits(digest, &waiting);
            }
        }
        Ok(())
    }

    /// Sends on what the new facts of the object of that key say about those that waited for it.
    pub(crate) fn wake(&mut self, key: &str) -> Result<(), Reject> {
        let digest = digest(&[key]);
        if !self.memory.is_awaited(&digest) {
            return Ok(());
        }
        let row = Table::Waiting.key(self.cluster, &digest);
        let waiting: Waiting = self.step.get(STATE, &row).map_or_else(|| Ok(Waiting::default()), decode)?;
        self.step.delete(STATE, row);
        self.memory.waits(digest, &Waiting::default());
        for Waiter { object, at, sent } in waiting.objects {
            if !is_late_yet_useful(at, self.at) {
                continue;
            }
            let Surroundings { context, known, missing } = self.objects().surroundings(&object, None)?;
            let mut newest = sent;
            if known {
                newest = digest_of(&context);
            }
            self.wait(&object, at, newest, &missing)?;
            if newest != sent {
                let id = format!("{}/{}", object.log_key(""), self.at.as_micros());
                let key = object.log_key(self.cluster);
                let update = ContextUpdate { cluster: self.cluster.to_owned(), at: self.at, object, context };
                let payload = self.codec.encode(&update).map_err(Reject::because)?;
                self.emit(RecordType::ContextUpdate, &id, key.into_bytes(), payload);
            }
        }
        Ok(())
    }
}
