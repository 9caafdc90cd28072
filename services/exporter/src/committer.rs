//! Makes commits of what the watches saw: one order, one log time, records and positions in one commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use epicenter_bus::{Bus, Emit, Fault, Headers, MAX_RECORD, Source, topics};
use epicenter_model::{
    Codec, CodecError, DeadLetter, Gap, GapReason, Heartbeat, ObjectChange, RawEvent, RawRecord, RecordType, Swept,
    Timestamp, headers, partition_of,
};
use epicenter_runtime::Traces;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use crate::backlog::{Backlog, Ended};
use crate::health::{Committed, Health};
use crate::observation::{Message, Observation, Seen};
use crate::position::Positions;
use crate::resource::{Resource, Scope};
use crate::spool::SpoolError;
use epicenter_runtime::Clock;

/// While the log is away, a commit gathers for so long: each is a file.
const GATHER: Duration = Duration::from_secs(1);
/// What a record may have besides its payload: key and headers.
const OVERHEAD: usize = 16 * 1024;

/// Why the committer cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Spool(SpoolError),
    /// It was told to stop while the log could not be written.
    #[error("stopped before everything was committed: the rest is read again from its position")]
    Abandoned,
}

/// A position: its key and its value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// What goes into the log wholly or not at all.
pub(crate) struct Commit {
    pub(crate) records: Vec<Emit>,
    /// Positions that moved.
    pub(crate) changed: Vec<Row>,
    /// All positions; only with a spool.
    pub(crate) all: Vec<Row>,
    /// Log time of the commit before, which names it.
    pub(crate) after: Timestamp,
    /// Its own log time, which its positions carry.
    pub(crate) at: Timestamp,
    pub(crate) done: Committed,
}

/// Makes commits. Blocking: it has a thread of its own.
pub(crate) struct Committer {
    pub(crate) cluster: String,
    pub(crate) cluster_uid: String,
    pub(crate) codec: Codec,
    pub(crate) clock: Clock,
    pub(crate) traces: Traces,
    pub(crate) positions: Positions,
    pub(crate) batch_bytes: usize,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) health: Health,
    /// Log time of the newest commit.
    pub(crate) newest: Timestamp,
    pub(crate) batch: Batch,
    /// Log time at which the list of a scope began, by its name.
    pub(crate) listing_since: BTreeMap<String, Timestamp>,
}

/// What the next commit will write.
#[derive(Default)]
pub(crate) struct Batch {
    records: Vec<Emit>,
    bytes: usize,
    done: Committed,
}

/// Opens the source of a cluster: fences its predecessor, and gives what was committed. [`Fault::Retry`] when that cannot
/// be read now.
pub(crate) fn open(
    bus: &Bus,
    codec: &Codec,
    cluster: &str,
    cluster_uid: &str,
) -> Result<(Source, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
    let partition = partition_of(cluster, bus.partitions());
    let (source, rows) = bus.source(&format!("exporter.{cluster_uid}"), partition, &Positions::prefix(cluster))?;
    check_readable(codec, cluster, &rows)?;
    Ok((source, rows))
}

/// [`Fault::Retry`] when the schemas of the positions cannot be had now.
pub(crate) fn check_readable(codec: &Codec, cluster: &str, rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Fault> {
    match rows.values().filter_map(|row| codec.record_type(row).err()).find(CodecError::is_retryable) {
        Some(error) => {
            Err(Fault::Retry { what: format!("reading the positions of {cluster}"), why: error.to_string() })
        }
        None => Ok(()),
    }
}

impl Committer {
    /// Commits until the queue's other end is closed. A batch is closed when the queue is drained, or full. Meanwhile, and
    /// while no commit is taken, the queue fills, and the watches are not read.
    pub(crate) fn run(mut self, mut queue: Receiver<Message>) -> Result<(), CommitError> {
        while let Some(first) = queue.blocking_recv() {
            self.take(first)?;
            self.backlog.ready().map_err(|Ended| CommitError::Abandoned)?;
            let gathered = self.backlog.is_spooling().then(|| Instant::now() + GATHER);
            while self.batch.bytes < self.batch_bytes
                && let Some(next) = next(&mut queue, gathered)
            {
                self.take(next)?;
            }
            // Positions alone can wait for the next heartbeat.
            if !self.batch.records.is_empty() {
                self.commit()?;
            }
        }
        if self.positions.moved() { self.commit() } else { Ok(()) }
    }

    fn take(&mut self, message: Message) -> Result<(), CodecError> {
        let at = self.positions.advance((self.clock)());
        let observation = match message {
            Message::Observation(observation) => observation,
            Message::Heartbeat { healthy } => {
                let (cluster, cluster_uid) = (self.cluster.clone(), self.cluster_uid.clone());
                return self
                    .record(RawRecord::Heartbeat(Heartbeat { cluster, cluster_uid, at, healthy, last: false }), "");
            }
        };
        let Observation { scope, epoch, seen, reached } = observation;
        match seen {
            Seen::Nothing => {}
            Seen::Event { event, backfill } => {
                let id = format!("{epoch}/{}/{}", event.uid, event.resource_version);
                let (cluster, cluster_uid) = (self.cluster.clone(), self.cluster_uid.clone());
                let event = RawEvent { cluster, cluster_uid, at, epoch, backfill, event: *event };
                self.record(RawRecord::Event(Box::new(event)), &id)?;
            }
            Seen::Object { facts, deleted, listed } => {
                let id = format!("{epoch}/{}/{}", facts.object.uid, facts.resource_version);
                let (cluster, cluster_uid) = (self.cluster.clone(), self.cluster_uid.clone());
                let change = ObjectChange { cluster, cluster_uid, at, deleted, listed, facts: *facts };
                self.record(RawRecord::Object(Box::new(change)), &id)?;
            }
            Seen::Rejected { payload, error } => self.dead_letter(&scope.name, at, payload, error)?,
            Seen::ListBegan => drop(self.listing_since.insert(scope.name.clone(), at)),
            Seen::ListEnded { gap } => {
                let before = self.positions.of(&scope).map(|row| (row.resource_version.clone(), row.at));
                self.positions.reach(&scope, epoch, reached);
                return self.list_ended(&scope, at, gap, before.unwrap_or_default());
            }
        }
        self.positions.reach(&scope, epoch, reached);
        Ok(())
    }

    fn list_ended(
        &mut self,
        scope: &Scope,
        at: Timestamp,
        gap: Option<GapReason>,
        (from_resource_version, from): (String, Timestamp),
    ) -> Result<(), CodecError> {
        let cluster = self.cluster.clone();
        if let Some(reason) = gap {
            let to_resource_version =
                self.positions.of(scope).map(|row| row.resource_version.clone()).unwrap_or_default();
            let gap = Gap {
                cluster: cluster.clone(),
                at,
                resource: scope.name.clone(),
                from_resource_version,
                to_resource_version,
                from,
                to: at,
                reason,
            };
            self.record(RawRecord::Gap(gap), &scope.name)?;
        }
        if let (Resource::Objects(kind), Some(since)) = (scope.resource, self.listing_since.remove(&scope.name)) {
            let (kind, api_version) = (kind.name().to_owned(), kind.api_version().to_owned());
            let swept = Swept { cluster, at, kind, api_version, namespace: scope.namespace.clone(), since };
            self.record(RawRecord::Swept(swept), &scope.name)?;
        }
        Ok(())
    }

    /// Adds a record; `id` names it, together with its log time when it is not an object's.
    fn record(&mut self, record: RawRecord, id: &str) -> Result<(), CodecError> {
        let at = record.at();
        let limit = MAX_RECORD - OVERHEAD;
        let payload = match record.encode(&self.codec) {
            Ok(payload) if payload.len() <= limit => payload,
            Ok(payload) => {
                let error = format!(
                    "the record has {} bytes and events.raw takes {limit}: shorten the object's texts, labels or annotations",
                    payload.len()
                );
                return self.dead_letter(record.record_type().name(), at, payload, error);
            }
            Err(error @ CodecError::Unwritable { .. }) => {
                return self.dead_letter(record.record_type().name(), at, Vec::new(), format!("{error}; {id}"));
            }
            Err(error) => return Err(error),
        };
        let done = &mut self.batch.done;
        match &record {
            RawRecord::Event(_) => done.events += 1,
            RawRecord::Object(_) => done.objects += 1,
            RawRecord::Gap(_) => done.gaps += 1,
            RawRecord::Heartbeat(beat) => done.heartbeat = Some((at, beat.healthy)),
            RawRecord::Swept(_) | RawRecord::Command(_) => {}
        }
        let id = match &record {
            RawRecord::Event(_) | RawRecord::Object(_) => id.to_owned(),
            _ => format!("{id}@{}", at.as_micros()),
        };
        let mut headers = headers(record.record_type(), &self.cluster, id.clone(), at);
        if let RawRecord::Event(_) = record
            && let Some(trace) = self.traces.begin(&self.cluster_uid, &id)
        {
            headers.push(trace.header());
        }
        self.emit(topics::EVENTS_RAW.name, at, record.key(), payload, headers);
        Ok(())
    }

    fn dead_letter(
        &mut self,
        from: &str,
        at: Timestamp,
        mut payload: Vec<u8>,
        error: String,
    ) -> Result<(), CodecError> {
        tracing::warn!(cluster = self.cluster, from, error, "cannot be read: it goes to dead-letter");
        self.batch.done.dead_letters += 1;
        payload.truncate(MAX_RECORD);
        let letter = DeadLetter {
            topic: format!("watch/{}/{from}", self.cluster),
            partition: 0,
            offset: -1,
            payload,
            error,
            service: "exporter".to_owned(),
            at,
        };
        let payload = self.codec.encode(&letter)?;
        let headers = headers(RecordType::DeadLetter, &self.cluster, format!("{from}@{}", at.as_micros()), at);
        self.emit(topics::DEAD_LETTER.name, at, letter.topic, payload, headers);
        Ok(())
    }

    fn emit(&mut self, topic: &'static str, at: Timestamp, key: String, payload: Vec<u8>, headers: Headers) {
        let emit = Emit { topic, timestamp: at.as_millis(), key: key.into(), payload: Some(payload.into()), headers };
        self.batch.done.oldest.get_or_insert(at);
        self.batch.bytes += emit.size();
        self.batch.records.push(emit);
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        let Batch { records, done, .. } = std::mem::take(&mut self.batch);
        let all = if self.backlog.has_spool() { self.positions.all(&self.codec)? } else { Vec::new() };
        let (changed, at) = (self.positions.rows(&self.codec)?, self.positions.now());
        let after = std::mem::replace(&mut self.newest, at);
        let commit = Commit { records, changed, all, after, at, done };
        self.backlog.put(commit).map_err(|Ended| CommitError::Abandoned)?;
        self.positions.committed();
        self.health.spool(&self.backlog);
        Ok(())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.backlog.close();
    }
}

/// What is in the queue, or comes before `deadline`.
fn next(queue: &mut Receiver<Message>, deadline: Option<Instant>) -> Option<Message> {
    match (queue.try_recv(), deadline) {
        (Ok(next), _) => Some(next),
        (Err(_), None) => None,
        (Err(_), Some(deadline)) => {
            Handle::current().block_on(tokio::time::timeout_at(deadline, queue.recv())).unwrap_or_default()
        }
    }
}
