//! What is kept in memory of a cluster: indexes of its rows by time, and a memo of facts. All of it follows from the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use epicenter_bus::{Reject, State, Step};
use epicenter_model::{Context, ObjectRef, Timestamp};
use rustc_hash::FxHashMap;

use crate::state::{Counted, Digest, OBJECTS, Recorded, STATE, Table, Waiting, decode, digest, parse_key};

/// How long an Event is remembered without a change, ms of log time: twice the time for which an API server keeps it
/// (`--event-ttl`, 1 h unless configured).
const EVENT_MS: i64 = 2 * 3_600_000;
/// How long the facts of a deleted object stay, ms of log time.
const DELETED_MS: i64 = 15 * 60_000;
/// How long after an Event its missing surroundings are sent on, ms of log time.
const LATE_MS: i64 = 60_000;
/// Rows that a heartbeat removes at most, so that its step stays small. At one heartbeat in 5 s they keep pace with 2,000
/// new Events per second; a longer burst is worked off after it.
const EXPIRIES: usize = 10_000;
/// Entries of the memo at most: some 5 MB.
const STANDINGS: usize = 8192;

/// A cluster in memory.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Rows of [`Table::Counted`] by their time.
    counted: BTreeSet<(Timestamp, Digest)>,
    /// Objects that are deleted, by key, with the time of the deletion.
    deleted: BTreeMap<Box<str>, Timestamp>,
    /// Rows of [`Table::Waiting`], each below what it waits for, with their time.
    waiting: BTreeMap<(Digest, Digest), Timestamp>,
    /// A memo of facts, by key; `None` for what is not known.
    standings: FxHashMap<Box<str>, Option<Arc<Standing>>>,
}

/// What joins need of an object's facts.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Its uid.
    pub uid: String,
    /// The next one up.
    pub owner: Option<ObjectRef>,
    /// A pod that has no node yet.
    pub unplaced: bool,
    /// A claim's volume.
    pub volume: String,
    /// A namespace's labels.
    pub labels: BTreeMap<String, String>,
    /// What the facts say without those of others.
    pub context: Context,
}

/// All clusters of a partition, from its state.
pub(crate) fn restore(state: &State) -> Result<BTreeMap<String, Cluster>, Reject> {
    let mut clusters: BTreeMap<String, Cluster> = BTreeMap::new();
    for (key, row) in state.scan(STATE, b"") {
        let (name, table, digest) = parse_key(&key)?;
        if !clusters.contains_key(name) {
            clusters.insert(name.to_owned(), Cluster::default());
        }
        let Some(cluster) = clusters.get_mut(name) else { continue };
        match table {
            Table::Counted => drop(cluster.counted.insert((decode::<Counted<'_>>(&row)?.at, digest))),
            Table::Waiting => {
                let row: Waiting = decode(&row)?;
                cluster.waits(row.missing, digest, row.at);
            }
            Table::Recorded => {}
        }
    }
    for (name, cluster) in &mut clusters {
        let prefix = [name, "/"].concat();
        for (key, _) in state.scan(OBJECTS, prefix.as_bytes()) {
            let Ok(key) = std::str::from_utf8(&key[prefix.len()..]) else { continue };
            // A cluster whose name begins with this one's and a slash has its rows elsewhere.
            let Some(row) = state.get(STATE, &Table::Recorded.key(name, &digest(&[key]))) else { continue };
            cluster.records(key, decode(&row)?);
        }
    }
    Ok(clusters)
}

impl Cluster {
    /// Notes that an Event's row was written, and when it was written before.
    pub(crate) fn counts(&mut self, digest: Digest, before: Option<Timestamp>, at: Timestamp) {
        if before == Some(at) {
            return;
        }
        if let Some(before) = before {
            self.counted.remove(&(before, digest));
        }
        self.counted.insert((at, digest));
    }

    /// Notes that an object was recorded.
    pub(crate) fn records(&mut self, key: &str, recorded: Recorded) {
        match recorded.deleted {
            Some(at) => drop(self.deleted.insert(key.into(), at)),
            None => drop(self.deleted.remove(key)),
        }
        self.standings.remove(key);
    }

    /// Notes that a row waits for what has the digest `missing`.
    pub(crate) fn waits(&mut self, missing: Digest, row: Digest, at: Timestamp) {
        self.waiting.insert((missing, row), at);
    }

    /// Since when a row waits.
    pub(crate) fn waits_since(&self, missing: Digest, row: Digest) -> Option<Timestamp> {
        self.waiting.get(&(missing, row)).copied()
    }

    /// The rows that wait for what has the digest `missing`.
    pub(crate) fn waiters(&self, missing: Digest) -> impl Iterator<Item = Digest> {
        self.waiting
            .range((missing, Digest::default())..)
            .take_while(move |(key, _)| key.0 == missing)
            .map(|(key, _)| key.1)
    }

    /// Notes that a row waits no longer.
    pub(crate) fn waits_no_more(&mut self, missing: Digest, row: Digest) {
        self.waiting.remove(&(missing, row));
    }

    /// The object is deleted, and its facts may still be there.
    pub(crate) fn is_deleted(&self, key: &str) -> bool {
        self.deleted.contains_key(key)
    }

    /// The object was deleted so long before `now` that its facts no longer count.
    pub(crate) fn is_gone(&self, key: &str, now: Timestamp) -> bool {
        self.deleted.get(key).is_some_and(|at| is_over(*at, DELETED_MS, now))
    }

    /// What the memo has of an object.
    pub(crate) fn standing(&self, key: &str) -> Option<Option<Arc<Standing>>> {
        self.standings.get(key).cloned()
    }

    /// Puts what is known of an object into the memo.
    pub(crate) fn memoise(&mut self, key: &str, standing: Option<Arc<Standing>>) {
        if self.standings.len() >= STANDINGS {
            self.standings.clear();
        }
        self.standings.insert(key.into(), standing);
    }

    /// Empties the memo.
    pub(crate) fn forget(&mut self) {
        self.standings.clear();
    }

    /// Removes rows whose time is over. Whoever reads a row asks for its time too: when it is removed changes no output.
    pub(crate) fn expire(&mut self, name: &str, now: Timestamp, step: &mut Step<'_>) -> Result<(), Reject> {
        for _ in 0..EXPIRIES {
            let Some(&(at, digest)) = self.counted.first().filter(|(at, _)| is_over(*at, EVENT_MS, now)) else { break };
            let key = Table::Counted.key(name, &digest);
            let written = step.get(STATE, &key).map(|row| decode::<Counted<'_>>(&row).map(|row| row.at)).transpose()?;
            self.counted.remove(&(at, digest));
            match written {
                // The index ran ahead of a record that was refused.
                Some(written) if written != at => drop(self.counted.insert((written, digest))),
                _ => step.delete(STATE, key),
            }
        }
        let late = self.waiting.iter().filter(|(_, at)| is_over(**at, LATE_MS, now)).map(|(key, _)| *key);
        for (missing, row) in late.take(EXPIRIES).collect::<Vec<_>>() {
            step.delete(STATE, Table::Waiting.key(name, &row));
            self.waits_no_more(missing, row);
        }
        let gone = self.deleted.iter().filter(|(_, at)| is_over(**at, DELETED_MS, now)).map(|(key, _)| key.clone());
        for key in gone.take(EXPIRIES).collect::<Vec<_>>() {
            step.delete(OBJECTS, [name, "/", &key].concat());
            step.delete(STATE, Table::Recorded.key(name, &digest(&[&key])));
            self.deleted.remove(&key);
            self.standings.remove(&key);
        }
        Ok(())
    }
}

/// The row still counts.
pub(crate) fn is_remembered(row: &Counted<'_>, now: Timestamp) -> bool {
    !is_over(row.at, EVENT_MS, now)
}

/// Surroundings that become known now are sent on for an Event of `at`.
pub(crate) fn is_late_yet_useful(at: Timestamp, now: Timestamp) -> bool {
    !is_over(at, LATE_MS, now)
}

fn is_over(at: Timestamp, lifetime_ms: i64, now: Timestamp) -> bool {
    now.millis_since(at) >= lifetime_ms
}
