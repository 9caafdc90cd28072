//! Surroundings that become known after the Event that needed them.

use epicenter_bus::Reject;
use epicenter_model::{Context, ContextUpdate, ObjectRef, RecordType, Timestamp};

use crate::cluster::is_late_yet_useful;
use crate::enricher::Scope;
use crate::join::Surroundings;
use crate::state::{Digest, STATE, Table, Waiting, decode, digest, digest_of, encode};

/// Objects that wait for one other object at most. More of them ask for it again with a later Event.
const WAITERS: usize = 64;

impl Scope<'_, '_> {
    /// Remembers that `context` was sent for an Event of `at` about `object`, and that facts of `missing` would say more.
    pub(crate) fn wait(&mut self, object: &ObjectRef, at: Timestamp, context: &Context, missing: &[String]) {
        for key in missing {
            let missing = digest(&[key]);
            let row = digest(&[key, &object.kind, &object.namespace, &object.name, &object.uid]);
            let since = self.memory.waits_since(missing, row);
            let waits = since.is_some_and(|since| is_late_yet_useful(since, self.at));
            if waits || (since.is_none() && self.memory.waiters(missing).count() >= WAITERS) {
                continue;
            }
            let waiting = Waiting { missing, object: object.clone(), at, sent: digest_of(context) };
            self.step.put(STATE, Table::Waiting.key(self.cluster, &row), encode(&waiting));
            self.memory.waits(missing, row, at);
        }
    }

    /// Sends on what the new facts of the object of that key say about those that waited for it.
    pub(crate) fn wake(&mut self, key: &str) -> Result<(), Reject> {
        let missing = digest(&[key]);
        for row in self.memory.waiters(missing).collect::<Vec<Digest>>() {
            let stored = Table::Waiting.key(self.cluster, &row);
            let waiting = self.step.get(STATE, &stored).map(|row| decode::<Waiting>(&row)).transpose()?;
            self.step.delete(STATE, stored);
            self.memory.waits_no_more(missing, row);
            if let Some(waiting) = waiting.filter(|waiting| is_late_yet_useful(waiting.at, self.at)) {
                self.send_on(waiting)?;
            }
        }
        Ok(())
    }

    fn send_on(&mut self, Waiting { object, at, sent, .. }: Waiting) -> Result<(), Reject> {
        let Surroundings { context, known, missing } = self.objects().surroundings(&object, None)?;
        self.wait(&object, at, &context, &missing);
        if known && digest_of(&context) != sent {
            let id = format!("{}/{}", object.log_key(""), self.at.as_micros());
            let key = object.log_key(self.cluster);
            let update = ContextUpdate { cluster: self.cluster.to_owned(), at: self.at, object, context };
            let payload = self.codec.encode(&update).map_err(Reject::because)?;
            self.emit(RecordType::ContextUpdate, id, key.into(), payload);
        }
        Ok(())
    }
}
