//! Copies the topics of an installation into another number of partitions, each cluster's records in their order.

use std::collections::BTreeMap;

use epicenter_model::{cluster_of, partition_of};
use rdkafka::Offset;

use super::{Side, read_all, write};
use crate::kafka::client::{Clients, Producer};
use crate::kafka::fetch::Fetch;
use crate::kafka::restore::is_own;
use crate::kafka::transaction::Write;
use crate::migration::{Bookmarks, Moved, Rows};
use crate::record::now;
use crate::topic::topics::{ALERTS_STATE, ALL, DEAD_LETTER, FLEET_SIGNALS, INCIDENT_CHANGES, POSITIONS};
use crate::topic::{count, is_compacted};
use crate::{Bookmark, Fault, Record, Spread, Topic};

/// Begins the keys that say how far a partition is copied: topic, `/`, partition. They are in the new installation's positions.
const PROGRESS: &[u8] = b"\0moved/";
/// A batch is written at that size, bytes.
const BATCH: usize = 4 * 1024 * 1024;
/// The progress of a table that is copied.
const DONE: i64 = i64::MAX;

/// A partition of a table: the newest record of each key.
pub(super) struct Table(BTreeMap<Vec<u8>, Record>);

impl Table {
    pub(super) fn rows(&self) -> Rows {
        let value = |record: &Record| record.payload.as_deref().unwrap_or_default().to_vec();
        self.0.iter().map(|(key, record)| (key.clone(), value(record))).collect()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }
}

pub(super) fn table(clients: &Clients, topic: &'static str, partition: u32) -> Result<Table, Fault> {
    let mut fetch = Fetch::new(clients, super::ID)?;
    let mut rows = BTreeMap::new();
    read_all(clients, &mut fetch, topic, partition, |record| {
        if is_own(&record.key) {
            return;
        }
        match record.payload {
            Some(_) => drop(rows.insert(record.key.to_vec(), record)),
            None => drop(rows.remove(record.key.as_ref())),
        }
    })?;
    Ok(Table(rows))
}

/// What is moved: the signals of the fleet are all read, and the log would stamp them anew.
pub(super) fn moved_topics() -> impl Iterator<Item = &'static Topic> {
    ALL.iter().filter(|topic| topic.name != FLEET_SIGNALS.name)
}

/// The partition of `topic` where a record belongs that was in `partition`, with `partitions` in the installation; and whose it
/// is.
pub(super) fn place<'r>(topic: &Topic, record: &'r Record, partitions: u32) -> (u32, &'r str) {
    if topic.spread == Spread::Fleet {
        return (0, "");
    }
    let key = record.key.as_ref();
    // What an exporter could not read has no other key.
    let key = if topic.name == DEAD_LETTER.name { key.strip_prefix(b"watch/").unwrap_or(key) } else { key };
    match cluster_of(key) {
        Some(cluster) => (partition_of(cluster, partitions), cluster),
        None => (record.partition % partitions, ""),
    }
}

/// How far the partitions are copied, by key.
pub(super) fn progress(new: &Clients) -> Result<BTreeMap<Vec<u8>, i64>, Fault> {
    let mut fetch = Fetch::new(new, super::ID)?;
    let mut found = BTreeMap::new();
    read_all(new, &mut fetch, POSITIONS.name, 0, |record| {
        if record.key.starts_with(PROGRESS) {
            match record.payload.as_deref().and_then(|value| value.try_into().ok()).map(i64::from_be_bytes) {
                Some(next) => drop(found.insert(record.key.to_vec(), next)),
                None => drop(found.remove(record.key.as_ref())),
            }
        }
    })?;
    Ok(found)
}

/// Copies what is not copied yet.
pub(super) fn all(
    old: &Side<'_>,
    new: &Side<'_>,
    bookmarks: &dyn Bookmarks,
    tell: &mut dyn FnMut(&str),
) -> Result<Moved, Fault> {
    let producer = new.producer()?;
    let progress = progress(new.clients)?;
    let mut moved = Moved::default();
    for topic in moved_topics().filter(|topic| topic.name != ALERTS_STATE.name) {
        let mut records = 0;
        for partition in 0..count(topic.name, old.clients.config.partitions) {
            let key = [PROGRESS, topic.name.as_bytes(), b"/", partition.to_string().as_bytes()].concat();
            let done = progress.get(&key).copied();
            let mut batch = Batch { topic, new, producer: &producer, key, records: Vec::new(), size: 0 };
            records += if is_compacted(topic.name) {
                batch.table(old, partition, done)?
            } else {
                batch.log(old, partition, done)?
            };
        }
        tell(&format!("{}: {records} record(s) copied", topic.name));
        moved.records.push((topic.name.to_owned(), records));
    }
    let rows = bookmarks.rewrite(table(old.clients, ALERTS_STATE.name, 0)?.rows(), &ends(new)?);
    let full = new.full(ALERTS_STATE.name);
    let writes = rows.iter().map(|(key, value)| Write {
        topic: &full,
        partition: 0,
        key,
        payload: Some(value),
        timestamp: now(),
        headers: &[],
    });
    write(&producer, writes)?;
    Ok(moved)
}

/// The ends of the changes of incidents: where readers go on that have read all.
pub(super) fn ends(side: &Side<'_>) -> Result<Vec<Bookmark>, Fault> {
    let fetch = Fetch::new(side.clients, super::ID)?;
    let end = |partition| side.clients.watermarks(fetch.client(), &side.full(INCIDENT_CHANGES.name), partition);
    (0..side.clients.config.partitions)
        .map(|partition| Ok(Bookmark { next: end(partition)?.1, ..Bookmark::default() }))
        .collect()
}

/// Records of one partition on their way.
struct Batch<'m> {
    topic: &'static Topic,
    new: &'m Side<'m>,
    producer: &'m Producer,
    /// Of its progress.
    key: Vec<u8>,
    records: Vec<Record>,
    size: usize,
}

impl Batch<'_> {
    /// A log is copied from where it was left.
    fn log(&mut self, old: &Side<'_>, partition: u32, done: Option<i64>) -> Result<u64, Fault> {
        let mut fetch = Fetch::new(old.clients, super::ID)?;
        let full = old.full(self.topic.name);
        let (begin, end) = old.clients.watermarks(fetch.client(), &full, partition)?;
        let from = done.unwrap_or(begin).max(begin);
        let (mut copied, mut next) = (0, from);
        if from < end {
            fetch.read_to_end(old.clients, self.topic.name, partition, Offset::Offset(from), |record| {
                next = record.offset + 1;
                copied += 1;
                self.add(record, next)
            })?;
        }
        self.write(next)?;
        Ok(copied)
    }

    /// A table is copied whole: its newest rows, also once more when it was left.
    fn table(&mut self, old: &Side<'_>, partition: u32, done: Option<i64>) -> Result<u64, Fault> {
        if done == Some(DONE) {
            return Ok(0);
        }
        let Table(rows) = table(old.clients, self.topic.name, partition)?;
        let copied = rows.len() as u64;
        rows.into_values().try_for_each(|record| self.add(record, 0))?;
        self.write(DONE)?;
        Ok(copied)
    }

    fn add(&mut self, record: Record, next: i64) -> Result<(), Fault> {
        self.size += record.size();
        self.records.push(record);
        if self.size < BATCH { Ok(()) } else { self.write(next) }
    }

    /// Writes what is gathered, and that all before `next` is copied.
    fn write(&mut self, next: i64) -> Result<(), Fault> {
        let partitions = self.new.clients.config.partitions;
        let (full, positions) = (self.new.full(self.topic.name), self.new.full(POSITIONS.name));
        let records = self.records.iter().map(|record| Write {
            topic: &full,
            partition: place(self.topic, record, partitions).0,
            key: &record.key,
            payload: record.payload.as_deref(),
            timestamp: record.timestamp,
            headers: &record.headers,
        });
        let reached = next.to_be_bytes();
        let progress = Write {
            topic: &positions,
            partition: 0,
            key: &self.key,
            payload: Some(&reached),
            timestamp: now(),
            headers: &[],
        };
        write(self.producer, records.chain(std::iter::once(progress)))?;
        self.records.clear();
        self.size = 0;
        Ok(())
    }
}
