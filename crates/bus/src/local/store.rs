//! The directory: records, tables and offsets in one fjall database.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `log` | topic `\0` partition (u32) offset (u64) | a [`Stored`] record, postcard |
//! | `tables` | topic `\0` partition (u32) key | value |
//! | `offsets` | reader `\0` topic `\0` partition (u32) | the offset to read next (i64) |
//! | `meta` | `format`, `partitions`, `created` (ms since the epoch), `commits` | u64 |
//!
//! Numbers are big endian. A commit is one write batch, synced before it counts, and carries the number of commits: so
//! that a commit whose sync failed can be told from one that is there, and a log that lost its end from one that did not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Condvar, Mutex, RwLock};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::LocalConfig;
use super::mark::Mark;
use crate::record::{header, now};
use crate::topic::{is_stamped, partition_in};
use crate::{Emit, Fault, Record, Stop};

const FORMAT: u64 = 1;
/// Between two attempts to commit while the directory does not take it.
const RETRY: Duration = Duration::from_millis(500);
/// Old records are looked for after that many commits.
const TRIM_EVERY: u64 = 2048;
/// Records that one pass deletes at most, so that it stays short.
const TRIM_BATCH: usize = 10_000;
const FULL: &str = "Free some space; it goes on by itself, and nothing is lost";

/// A record as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<'r> {
    timestamp: i64,
    #[serde(borrow)]
    key: &'r [u8],
    payload: Option<&'r [u8]>,
    headers: Vec<(&'r str, &'r [u8])>,
}

/// What one commit changes, in one partition of the installation, and in the topics of the fleet.
#[derive(Default)]
pub(super) struct Changes<'c> {
    /// Records.
    pub emits: &'c [Emit],
    /// Table rows that are records of the table's topic too: topic, timestamp, key, value.
    pub published: Vec<(&'c str, i64, &'c [u8], Option<&'c [u8]>)>,
    /// Table rows: topic, key, value.
    pub puts: Vec<(&'c str, &'c [u8], Option<&'c [u8]>)>,
    /// A reader's offset: reader, topic, offset.
    pub offset: Option<(&'c str, &'c str, i64)>,
}

struct Db {
    database: Database,
    log: Keyspace,
    tables: Keyspace,
    offsets: Keyspace,
    meta: Keyspace,
}

/// What only one thread at a time does: to give out offsets, in the order of the commits.
struct Writer {
    /// The offset that the next record gets, by (topic, partition).
    ends: FxHashMap<(String, u32), i64>,
    commits: u64,
    mark: Mark,
    fences: FxHashMap<String, u64>,
}

pub(super) struct Store {
    config: LocalConfig,
    /// `None` after a failed write, until the directory can be opened again. Locked after `writer`, never before.
    db: RwLock<Option<Db>>,
    writer: Mutex<Writer>,
    /// Counts commits, for those that wait for records.
    appended: (Mutex<u64>, Condvar),
    /// ms since the epoch, UTC.
    created: i64,
    lost: u64,
}

impl Db {
    fn open(directory: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(directory).worker_threads(2).cache_size(32 * 1024 * 1024).open()?;
        let open = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (log, tables, offsets, meta) = (open("log")?, open("tables")?, open("offsets")?, open("meta")?);
        Ok(Self { database, log, tables, offsets, meta })
    }

    fn number(&self, name: &str) -> Result<Option<u64>, fjall::Error> {
        Ok(self.meta.get(name)?.and_then(|value| value.as_ref().try_into().ok().map(u64::from_be_bytes)))
    }
}

impl Store {
    pub(super) fn open(config: LocalConfig) -> Result<Self, Fault> {
        let what = || format!("opening the log in {}", config.directory.display());
        let fail = |error: fjall::Error| {
            let mend = match &error {
                fjall::Error::Locked => {
                    "Another process has it open: stop that one, or choose another directory".to_owned()
                }
                fjall::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => FULL.to_owned(),
                fjall::Error::Io(_) => {
                    "Check that the directory exists, is on a working disk and can be written".to_owned()
                }
                _ => {
                    "The directory is damaged, or is no log: move it away; a new log starts from the cluster's present"
                        .to_owned()
                }
            };
            Fault::fatal(what(), error, mend)
        };
        std::fs::create_dir_all(&config.directory).map_err(|error| fail(error.into()))?;
        let db = Db::open(&config.directory).map_err(fail)?;
        let fixed = |name: &str, value: u64, mend: &str| match db.number(name).map_err(fail)? {
            Some(found) if found == value => Ok(()),
            Some(found) => Err(Fault::fatal(what(), format!("its {name} is {found}, not {value}"), mend)),
            None => db.meta.insert(name, value.to_be_bytes()).map_err(fail),
        };
        fixed("format", FORMAT, "Another version of Epicenter wrote it: run that version, or move the directory away")?;
        fixed("partitions", config.partitions.into(), "Set bus.local.partitions to the number it has")?;
        let created = match db.number("created").map_err(fail)? {
            Some(created) => created,
            None => {
                let now = now().unsigned_abs();
                db.meta.insert("created", now.to_be_bytes()).map_err(fail)?;
                now
            }
        };
        let commits = db.number("commits").map_err(fail)?.unwrap_or(0);
        let mark = Mark::open(&config.directory).map_err(|error| fail(error.into()))?;
        let lost = mark.value().saturating_sub(commits);
        if lost > 0 {
            tracing::error!(
                directory = %config.directory.display(), lost,
                "the log lost its newest commits, as after a power loss on a disk that does not sync: the exporter reads them \
                 again from the cluster as far as it still has them"
            );
        }
        let writer = Writer { ends: FxHashMap::default(), commits, mark, fences: FxHashMap::default() };
        let (db, writer) = (RwLock::new(Some(db)), Mutex::new(writer));
        Ok(Self { config, db, writer, appended: Default::default(), created: created.cast_signed(), lost })
    }

    pub(super) fn partitions(&self) -> u32 {
        self.config.partitions
    }

    pub(super) fn created(&self) -> i64 {
        self.created
    }

    pub(super) fn lost_commits(&self) -> u64 {
        self.lost
    }

    fn failed(&self, what: &str, error: impl std::fmt::Display) -> Fault {
        Fault::retry(format!("{what} {}", self.config.directory.display()), format!("{error}. {FULL}"))
    }

    fn with<T>(&self, what: &str, work: impl FnOnce(&Db) -> Result<T, fjall::Error>) -> Result<T, Fault> {
        let db = self.db.read();
        let db = db.as_ref().ok_or_else(|| self.failed(what, "it refuses writes"))?;
        work(db).map_err(|error| self.failed(what, error))
    }

    /// All rows of a table whose key begins with `prefix`.
    pub(super) fn table(&self, topic: &str, partition: u32, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Fault> {
        self.rows(topic, partition, prefix, &|_| true)
    }

    /// Those of them whose key is `wanted`.
    pub(super) fn rows(
        &self,
        topic: &str,
        partition: u32,
        prefix: &[u8],
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Fault> {
        let start = place(topic, partition);
        self.with("reading", |db| {
            let mut rows = Vec::new();
            for guard in db.tables.prefix([start.as_slice(), prefix].concat()) {
                let (key, value) = guard.into_inner()?;
                if wanted(&key[start.len()..]) {
                    rows.push((key[start.len()..].to_vec(), value.to_vec()));
                }
            }
            Ok(rows)
        })
    }

    /// The offset that `reader` committed.
    pub(super) fn committed(&self, reader: &str, topic: &str, partition: u32) -> Result<Option<i64>, Fault> {
        let value = self.with("reading", |db| db.offsets.get(offset_key(reader, topic, partition)))?;
        Ok(value.and_then(|value| value.as_ref().try_into().ok().map(i64::from_be_bytes)))
    }

    /// The offset that the next record of a partition will get.
    pub(super) fn end(&self, topic: &str, partition: u32) -> Result<i64, Fault> {
        let mut writer = self.writer.lock();
        self.with("reading", |db| writer.end(db, topic, partition))
    }

    /// The offset of the oldest record of a partition, if there is one.
    pub(super) fn first(&self, topic: &str, partition: u32) -> Result<Option<i64>, Fault> {
        let start = place(topic, partition);
        self.with("reading", |db| {
            db.log.prefix(&start).next().map(|guard| Ok(offset_of(&guard.key()?[start.len()..]))).transpose()
        })
    }

    /// The records from `offset` on, up to `bytes`; waits `wait` for the first.
    pub(super) fn read(
        &self,
        topic: &'static str,
        partition: u32,
        offset: i64,
        bytes: usize,
        wait: Duration,
    ) -> Result<Vec<Record>, Fault> {
        let deadline = Instant::now() + wait;
        let start = place(topic, partition);
        loop {
            let seen = *self.appended.0.lock();
            let records = self.with("reading", |db| {
                let mut size = 0;
                let mut records = Vec::new();
                let from = [start.as_slice(), &offset.to_be_bytes()].concat();
                let to = [start.as_slice(), &i64::MAX.to_be_bytes()].concat();
                for guard in db.log.range(from..to) {
                    let (key, value) = guard.into_inner()?;
                    let record = record(topic, partition, &key[start.len()..], &value);
                    size += record.size();
                    records.push(record);
                    if size >= bytes {
                        break;
                    }
                }
                Ok(records)
            })?;
            if !records.is_empty() || Instant::now() >= deadline {
                return Ok(records);
            }
            let mut now = self.appended.0.lock();
            while *now == seen {
                if self.appended.1.wait_until(&mut now, deadline).timed_out() {
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Makes the source `id` that opened last its only owner; gives its epoch.
    pub(super) fn fence(&self, id: &str) -> u64 {
        let mut writer = self.writer.lock();
        let epoch = writer.fences.entry(id.to_owned()).or_default();
        *epoch += 1;
        *epoch
    }

    /// As [`Store::commit`], unless a later owner of `id` opened.
    pub(super) fn commit_fenced(
        &self,
        partition: u32,
        changes: &Changes<'_>,
        id: &str,
        epoch: u64,
    ) -> Result<(), Fault> {
        let mut writer = self.writer.lock();
        if writer.fences.get(id) != Some(&epoch) {
            return Err(Fault::fenced(format!("committing for {id}"), "it was opened again"));
        }
        self.commit_as(&mut writer, partition, changes)
    }

    /// Commits, wholly or not at all.
    pub(super) fn commit(&self, partition: u32, changes: &Changes<'_>) -> Result<(), Fault> {
        self.commit_as(&mut self.writer.lock(), partition, changes)
    }

    /// As [`Store::commit`], again and again until it is done or `stop` is requested.
    pub(super) fn commit_until(&self, partition: u32, changes: &Changes<'_>, stop: &Stop) -> Result<(), Fault> {
        loop {
            match self.commit(partition, changes) {
                Err(fault @ Fault::Retry { .. }) if stop.wait(RETRY) => return Err(fault),
                Err(fault @ Fault::Retry { .. }) => tracing::warn!(%fault, "waiting"),
                outcome => return outcome,
            }
        }
    }

    fn commit_as(&self, writer: &mut Writer, partition: u32, changes: &Changes<'_>) -> Result<(), Fault> {
        let number = writer.commits + 1;
        let outcome = self.with("writing", |db| writer.write(db, partition, number, changes));
        let ends = match outcome {
            Ok(ends) => ends,
            Err(fault) => {
                // fjall refuses writes after a failed one until it is opened again; then the commit may be there.
                self.reopen(writer)?;
                if writer.commits != number {
                    return Err(fault);
                }
                BTreeMap::new()
            }
        };
        writer.ends.extend(ends);
        writer.commits = number;
        if let Err(error) = writer.mark.advance(number) {
            tracing::warn!(%error, "the mark beside the log cannot be written: a loss of its end would go unnoticed");
        }
        if number % TRIM_EVERY == 1
            && let Err(fault) = self.with("trimming", |db| writer.trim(db, self.config.retention))
        {
            tracing::warn!(%fault, "old records stay for now");
        }
        *self.appended.0.lock() += 1;
        self.appended.1.notify_all();
        Ok(())
    }

    fn reopen(&self, writer: &mut Writer) -> Result<(), Fault> {
        let mut db = self.db.write();
        // The old handles hold the directory's lock.
        *db = None;
        let opened = Db::open(&self.config.directory).and_then(|opened| Ok((opened.number("commits")?, opened)));
        let (commits, opened) = opened.map_err(|error| self.failed("opening again", error))?;
        writer.commits = commits.unwrap_or(0);
        writer.ends.clear();
        *db = Some(opened);
        Ok(())
    }
}

impl Writer {
    fn end(&mut self, db: &Db, topic: &str, partition: u32) -> Result<i64, fjall::Error> {
        if let Some(end) = self.ends.get(&(topic.to_owned(), partition)) {
            return Ok(*end);
        }
        let start = place(topic, partition);
        let end = match db.log.prefix(&start).next_back() {
            Some(guard) => offset_of(&guard.key()?[start.len()..]) + 1,
            None => 0,
        };
        self.ends.insert((topic.to_owned(), partition), end);
        Ok(end)
    }

    /// Writes one synced batch; gives the ends that it moved.
    fn write(
        &mut self,
        db: &Db,
        partition: u32,
        number: u64,
        changes: &Changes<'_>,
    ) -> Result<BTreeMap<(String, u32), i64>, fjall::Error> {
        let mut batch = db.database.batch().durability(Some(PersistMode::SyncAll));
        let mut ends = BTreeMap::new();
        let mut append = |topic: &str, stored: &Stored<'_>| {
            let partition = partition_in(topic, partition);
            let entry = (topic.to_owned(), partition);
            let offset = match ends.get(&entry) {
                Some(end) => *end,
                None => self.end(db, topic, partition)?,
            };
            ends.insert(entry, offset + 1);
            let key = [place(topic, partition).as_slice(), &offset.to_be_bytes()].concat();
            let value = postcard::to_stdvec(stored).map_err(std::io::Error::other)?;
            batch.insert(&db.log, key, value);
            Ok::<_, fjall::Error>(())
        };
        for emit in changes.emits {
            let headers = emit.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
            let timestamp = if is_stamped(emit.topic) { now() } else { emit.timestamp };
            let stored = Stored { timestamp, key: &emit.key, payload: emit.payload.as_deref(), headers };
            append(emit.topic, &stored)?;
        }
        for (topic, timestamp, key, payload) in &changes.published {
            append(topic, &Stored { timestamp: *timestamp, key, payload: *payload, headers: Vec::new() })?;
        }
        for (topic, key, value) in &changes.puts {
            let row = [place(topic, partition_in(topic, partition)).as_slice(), key].concat();
            match value {
                Some(value) => batch.insert(&db.tables, row, *value),
                None => batch.remove(&db.tables, row),
            }
        }
        if let Some((reader, topic, offset)) = changes.offset {
            let key = offset_key(reader, topic, partition_in(topic, partition));
            batch.insert(&db.offsets, key, offset.to_be_bytes());
        }
        batch.insert(&db.meta, "commits", number.to_be_bytes());
        batch.commit()?;
        Ok(ends)
    }

    /// Deletes records older than `retention`, by the newest record of their partition, that every reader has passed.
    fn trim(&mut self, db: &Db, retention: Duration) -> Result<(), fjall::Error> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let mut batch = db.database.batch();
        for ((topic, partition), end) in &self.ends {
            let start = place(topic, *partition);
            let Some(newest) = db.log.prefix(&start).next_back() else { continue };
            let before = timestamp_of(&newest.value()?).saturating_sub(retention);
            let passed = passed_by_all(db, topic, *partition)?.unwrap_or(*end).min(end - 1);
            for guard in db.log.prefix(&start).take(TRIM_BATCH) {
                let (key, value) = guard.into_inner()?;
                if offset_of(&key[start.len()..]) >= passed || timestamp_of(&value) >= before {
                    break;
                }
                batch.remove(&db.log, key);
            }
        }
        batch.commit()
    }
}

/// The lowest offset that a reader of the partition has committed.
fn passed_by_all(db: &Db, topic: &str, partition: u32) -> Result<Option<i64>, fjall::Error> {
    let tail = [b"\0", place(topic, partition).as_slice()].concat();
    let mut lowest = None;
    for guard in db.offsets.iter() {
        let (key, value) = guard.into_inner()?;
        if key.ends_with(&tail) {
            let offset = offset_of(&value);
            lowest = Some(lowest.map_or(offset, |lowest: i64| lowest.min(offset)));
        }
    }
    Ok(lowest)
}

fn place(topic: &str, partition: u32) -> Vec<u8> {
    [topic.as_bytes(), b"\0", &partition.to_be_bytes()].concat()
}

fn offset_key(reader: &str, topic: &str, partition: u32) -> Vec<u8> {
    [reader.as_bytes(), b"\0", &place(topic, partition)].concat()
}

fn offset_of(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("only this module writes these keyspaces: 8 bytes"))
}

fn timestamp_of(value: &[u8]) -> i64 {
    postcard::from_bytes::<Stored<'_>>(value).map_or(i64::MAX, |stored| stored.timestamp)
}

fn record(topic: &'static str, partition: u32, offset: &[u8], value: &[u8]) -> Record {
    let offset = offset_of(offset);
    match postcard::from_bytes::<Stored<'_>>(value) {
        Ok(stored) => Record {
            topic,
            partition,
            offset,
            timestamp: stored.timestamp,
            key: Bytes::copy_from_slice(stored.key),
            payload: stored.payload.map(Bytes::copy_from_slice),
            headers: stored.headers.iter().map(|(name, value)| header(name, value)).collect(),
        },
        // Damaged on disk below fjall's checksums: what is left of it goes on, and the processor rejects it.
        Err(_) => {
            let payload = Some(Bytes::copy_from_slice(value));
            Record { topic, partition, offset, payload, ..Record::default() }
        }
    }
}
