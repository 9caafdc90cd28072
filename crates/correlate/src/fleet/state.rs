//! What is stored of the fleet, and how it is restored.

use std::collections::BTreeSet;

use epicenter_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::case::{CaseId, Place, Sighting};
use super::silence::Cluster;
use super::tell::Head;
use super::{Fleet, Step};
use crate::StateError;
use crate::wire::{self, FLEET};

/// The first byte of every key.
const TAG: u8 = b'f';

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Key {
    Clock,
    Cluster(String),
    /// The incident of a case.
    Case(CaseId),
    Sighting(CaseId, Place),
    /// What people did to an incident and said of it, by its id.
    Voice(String),
}

/// The log's time, and how much of it passed while the log was there, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Clock {
    pub now: Timestamp,
    pub quiet: i64,
}

impl Key {
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![TAG]).expect("a Vec takes any length, and all lengths here are known")
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&TAG, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }
}

impl Step<'_> {
    pub(super) fn put<T: Serialize>(&mut self, key: &Key, value: &T) {
        self.fleet.unwritten.insert(key.encode(), Some(FLEET.encode(value)));
    }

    pub(super) fn delete(&mut self, key: &Key) {
        self.fleet.unwritten.insert(key.encode(), None);
    }
}

impl Fleet {
    /// Gives `put` what changed since the last time: keys, and values or `None` to delete.
    pub fn flush(&mut self, mut put: impl FnMut(Vec<u8>, Option<Vec<u8>>)) {
        std::mem::take(&mut self.unwritten).into_iter().for_each(|(key, value)| put(key, value));
    }

    /// The state that was written as `entries` by [`Fleet::flush`], in any order.
    ///
    /// # Errors
    /// An entry that another version wrote, or that is damaged. Never retryable.
    pub fn restore<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, StateError> {
        let mut fleet = Self::default();
        for (key, value) in entries {
            let (key, value) = (key.as_ref(), value.as_ref());
            match Key::decode(key).ok_or_else(|| wire::unknown(key))? {
                Key::Clock => fleet.clock = FLEET.decode(key, value)?,
                Key::Voice(id) => _ = fleet.voices.insert(id, FLEET.decode(key, value)?),
                Key::Cluster(name) => fleet.know(name, FLEET.decode::<Cluster>(key, value)?),
                Key::Case(id) => {
                    let head: Head = FLEET.decode(key, value)?;
                    if head.resolved_at.is_some() {
                        fleet.ended.insert((head.until, id.clone()));
                    }
                    fleet.cases.entry(id).or_default().incident = Some(head);
                }
                Key::Sighting(id, place) => {
                    let sighting: Sighting = FLEET.decode(key, value)?;
                    if sighting.over.is_none() {
                        fleet.places.entry(place.clone()).or_default().insert(id.clone());
                    }
                    fleet.cases.entry(id).or_default().sightings.insert(place, sighting);
                }
            }
        }
        Ok(fleet)
    }

    /// Takes a cluster in, under the time at which it may have to be looked at.
    pub(super) fn know(&mut self, name: String, cluster: Cluster) {
        let (set, at) = self.place_of(&cluster);
        set.insert((at, name.clone()));
        self.clusters.insert(name, cluster);
    }

    /// Where a cluster is listed by time, and under which.
    pub(super) fn place_of(&mut self, cluster: &Cluster) -> (&mut BTreeSet<(i64, String)>, i64) {
        match &cluster.silent {
            Some((_, since)) => (&mut self.silent, *since),
            None => (&mut self.speaking, cluster.heard),
        }
    }
}
