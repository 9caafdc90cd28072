//! What is kept in memory of a cluster: indexes of its rows by time, and a memo of facts. All of it follows from the state.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use epicenter_bus::{Reject, State, Step};
use epicenter_model::{ObjectRef, Timestamp};
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
/// Links in the memo at most.
const LINKS: usize = 8192;

/// A cluster in memory.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Rows of [`Table::Counted`] by their time.
    counted: BTreeSet<(Timestamp, Digest)>,
    /// Objects by key, with the time of their newest record.
    recorded: BTreeMap<Box<str>, Timestamp>,
    /// Those that are deleted, with the time of the deletion.
    deleted: BTreeMap<Box<str>, Timestamp>,
    /// Rows of [`Table::Waiting`] with the time of their newest waiter.
    waiting: BTreeMap<Digest, Timestamp>,
    links: FxHashMap<Box<str>, Option<Link>>,
}

/// What joins need of an object that others refer to.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its uid.
    pub uid: String,
    /// The next one up.
    pub owner: Option<ObjectRef>,
    /// A node's zone.
    pub zone: String,
    /// A claim's volume.
    pub volume: String,
    /// A namespace's labels.
    pub labels: BTreeMap<String, String>,
}

/// All clusters of a partition, from its state.
pub(crate) fn restore(state: &State) -> Result<BTreeMap<String, Cluster>, Reject> {
    let mut clusters: BTreeMap<String, Cluster> = BTreeMap::new();
    for (key, row) in state.scan(STATE, b"") {
        let (name, table, digest) = parse_key(key)?;
        if !clusters.contains_key(name) {
            clusters.insert(name.to_owned(), Cluster::default());
        }
        let Some(cluster) = clusters.get_mut(name) else { continue };
        match table {
            Table::Counted => drop(cluster.counted.insert((decode::<Counted<'_>>(row)?.at, digest))),
            Table::Waiting => cluster.waits(digest, &decode::<Waiting>(row)?),
            Table::Recorded => {}
        }
    }
    for (name, cluster) in &mut clusters {
        let prefix = [name, "/"].concat();
        for (key, _) in state.scan(OBJECTS, prefix.as_bytes()) {
            let Ok(key) = std::str::from_utf8(&key[prefix.len()..]) else { continue };
            // A cluster whose name begins with this one's and a slash has its rows elsewhere.
            let Some(row) = state.get(STATE, &Table::Recorded.key(name, &digest(&[key]))) else { continue };
            cluster.records(key, decode(row)?);
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
        match self.recorded.get_mut(key) {
            Some(at) => *at = recorded.at,
            None => drop(self.recorded.insert(key.into(), recorded.at)),
        }
        match recorded.deleted {
            Some(at) => drop(self.deleted.insert(key.into(), at)),
            None => drop(self.deleted.remove(key)),
        }
        self.links.remove(key);
    }

    /// Notes who waits.
    pub(crate) fn waits(&mut self, digest: Digest, waiting: &Waiting) {
        match waiting.objects.iter().map(|waiter| waiter.at).max() {
            Some(at) => drop(self.waiting.insert(digest, at)),
            None => drop(self.waiting.remove(&digest)),
        }
    }

    /// Somebody waits for the object of that digest.
    pub(crate) fn is_awaited(&self, digest: &Digest) -> bool {
        self.waiting.contains_key(digest)
    }

    /// The object is deleted, and its facts may still be there.
    pub(crate) fn is_deleted(&self, key: &str) -> bool {
        self.deleted.contains_key(key)
    }

    /// The object was deleted so long before `now` that its facts no longer count.
    pub(crate) fn is_gone(&self, key: &str, now: Timestamp) -> bool {
        self.deleted.get(key).is_some_and(|at| is_over(*at, DELETED_MS, now))
    }

    /// Objects whose key begins with `prefix`, that exist and have no record since `since`.
    pub(crate) fn unseen(&self, prefix: &str, since: Timestamp) -> Vec<(String, Timestamp)> {
        self.recorded
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, at)| **at < since && !self.is_deleted(key))
            .map(|(key, at)| (key.to_string(), *at))
            .collect()
    }

    /// The link of an object, when it is in the memo.
    pub(crate) fn link(&self, key: &str) -> Option<&Option<Link>> {
        self.links.get(key)
    }

    /// Puts a link into the memo.
    pub(crate) fn memoise(&mut self, key: &str, link: Option<Link>) {
        if self.links.len() >= LINKS {
            self.links.clear();
        }
        self.links.insert(key.into(), link);
    }

    /// Forgets what followed from a record that was rejected.
    pub(crate) fn forget_links(&mut self) {
        self.links.clear();
    }

    /// Removes rows whose time is over. Whoever reads a row asks for its time too: when it is removed changes no output.
    pub(crate) fn expire(&mut self, name: &str, now: Timestamp, step: &mut Step<'_>) -> Result<(), Reject> {
        for _ in 0..EXPIRIES {
            let Some(&(at, digest)) = self.counted.first().filter(|(at, _)| is_over(*at, EVENT_MS, now)) else { break };
            let key = Table::Counted.key(name, &digest);
            let written = step.get(STATE, &key).map(|row| decode::<Counted<'_>>(row).map(|row| row.at)).transpose()?;
            self.counted.remove(&(at, digest));
            match written {
                // The index ran ahead of a record that was refused.
                Some(written) if written != at => drop(self.counted.insert((written, digest))),
                _ => step.delete(STATE, key),
            }
        }
        let late = self.waiting.iter().filter(|(_, at)| is_over(**at, LATE_MS, now)).map(|(digest, _)| *digest);
        for digest in late.take(EXPIRIES).collect::<Vec<_>>() {
            step.delete(STATE, Table::Waiting.key(name, &digest));
            self.waiting.remove(&digest);
        }
        let gone = self.deleted.iter().filter(|(_, at)| is_over(**at, DELETED_MS, now)).map(|(key, _)| key.clone());
        for key in gone.take(EXPIRIES).collect::<Vec<_>>() {
            step.delete(OBJECTS, [name, "/", &key].concat());
            step.delete(STATE, Table::Recorded.key(name, &digest(&[&key])));
            self.deleted.remove(&key);
            self.recorded.remove(&key);
            self.links.remove(&key);
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
