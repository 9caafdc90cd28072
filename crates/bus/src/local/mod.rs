//! The log in one directory: topics, offsets and state of an embedded installation, in one atomic, synced batch.
//!
//! fjall keeps it. What this module adds is the kernel's meaning: records by (topic, partition, offset), tables by
//! (topic, partition, key), one committed offset per reader; see [`store`]. One process at a time.

mod mark;
mod partition;
mod reader;
mod source;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::topic::count;
use crate::{Fault, Observer, Processor, ProcessorSpec, Progress, Start, Stop};
use partition::LocalPartition;
pub use reader::LocalReader;
pub use source::LocalSource;
use store::Store;

/// Where the log is, and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The directory; created when it is missing.
    pub directory: PathBuf,
    /// Partitions of each topic. Fixed at creation.
    pub partitions: u32,
    /// Records older than that, by the newest record of their partition, are deleted. Tables keep all their keys.
    pub retention: Duration,
}

/// The log in one directory. Cheap to clone.
#[derive(Clone)]
pub struct LocalBus {
    store: Arc<Store>,
}

impl LocalBus {
    pub(crate) fn open(config: LocalConfig) -> Result<Self, Fault> {
        Ok(Self { store: Arc::new(Store::open(config)?) })
    }

    /// When this log was begun, ms since the epoch, UTC: versions of what it tells begin again with each log.
    pub fn created(&self) -> i64 {
        self.store.created()
    }

    /// Commits that were lost at the end of the log when it was opened, after a power loss.
    pub fn lost_commits(&self) -> u64 {
        self.store.lost_commits()
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.store.partitions()
    }

    pub(crate) fn run<P: Processor>(
        &self,
        spec: &ProcessorSpec,
        make: &(dyn Fn() -> P + Send + Sync),
        observer: Observer<'_>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        // A partition that fails stops the others: an embedded installation is one whole.
        let halt = stop.child();
        std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..count(spec.input, self.partitions()))
                .map(|partition| {
                    let halt = &halt;
                    scope.spawn(move || {
                        let tell = |progress| observer(&spec.name, partition, progress);
                        let began = Instant::now();
                        let outcome =
                            LocalPartition::open(&self.store, spec, partition, halt).and_then(|(mut log, state)| {
                                tell(Progress::TakenOver { took: began.elapsed() });
                                crate::drive::drive(&mut log, spec, make(), state, tell)
                            });
                        tell(Progress::GivenUp);
                        if outcome.is_err() {
                            halt.request();
                        }
                        outcome
                    })
                })
                .collect();
            lanes.into_iter().try_for_each(|lane| lane.join().expect("a lane catches its processor's panics"))
        })
    }

    pub(crate) fn source(
        &self,
        table: &'static str,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(LocalSource, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        LocalSource::open(&self.store, table, id, partition, prefix)
    }

    pub(crate) fn reader(&self, topic: &'static str, partitions: &[u32], start: Start) -> Result<LocalReader, Fault> {
        LocalReader::open(&self.store, topic, partitions, start)
    }

    pub(crate) fn bounds(&self, topic: &'static str, partition: u32) -> Result<(i64, i64), Fault> {
        let end = self.store.end(topic, partition)?;
        Ok((self.store.first(topic, partition)?.unwrap_or(end), end))
    }

    pub(crate) fn rows(
        &self,
        topic: &str,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Fault> {
        let mut table = BTreeMap::new();
        for partition in 0..count(topic, self.partitions()) {
            table.extend(self.store.rows(topic, partition, &[], wanted)?);
        }
        Ok(table)
    }
}
