//! What is going on, in memory: the public tables, and the newest Events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use epicenter_model::{
    Codec, CodecError, EnrichedEvent, EnrichedRecord, Gap, Incident, IncidentState, RawRecord, RecordType, Severity,
    Silence, Timestamp, WatchPosition,
};
use parking_lot::RwLock;
use tokio::sync::watch;

/// Incidents that are over and still held: the newest.
const ENDED: usize = 2_000;
/// Events that are held: the newest.
const EVENTS: usize = 20_000;
/// Of an Event's text so much is held, bytes.
const TEXT: usize = 1_000;
/// Gaps that are held: the newest.
const GAPS: usize = 200;
/// Changes that are remembered, so that a browser hears only of what it shows.
const CHANGES: usize = 1_024;

/// The incidents, silences, clusters and Events that pages are made of. Cheap to clone; bounded by the incidents that are open.
#[derive(Clone)]
pub struct Board {
    codec: Codec,
    held: Arc<RwLock<Held>>,
    changed: watch::Sender<u64>,
}

/// What a board holds.
#[derive(Default)]
pub(crate) struct Held {
    incidents: BTreeMap<Key, Shown>,
    /// The worst first, then the newest.
    open: BTreeSet<(std::cmp::Reverse<(Severity, Timestamp)>, Key)>,
    /// The first to end first.
    ended: BTreeSet<(Timestamp, Key)>,
    silences: BTreeMap<Vec<u8>, Silence>,
    clusters: BTreeMap<String, Cluster>,
    events: VecDeque<Arc<Heard>>,
    gaps: VecDeque<Gap>,
    /// The newest changes of incidents, by the board's version.
    changes: VecDeque<(u64, String)>,
    version: u64,
    /// Topics that have been read up to their ends.
    read: BTreeSet<&'static str>,
}

/// Id and cluster.
type Key = (String, String);

/// An incident that is held: its head, and all of it as it was written.
pub(crate) struct Shown {
    /// Without its members.
    pub head: Incident,
    /// What a search looks at, in lower case.
    pub words: String,
    document: Bytes,
}

/// What is known of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Of each resource that is watched: log time of its newest position, since when a list is under way.
    pub resources: BTreeMap<String, WatchPosition>,
    /// Log time that the enricher has written on, and whether the watches were well then.
    pub heartbeat: Option<(Timestamp, bool)>,
    /// It was taken out of the configuration.
    pub is_gone: bool,
}

impl Cluster {
    /// Log time that its exporter has reached.
    pub fn reached(&self) -> Option<Timestamp> {
        self.resources.values().map(|position| position.at).max()
    }
}

/// An Event that was heard of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub cluster: String,
    pub occurred_at: Timestamp,
    pub uid: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub reason: String,
    pub class: String,
    pub category: &'static str,
    pub severity: Severity,
    pub occurrences: i64,
    pub message: String,
}

impl Board {
    /// An empty board that reads records by `codec`.
    pub fn new(codec: Codec) -> Self {
        Self { codec, held: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Looks at what is held.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&self.held.read())
    }

    /// Hears of changes. However many there are meanwhile, it hears of the newest.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All of an incident, by its id.
    ///
    /// # Errors
    /// When its document cannot be decoded.
    pub(crate) fn incident(&self, id: &str) -> Result<Option<Incident>, CodecError> {
        let document = self.look(|held| held.find(id).map(|shown| shown.document.clone()));
        document.map(|document| self.codec.decode(&document)).transpose()
    }

    /// All of `topic` that there was has been taken.
    pub(crate) fn caught_up(&self, topic: &'static str) {
        if self.held.write().read.insert(topic) {
            self.tell(None);
        }
    }

    /// Takes a row of the table of incidents; `None` when it was deleted.
    ///
    /// # Errors
    /// When it cannot be decoded; retryable as the codec's error says.
    pub fn incident_row(&self, key: &[u8], payload: Option<&[u8]>) -> Result<(), CodecError> {
        let Some(payload) = payload else {
            let key = std::str::from_utf8(key).ok().and_then(|key| key.rsplit_once('/'));
            if let Some((cluster, id)) = key {
                self.held.write().remove(&(id.to_owned(), cluster.to_owned()));
                self.tell(Some(id.to_owned()));
            }
            return Ok(());
        };
        let mut head: Incident = self.codec.decode(payload)?;
        head.members = Vec::new();
        let id = head.id.clone();
        self.held.write().put(head, Bytes::copy_from_slice(payload));
        self.tell(Some(id));
        Ok(())
    }

    /// Takes a row of the table of silences.
    ///
    /// # Errors
    /// As for [`Board::incident_row`].
    pub fn silence_row(&self, key: &[u8], payload: Option<&[u8]>) -> Result<(), CodecError> {
        let silence = payload.map(|payload| self.codec.decode::<Silence>(payload)).transpose()?;
        let mut held = self.held.write();
        match silence {
            Some(silence) => held.silences.insert(key.to_vec(), silence),
            None => held.silences.remove(key),
        };
        drop(held);
        self.tell(None);
        Ok(())
    }

    /// Takes a row of the table of positions.
    ///
    /// # Errors
    /// As for [`Board::incident_row`].
    pub fn position_row(&self, key: &[u8], payload: Option<&[u8]>) -> Result<(), CodecError> {
        let mut held = self.held.write();
        match payload {
            Some(payload) => {
                // Other sources keep rows of another kind there.
                if !self.codec.record_type(payload).is_ok_and(|of| of == RecordType::WatchPosition) {
                    return Ok(());
                }
                let position: WatchPosition = self.codec.decode(payload)?;
                let cluster = held.clusters.entry(position.cluster.clone()).or_default();
                cluster.is_gone = false;
                cluster.resources.insert(position.resource.clone(), position);
            }
            None => {
                let key = std::str::from_utf8(key).ok().and_then(|key| key.split_once('/'));
                if let Some((cluster, resource)) = key
                    && let Some(known) = held.clusters.get_mut(cluster)
                {
                    known.resources.remove(resource);
                }
            }
        }
        Ok(())
    }

    /// Takes a record of `events.enriched`.
    ///
    /// # Errors
    /// As for [`Board::incident_row`].
    pub fn enriched(&self, payload: &[u8]) -> Result<(), CodecError> {
        match EnrichedRecord::decode(&self.codec, payload)? {
            EnrichedRecord::Event(event) => self.held.write().hear(*event),
            EnrichedRecord::Heartbeat(beat) => {
                let mut held = self.held.write();
                let cluster = held.clusters.entry(beat.cluster).or_default();
                cluster.heartbeat = Some((beat.at, beat.healthy));
                cluster.is_gone = beat.last;
            }
            EnrichedRecord::Context(_) | EnrichedRecord::Command(_) => {}
        }
        Ok(())
    }

    /// Takes a record of `events.raw`, of which only gaps count.
    ///
    /// # Errors
    /// As for [`Board::incident_row`].
    pub fn raw(&self, payload: &[u8]) -> Result<(), CodecError> {
        if !self.codec.record_type(payload).is_ok_and(|of| of == RecordType::Gap) {
            return Ok(());
        }
        if let RawRecord::Gap(gap) = RawRecord::decode(&self.codec, payload)? {
            let mut held = self.held.write();
            if !held.gaps.contains(&gap) {
                held.gaps.push_front(gap);
                held.gaps.truncate(GAPS);
            }
        }
        Ok(())
    }

    fn tell(&self, incident: Option<String>) {
        let version = {
            let mut held = self.held.write();
            held.version += 1;
            let version = held.version;
            if let Some(id) = incident {
                held.changes.push_back((version, id));
                if held.changes.len() > CHANGES {
                    held.changes.pop_front();
                }
            }
            version
        };
        self.changed.send_replace(version);
    }
}

impl Held {
    fn put(&mut self, head: Incident, document: Bytes) {
        let key = (head.id.clone(), head.cluster.clone());
        if self.incidents.get(&key).is_some_and(|known| known.head.version > head.version) {
            return;
        }
        self.remove(&key);
        if head.state == IncidentState::Open {
            self.open.insert((std::cmp::Reverse((head.severity, head.opened_at)), key.clone()));
        } else {
            self.ended.insert((ended_at(&head), key.clone()));
        }
        let cause = &head.cause;
        let words = format!("{}\n{}\n{}\n{}", head.title, head.id, cause.class, cause.object).to_lowercase();
        self.incidents.insert(key, Shown { head, words, document });
        while self.ended.len() > ENDED
            && let Some((_, oldest)) = self.ended.pop_first()
        {
            self.incidents.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(Shown { head, .. }) = self.incidents.remove(key) else { return };
        self.open.remove(&(std::cmp::Reverse((head.severity, head.opened_at)), key.clone()));
        self.ended.remove(&(ended_at(&head), key.clone()));
    }

    fn hear(&mut self, event: EnrichedEvent) {
        let EnrichedEvent { cluster, occurred_at, occurrences, class, category, severity, event, .. } = event;
        let mut message = event.note;
        message.truncate(message.floor_char_boundary(TEXT));
        let object = event.regarding;
        self.events.push_back(Arc::new(Heard {
            cluster,
            occurred_at,
            uid: event.uid,
            kind: object.kind,
            namespace: object.namespace,
            name: object.name,
            reason: event.reason,
            class,
            category: category.name(),
            severity,
            occurrences,
            message,
        }));
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    /// The board's version: it grows with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All of a topic has been read.
    pub fn has_read(&self, topic: &'static str) -> bool {
        self.read.contains(topic)
    }

    /// Whether `incident` changed after `version`; yes when that is not known any more.
    pub fn changed_since(&self, version: u64, incident: &str) -> bool {
        let known = self.changes.front().is_some_and(|(first, _)| *first <= version + 1);
        !known || self.changes.iter().rev().take_while(|(at, _)| *at > version).any(|(_, id)| id == incident)
    }

    /// The incident of that id.
    pub fn find(&self, id: &str) -> Option<&Shown> {
        let first = (id.to_owned(), String::new());
        self.incidents.range(first..).next().filter(|((found, _), _)| found == id).map(|(_, shown)| shown)
    }

    /// Incidents that are open, the worst first, then the newest.
    pub fn open(&self) -> impl Iterator<Item = &Shown> {
        self.open.iter().filter_map(|(_, key)| self.incidents.get(key))
    }

    /// Incidents that are over, the last first.
    pub fn ended(&self) -> impl Iterator<Item = &Shown> {
        self.ended.iter().rev().filter_map(|(_, key)| self.incidents.get(key))
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Silences, in order of their end.
    pub fn silences(&self) -> Vec<&Silence> {
        let mut silences: Vec<_> = self.silences.values().collect();
        silences.sort_by_key(|silence| (silence.ends_at, &silence.id));
        silences
    }

    /// Clusters by name.
    pub fn clusters(&self) -> &BTreeMap<String, Cluster> {
        &self.clusters
    }

    /// Events, the newest first.
    pub fn events(&self) -> impl Iterator<Item = &Arc<Heard>> {
        self.events.iter().rev()
    }

    /// Gaps, the newest first.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter()
    }
}

/// When an incident ended; one that was merged has no end of its own.
pub(crate) fn ended_at(incident: &Incident) -> Timestamp {
    incident.resolved_at.unwrap_or(incident.last_event_at)
}

#[cfg(test)]
mod tests;
