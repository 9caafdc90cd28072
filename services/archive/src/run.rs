//! From the log to a table: one topic, one table, one thread.
//!
//! Whatever fails, the table is opened again, and the log is read again from the position that the table has: there is
//! nothing else to recover. Two processes that archive the same topic to one table hinder each other, and repeat nothing:
//! Delta refuses a commit when another one moved the same position meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use epicenter_bus::{Bookmark, Bus, Record, Start, Stop};
use epicenter_model::Codec;
use epicenter_runtime::metric::{ARCHIVE_BEHIND, ARCHIVE_COMMIT, ARCHIVE_FAILURES, ARCHIVE_LOST, ARCHIVED};
use epicenter_runtime::{ArchiveConfig, Backoff, Health, Metrics, now};
use tokio::runtime::Handle;

use crate::batch::Batch;
use crate::entry::Entry;
use crate::position::{Origin, Positions};
use crate::writer::Writer;
use crate::{ArchiveError, Store, Table};

/// Who reads, to the brokers. Nothing is committed under that name.
pub(crate) const READER: &str = "reader";
/// How long to wait for a record before looking at the clock.
const IDLE: Duration = Duration::from_millis(200);
/// Records that are read without looking at it.
const AT_ONCE: usize = 256;
/// Between two attempts, ms.
const RETRY_FIRST_MS: u64 = 500;
const RETRY_LONGEST_MS: u64 = 30_000;
/// While there are no rows, the position alone is committed as often: the log deletes what is older than days.
const POSITION: Duration = Duration::from_secs(3600);

/// What the archive works with.
#[derive(Clone)]
pub struct Context {
    /// The log.
    pub bus: Bus,
    /// Reads its records.
    pub codec: Codec,
    /// Where the tables are.
    pub store: Store,
    /// How it archives.
    pub config: ArchiveConfig,
    /// Counts what is archived.
    pub metrics: Metrics,
    /// Says what keeps it from archiving.
    pub health: Health,
    /// Where requests to the store are made.
    pub runtime: Handle,
}

/// Archives the records of `T`'s topic until `stop`; what it has read by then is written before it returns. Blocks: give
/// it a thread.
///
/// # Errors
/// What somebody must mend. What passes is tried again.
pub fn run<T: Entry>(context: &Context, stop: &Stop) -> Result<(), ArchiveError> {
    let table = T::KIND.name;
    let part = format!("archive/{table}");
    for counter in [&ARCHIVE_FAILURES, &ARCHIVE_LOST] {
        context.metrics.add(counter, &[table], 0.0);
    }
    // An upload that is given up is aborted there: what drops it is not in a runtime by itself.
    let _entered = context.runtime.enter();
    let mut follower = Follower {
        context,
        stop,
        part: &part,
        backoff: Backoff::new(RETRY_FIRST_MS, RETRY_LONGEST_MS),
        failing: false,
        maintained: None,
    };
    while !stop.requested() {
        match follower.follow::<T>() {
            Err(error) if error.is_retryable() => {
                context.metrics.add(&ARCHIVE_FAILURES, &[table], 1.0);
                context.health.unwell(&part, error.to_string());
                follower.failing = true;
                stop.wait(follower.backoff.next(None));
            }
            Err(error) => {
                context.health.unwell(&part, error.to_string());
                return Err(error);
            }
            Ok(()) => return Ok(()),
        }
    }
    Ok(())
}

struct Follower<'c> {
    context: &'c Context,
    stop: &'c Stop,
    part: &'c str,
    backoff: Backoff,
    /// Nothing was committed since the last failure.
    failing: bool,
    /// When old files and rows were last looked at.
    maintained: Option<Instant>,
}

impl Follower<'_> {
    /// Reads and writes from the table's position on; ends with the stop, or with the first failure.
    fn follow<T: Entry>(&mut self) -> Result<(), ArchiveError> {
        let Context { bus, codec, store, config, metrics, health, runtime } = self.context;
        let kind = T::KIND;
        let partitions: Vec<u32> = (0..bus.partitions()).collect();
        let origin = Origin::new(kind, bus, config.generation);
        let mut writer = runtime.block_on(Writer::open::<T>(store, origin))?;
        let start = self.start::<T>(writer.positions())?;
        let mut reader = bus.reader(kind.topic, &partitions, Start::At(READER.to_owned(), start))?;
        if let Some(damage) = reader.lost().values().next() {
            return Err(ArchiveError::Recreated { damage: damage.clone() });
        }
        if !self.failing {
            health.well(self.part);
        }
        let (mut batch, mut committed, mut told) = (Batch::<T>::new(), Instant::now(), Instant::now());
        loop {
            let stopping = self.stop.requested();
            let moved = !batch.is_unmoved() && committed.elapsed() >= POSITION;
            if batch.is_due(&config.batch) || moved || (stopping && !batch.is_empty()) {
                self.commit(&mut writer, std::mem::replace(&mut batch, Batch::new()))?;
                committed = Instant::now();
                if !stopping {
                    self.maintain(&mut writer.table)?;
                }
            }
            if stopping {
                metrics.forget(&ARCHIVE_BEHIND, &[kind.name]);
                return Ok(());
            }
            let mut wait = IDLE;
            for _ in 0..AT_ONCE {
                let Some(record) = reader.next(wait)? else { break };
                if let Some(error) = batch.take(codec, &record)? {
                    let Record { topic, partition, offset, .. } = record;
                    tracing::error!(topic, partition, offset, error, "a record is archived raw");
                }
                if batch.has_full() {
                    runtime.block_on(writer.write(&mut batch))?;
                }
                if batch.is_full(&config.batch) {
                    break;
                }
                wait = Duration::ZERO;
            }
            if told.elapsed() >= IDLE {
                told = Instant::now();
                let age = batch.oldest().map_or(0, |at| (now().as_micros() - at.as_micros()).max(0));
                metrics.set(&ARCHIVE_BEHIND, &[kind.name], age as f64 / 1e6);
            }
        }
    }

    /// Where to read from; says what the log has deleted unread.
    fn start<T: Entry>(&self, positions: &Positions) -> Result<BTreeMap<u32, Bookmark>, ArchiveError> {
        let Context { bus, metrics, .. } = self.context;
        let (topic, table) = (T::KIND.topic, T::KIND.name);
        let mut start = BTreeMap::new();
        for (partition, bookmark) in positions {
            let (first, end) = bus.bounds(topic, *partition)?;
            let position = bookmark.next;
            let from = if position > end && matches!(bus, Bus::Local(_)) {
                tracing::warn!(
                    topic,
                    partition,
                    position,
                    end,
                    "the log lost its end; what it reads again is archived again"
                );
                Bookmark::at(end)
            } else if position < first {
                tracing::error!(
                    topic,
                    partition,
                    from = position,
                    to = first,
                    "the log deleted records before they were archived"
                );
                metrics.add(&ARCHIVE_LOST, &[table], (first - position) as f64);
                Bookmark::at(first)
            } else {
                *bookmark
            };
            start.insert(*partition, from);
        }
        Ok(start)
    }

    fn commit<T: Entry>(&mut self, writer: &mut Writer, mut batch: Batch<T>) -> Result<(), ArchiveError> {
        let Context { metrics, health, runtime, .. } = self.context;
        let began = Instant::now();
        runtime.block_on(writer.commit(&mut batch))?;
        let (kept, raw) = batch.counts();
        metrics.observe(&ARCHIVE_COMMIT, &[T::KIND.name], began.elapsed());
        for (outcome, rows) in [("kept", kept), ("raw", raw)] {
            metrics.add(&ARCHIVED, &[T::KIND.name, outcome], rows as f64);
        }
        tracing::debug!(table = T::KIND.name, kept, raw, took = ?began.elapsed(), "archived");
        self.backoff.reset();
        self.failing = false;
        health.well(self.part);
        Ok(())
    }

    /// Merges small files and drops old rows, when it is time. The log is the queue meanwhile; a stop ends it, and leaves the table as
    /// it was or as it is to be.
    fn maintain(&mut self, table: &mut Table) -> Result<(), ArchiveError> {
        let every = self.context.config.maintain_every_hours.saturating_mul(3600);
        if every == 0 || self.maintained.is_some_and(|at| at.elapsed() < Duration::from_secs(every)) {
            return Ok(());
        }
        self.maintained = Some(Instant::now());
        let stop = self.stop;
        let work = async {
            tokio::select! {
                outcome = table.maintain(&self.context.config.retention) => outcome,
                () = requested(stop) => Ok(()),
            }
        };
        self.context.runtime.block_on(work)
    }
}

/// Returns once the stop is requested.
async fn requested(stop: &Stop) {
    while !stop.requested() {
        tokio::time::sleep(IDLE).await;
    }
}
