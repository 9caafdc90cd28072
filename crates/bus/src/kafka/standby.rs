//! The state of the partitions that others own, kept up with its changelogs: whoever takes one of them over reads only what came
//! since (docs/adr/0032).
//!
//! It is a head start and nothing more: a take-over fences, writes its barrier, and reads up to that as ever, from where the
//! replica has come when the changelogs are still the ones that it has read, else from their beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rdkafka::Offset;

use super::client::Clients;
use super::fetch::{Fetch, Fetched};
use super::replica::Replica;
use crate::topic::{count, partition_in};
use crate::{Fault, ProcessorSpec, Record, Stop, StoreId};

/// How long to wait for a record.
const POLL: Duration = Duration::from_millis(100);
/// Records of a changelog that are taken before it is the turn of the next one.
const TURN: usize = 4096;
/// A record that is younger is as good as the end: that of a changelog that is always written to is never seen.
const FRESH: Duration = Duration::from_secs(2);
/// After a fault, before everything is read anew.
const PAUSE: Duration = Duration::from_secs(10);
/// Brokers keep the word that a key was deleted for a day (`delete.retention.ms`). A reader that has been under way for less cannot
/// have missed it, however long it stood still.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// The replicas of a processor's partitions that this process does not own.
#[derive(Default)]
pub(super) struct Standby {
    replicas: Mutex<BTreeMap<u32, Reading>>,
}

/// A replica that is read.
struct Reading {
    /// When it began to be read, by the wall's clock, which the brokers' cleaner goes by.
    since: SystemTime,
    replica: Replica,
    /// By store: whether its changelog was read to its end once.
    caught_up: Vec<bool>,
}

impl Reading {
    fn new(spec: &ProcessorSpec) -> Self {
        Self {
            since: SystemTime::now(),
            replica: Replica::new(&spec.stores),
            caught_up: vec![false; spec.stores.len()],
        }
    }

    /// Takes a record of a store's changelog.
    fn take(&mut self, spec: &ProcessorSpec, partition: u32, store: usize, record: &Record) {
        self.replica.take(StoreId(store), record);
        if self.caught_up.get(store) == Some(&false) && is_fresh(record) {
            self.reach_end(spec, partition, store);
        }
    }

    /// The changelog of a store was read to its end. Tells when all are, for the first time.
    fn reach_end(&mut self, spec: &ProcessorSpec, partition: u32, store: usize) {
        let first = self.caught_up.get_mut(store).is_some_and(|it| !std::mem::replace(it, true));
        if first && self.caught_up.iter().all(|it| *it) {
            tracing::info!(service = spec.name, partition, "a standby has caught up");
        }
    }

    /// By a clock that was set back it is nothing.
    fn is_young(&self) -> bool {
        self.since.elapsed().is_ok_and(|age| age < LONGEST)
    }
}

/// By the clocks of its writer and of this process.
fn is_fresh(record: &Record) -> bool {
    let written = u64::try_from(record.timestamp).unwrap_or_default();
    let age = (SystemTime::UNIX_EPOCH + Duration::from_millis(written)).elapsed();
    age.is_ok_and(|age| age < FRESH)
}

impl Standby {
    /// The replica of a partition that is taken over, if there is one.
    pub(super) fn take(&self, partition: u32) -> Option<Replica> {
        self.replicas.lock().remove(&partition).filter(Reading::is_young).map(|reading| reading.replica)
    }

    /// Keeps replicas of all partitions but those that are `owned`, until `stop`. A fault costs the replicas, and nothing else.
    pub(super) fn keep(&self, clients: &Clients, spec: &ProcessorSpec, owned: impl Fn() -> BTreeSet<u32>, stop: &Stop) {
        while let Err(fault) = self.follow(clients, spec, &owned, stop) {
            tracing::info!(service = spec.name, %fault, "replicas of partitions that others own are read anew");
            self.replicas.lock().clear();
            if stop.wait(PAUSE) {
                return;
            }
        }
    }

    fn follow(
        &self,
        clients: &Clients,
        spec: &ProcessorSpec,
        owned: &impl Fn() -> BTreeSet<u32>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        let partitions = clients.config.partitions;
        let fetches = spec.stores.iter().map(|_| Fetch::new(clients, &spec.name));
        let mut fetches = fetches.collect::<Result<Vec<_>, _>>()?;
        let mut assigned = BTreeSet::new();
        while !stop.requested() {
            let owned = owned();
            let wanted: BTreeSet<_> = (0..count(spec.input, partitions)).filter(|it| !owned.contains(it)).collect();
            if self.adjust(spec, &wanted) || wanted != assigned {
                for (store, fetch) in fetches.iter_mut().enumerate() {
                    let from = self.starts(spec, partitions, store, &wanted);
                    fetch.assign(clients, spec.stores[store].topic, from.into_iter())?;
                }
                assigned.clone_from(&wanted);
            }
            if wanted.is_empty() && stop.wait(POLL) {
                return Ok(());
            }
            let mut wait = if wanted.is_empty() { Duration::ZERO } else { POLL };
            for (store, fetch) in fetches.iter_mut().enumerate() {
                for _ in 0..TURN {
                    match fetch.poll(wait)? {
                        Fetched::Record(record) => {
                            self.with(spec, partitions, store, record.partition, |partition, reading| {
                                reading.take(spec, partition, store, &record);
                            });
                        }
                        Fetched::End(end) => self.with(spec, partitions, store, end, |partition, reading| {
                            reading.reach_end(spec, partition, store);
                        }),
                        Fetched::Nothing => break,
                    }
                    wait = Duration::ZERO;
                }
                wait = Duration::ZERO;
            }
        }
        Ok(())
    }

    /// Has a replica, which may be empty yet, of each of the partitions; says whether that changed anything. That of a partition
    /// that became this process's own stays until the take-over asks for it.
    fn adjust(&self, spec: &ProcessorSpec, wanted: &BTreeSet<u32>) -> bool {
        let mut replicas = self.replicas.lock();
        let before = replicas.len();
        replicas.retain(|_, reading| reading.is_young());
        let mut changed = replicas.len() < before;
        for partition in wanted {
            replicas.entry(*partition).or_insert_with(|| {
                changed = true;
                Reading::new(spec)
            });
        }
        changed
    }

    /// From where the changelog of a store is to be read on, by its partitions.
    fn starts(
        &self,
        spec: &ProcessorSpec,
        partitions: u32,
        store: usize,
        wanted: &BTreeSet<u32>,
    ) -> Vec<(u32, Offset)> {
        let replicas = self.replicas.lock();
        let read = replicas.iter().filter(|(partition, _)| wanted.contains(partition));
        let from = read.map(|(partition, reading)| {
            let own = partition_in(spec.stores[store].topic, spec.writes_for(*partition, partitions));
            (own, reading.replica.start(StoreId(store)))
        });
        from.collect()
    }

    /// Gives the replica to which `at`, a partition of a store's changelog, belongs, to `change`. There is none while it is taken over.
    fn with(
        &self,
        spec: &ProcessorSpec,
        partitions: u32,
        store: usize,
        at: u32,
        change: impl FnOnce(u32, &mut Reading),
    ) {
        let topic = spec.stores[store].topic;
        let mut replicas = self.replicas.lock();
        let of = |partition: &u32| partition_in(topic, spec.writes_for(*partition, partitions)) == at;
        if let Some((partition, reading)) = replicas.iter_mut().find(|(partition, _)| of(partition)) {
            change(*partition, reading);
        }
    }
}
