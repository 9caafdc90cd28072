//! The processor.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use epicenter_bus::{Processor, ProcessorSpec, Put, Record, Reject, State, Step, Store, topics};
use epicenter_catalog::Classified;
use epicenter_model::{
    Codec, Command, EnrichedEvent, Heartbeat, ObjectChange, RawEvent, RawRecord, RecordType, Swept, Timestamp, headers,
};
use epicenter_rules::Classifier;

use crate::cluster::{Cluster, is_remembered, restore};
use crate::derive::derive;
use crate::join::Surroundings;
use crate::occurrence::{News, news};
use crate::state::{Counted, OBJECTS, Recorded, STATE, Table, decode, digest, encode};
use crate::table::{Objects, key, prefix};
use crate::tally::Tally;

/// The component of derived Events. Events of any component below `epicenter.dev/` that come back from a cluster are ours.
pub const COMPONENT: &str = "epicenter.dev/enricher";

const OURS: &str = "epicenter.dev/";

/// The largest value of a row, bytes.
const ROW: usize = epicenter_bus::MAX_STATE_VALUE;

/// How the enricher is wired.
pub fn spec() -> ProcessorSpec {
    ProcessorSpec {
        name: "enricher".to_owned(),
        input: topics::EVENTS_RAW.name,
        stores: vec![
            Store { topic: topics::OBJECTS.name, public: true, packed: true },
            Store { topic: topics::ENRICHER_STATE.name, public: false, packed: false },
        ],
        outputs: vec![topics::EVENTS_ENRICHED.name],
    }
}

/// The enricher of one partition.
pub struct Enricher {
    codec: Codec,
    classifier: Arc<Classifier>,
    tally: Tally,
    clusters: BTreeMap<String, Cluster>,
}

impl Enricher {
    /// An enricher that reads and writes by `codec`, and says by `classifier` what Events mean.
    pub fn new(codec: Codec, classifier: Arc<Classifier>) -> Self {
        Self { codec, classifier, tally: Tally::default(), clusters: BTreeMap::new() }
    }

    /// Tells `count` whenever a rule of one's own decides about an Event, or cannot: the rule's id, and what came of it.
    #[must_use]
    pub fn counted(self, count: impl Fn(&str, &str) + Send + 'static) -> Self {
        Self { tally: Tally::new(count), ..self }
    }
}

impl Processor for Enricher {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.clusters = restore(state)?;
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let payload = record.payload.as_deref();
        let payload =
            payload.ok_or_else(|| Reject("a record of events.raw has no payload: its producer is broken".into()))?;
        let raw = RawRecord::decode(&self.codec, payload).map_err(Reject::because)?;
        let name = raw.cluster().to_owned();
        if name.is_empty() || name.contains('\0') {
            return Err(Reject(format!("{name:?} is no name of a cluster: name it in the exporter's configuration")));
        }
        if !self.clusters.contains_key(&name) {
            self.clusters.insert(name.clone(), Cluster::default());
        }
        let memory = self.clusters.get_mut(&name).expect("it was inserted if it was missing");
        let (codec, classifier, tally, at) = (&self.codec, &*self.classifier, &mut self.tally, raw.at());
        let mut scope = Scope { codec, classifier, tally, cluster: &name, key: &record.key, at, memory, step };
        let outcome = match raw {
            RawRecord::Event(raw) => scope.event(*raw),
            RawRecord::Object(change) => scope.object(*change),
            RawRecord::Swept(swept) => scope.swept(&swept),
            RawRecord::Heartbeat(heartbeat) => scope.heartbeat(&heartbeat),
            RawRecord::Gap(_) => Ok(()),
            RawRecord::Command(command) => scope.command(&command),
        };
        // The memo may have seen facts that are now taken back.
        outcome.inspect_err(|_| scope.memory.forget())
    }

    fn flush(&mut self, _: &mut Put<'_>) {}

    fn codec(&self) -> Codec {
        self.codec.clone()
    }
}

/// One record of one cluster.
pub(crate) struct Scope<'s, 'b> {
    pub codec: &'s Codec,
    pub classifier: &'s Classifier,
    pub tally: &'s mut Tally,
    pub cluster: &'s str,
    /// The record's key.
    pub key: &'s Bytes,
    /// Log time.
    pub at: Timestamp,
    pub memory: &'s mut Cluster,
    pub step: &'s mut Step<'b>,
}

impl<'b> Scope<'_, 'b> {
    pub(crate) fn objects(&mut self) -> Objects<'_, 'b> {
        let Self { codec, cluster, at, memory, step, .. } = self;
        Objects { codec, cluster, memory, step, now: *at }
    }

    pub(crate) fn emit(&mut self, record: RecordType, id: String, key: Bytes, payload: Vec<u8>) {
        self.step.emit(topics::EVENTS_ENRICHED.name, key, payload, headers(record, self.cluster, id, self.at));
    }

    fn event(&mut self, raw: RawEvent) -> Result<(), Reject> {
        let event = &raw.event;
        if event.component.starts_with(OURS) {
            return Ok(());
        }
        // A writer whose object could not be created knows its kind only (kubernetes/kubernetes
        // `pkg/controlplane/controller/defaultservicecidr`).
        if event.regarding.kind.is_empty() {
            return Err(Reject(format!(
                "Event {}/{} (uid {}, by {}) does not say what it is about: its writer must set involvedObject or regarding",
                event.namespace, event.name, event.uid, event.component
            )));
        }
        let identity = match event.name.as_str() {
            "" if event.uid.is_empty() => {
                return Err(Reject(format!(
                    "an Event about {} has neither name nor uid: it is not from an API server",
                    event.regarding
                )));
            }
            "" => digest(&["", &event.uid]),
            name => digest(&[&event.namespace, name]),
        };
        let row = Table::Counted.key(self.cluster, &identity);
        let stored = self.step.get(STATE, &row);
        let last = stored.as_deref().map(decode::<Counted<'_>>).transpose()?;
        let written = last.as_ref().map(|last| last.at);
        let last = last.filter(|last| is_remembered(last, self.at));
        let news = news(last.as_ref(), event, raw.epoch);
        if news == News::Seen {
            tracing::trace!(cluster = self.cluster, uid = event.uid, version = event.resource_version, "seen before");
            return Ok(());
        }
        let reading = self.tally.read(self.classifier, self.cluster, event);
        let (dropped, classified) = (reading.is_dropped(), reading.meaning);
        // Another class is worth a record even if nothing happened; a record says at least one occurrence.
        let occurrences = match news {
            News::Again(times) => Some(times),
            _ => last.filter(|last| last.class != classified.class).map(|_| 1),
        };
        let counted = Counted {
            uid: &event.uid,
            version: &event.resource_version,
            epoch: raw.epoch,
            total: event.total(),
            occurred: event.occurred_at(),
            class: classified.class,
            at: self.at,
        };
        self.step.put(STATE, row, encode(&counted));
        self.memory.counts(identity, written, self.at);
        match occurrences.filter(|_| !dropped) {
            Some(occurrences) => {
                let scheduled = classified.entities.iter().find(|entity| entity.kind == "Node");
                let scheduled = scheduled.filter(|_| classified.class == "sched.scheduled");
                let host = event.kubelet_node().or(scheduled.map(|node| node.name.as_str()));
                let surroundings = self.objects().surroundings(&event.regarding, host)?;
                self.wait(&event.regarding, self.at, &surroundings.context, &surroundings.missing);
                self.send(Occurrence { classified, surroundings, occurrences, derived: false }, raw)
            }
            None => Ok(()),
        }
    }

    fn send(&mut self, occurrence: Occurrence<'_>, raw: RawEvent) -> Result<(), Reject> {
        let event = raw.event;
        let Occurrence { classified, surroundings, occurrences, derived } = occurrence;
        let id = format!("{}/{}/{}", event.uid, event.resource_version, event.total());
        let enriched = EnrichedEvent {
            cluster: raw.cluster,
            cluster_uid: raw.cluster_uid,
            at: raw.at,
            occurred_at: event.occurred_at().unwrap_or(raw.at),
            occurrences,
            backfill: raw.backfill,
            derived,
            class: classified.class.to_owned(),
            category: classified.category,
            severity: classified.severity,
            role: classified.role,
            entities: classified.entities,
            context: surroundings.context,
            event,
        };
        let payload = self.codec.encode(&enriched).map_err(Reject::because)?;
        self.emit(RecordType::EnrichedEvent, id, self.key.clone(), payload);
        Ok(())
    }

    fn object(&mut self, change: ObjectChange) -> Result<(), Reject> {
        let ObjectChange { cluster: _, cluster_uid, at, deleted, listed, facts } = change;
        if facts.object.kind.is_empty() || facts.object.name.is_empty() {
            return Err(Reject(format!("an object has no kind or no name ({}): its exporter is broken", facts.object)));
        }
        let own = key(&facts.object);
        let stored = [self.cluster, "/", &own].concat();
        let old = self.objects().facts(&own)?;
        let old_uid = old.as_ref().map_or("", |old| &old.object.uid);
        let replaced = !old_uid.is_empty() && !facts.object.uid.is_empty() && old_uid != facts.object.uid;
        if deleted && replaced {
            // The end of an earlier object of that name.
            return Ok(());
        }
        let bytes = self.codec.encode(&facts).map_err(Reject::because)?;
        if bytes.len() > ROW {
            return Err(Reject(format!(
                "the facts of {} take {} bytes and a row of objects holds {ROW}: shorten its labels or its conditions",
                facts.object,
                bytes.len()
            )));
        }
        if self.step.get(OBJECTS, stored.as_bytes()).as_deref() != Some(&bytes) {
            self.step.put(OBJECTS, stored, bytes);
        }
        self.record(&own, Recorded { at, deleted: deleted.then_some(at) });
        if deleted {
            return Ok(());
        }
        self.wake(&own)?;

        let old = old.filter(|_| !replaced);
        // What a first list shows has been so for long. What it shows of an object that was known is late news.
        let backfill = listed && old.is_none();
        for finding in derive(old.as_ref(), &facts, listed) {
            let event = finding.event(&facts, at);
            let reading = self.tally.read(self.classifier, self.cluster, &event);
            if reading.is_dropped() {
                continue;
            }
            let classified = reading.meaning;
            let surroundings = self.objects().surroundings(&facts.object, None)?;
            let raw = RawEvent {
                cluster: self.cluster.to_owned(),
                cluster_uid: cluster_uid.clone(),
                at,
                epoch: 0,
                backfill,
                event,
            };
            self.wait(&facts.object, at, &surroundings.context, &surroundings.missing);
            self.send(Occurrence { classified, surroundings, occurrences: 1, derived: true }, raw)?;
        }
        Ok(())
    }

    fn record(&mut self, key: &str, recorded: Recorded) {
        self.step.put(STATE, Table::Recorded.key(self.cluster, &digest(&[key])), encode(&recorded));
        self.memory.records(key, recorded);
    }

    /// What a list did not show was deleted unseen.
    fn swept(&mut self, swept: &Swept) -> Result<(), Reject> {
        for (key, at) in self.unseen(&prefix(&swept.api_version, &swept.kind, &swept.namespace), swept.since)? {
            self.record(&key, Recorded { at, deleted: Some(swept.at) });
        }
        Ok(())
    }

    /// Objects whose key begins with `prefix`, that exist and have no record since `since`.
    fn unseen(&self, prefix: &str, since: Timestamp) -> Result<Vec<(String, Timestamp)>, Reject> {
        let cluster = [self.cluster, "/"].concat();
        let mut unseen = Vec::new();
        for (key, _) in self.step.scan(OBJECTS, [&cluster, prefix].concat().as_bytes()) {
            let Ok(key) = std::str::from_utf8(&key[cluster.len()..]) else { continue };
            // A cluster whose name begins with this one's and a slash has its rows elsewhere.
            let Some(row) = self.step.get(STATE, &Table::Recorded.key(self.cluster, &digest(&[key]))) else { continue };
            let recorded: Recorded = decode(&row)?;
            if recorded.at < since && recorded.deleted.is_none() {
                unseen.push((key.to_owned(), recorded.at));
            }
        }
        Ok(unseen)
    }

    /// Sends a command on, once: whoever is not sure that it was written writes it again.
    fn command(&mut self, command: &Command) -> Result<(), Reject> {
        // Names of Events have two parts.
        let identity = digest(&["", "command", &command.id]);
        let row = Table::Counted.key(self.cluster, &identity);
        if self.step.get(STATE, &row).is_some() {
            return Ok(());
        }
        let payload = self.codec.encode(command).map_err(Reject::because)?;
        let (uid, at) = (command.id.as_str(), self.at);
        let counted = Counted { uid, version: "", epoch: 0, total: 1, occurred: None, class: "", at };
        self.step.put(STATE, row, encode(&counted));
        self.memory.counts(identity, None, at);
        self.emit(RecordType::Command, command.id.clone(), self.key.clone(), payload);
        Ok(())
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), Reject> {
        let payload = self.codec.encode(heartbeat).map_err(Reject::because)?;
        self.memory.expire(self.cluster, self.at, self.step)?;
        self.emit(RecordType::Heartbeat, self.at.as_micros().to_string(), self.key.clone(), payload);
        Ok(())
    }
}

/// What is sent of an Event besides itself.
struct Occurrence<'c> {
    classified: Classified<'c>,
    surroundings: Surroundings,
    occurrences: i64,
    derived: bool,
}
