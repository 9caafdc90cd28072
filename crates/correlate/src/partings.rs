//! Incidents that people parted by hand, and that stay so for as long as they are remembered.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// What an incident was parted from, and what it has for its own since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Apart {
    /// Incidents that it is not one with.
    pub from: BTreeSet<u64>,
    /// Objects whose Events are its own.
    pub objects: BTreeSet<u64>,
}

/// All of a cluster, by the incident that was made by it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partings {
    all: BTreeMap<u64, Apart>,
    /// By object. Follows from them.
    homes: FxHashMap<u64, u64>,
}

impl Partings {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn get(&self, no: u64) -> Option<&Apart> {
        self.all.get(&no)
    }

    /// Whether two incidents were parted.
    pub fn are(&self, one: u64, other: u64) -> bool {
        let from = |of: u64, other: u64| self.all.get(&of).is_some_and(|apart| apart.from.contains(&other));
        from(one, other) || from(other, one)
    }

    /// The incident that has the object for its own.
    pub fn home(&self, object: u64) -> Option<u64> {
        self.homes.get(&object).copied()
    }

    /// All that an incident was parted from.
    pub fn from(&self, no: u64) -> BTreeSet<u64> {
        let others = self.all.iter().filter(|(_, apart)| apart.from.contains(&no)).map(|(other, _)| *other);
        others.chain(self.get(no).into_iter().flat_map(|apart| apart.from.iter().copied())).collect()
    }

    pub fn insert(&mut self, no: u64, apart: Apart) {
        self.homes.extend(apart.objects.iter().map(|object| (*object, no)));
        self.all.insert(no, apart);
    }

    /// Two incidents may be one again. Gives whose entries changed.
    pub fn lift(&mut self, one: u64, other: u64) -> Vec<u64> {
        let changed: Vec<u64> = [(one, other), (other, one)]
            .into_iter()
            .filter(|(of, from)| self.all.get_mut(of).is_some_and(|apart| apart.from.remove(from)))
            .map(|(of, _)| of)
            .collect();
        self.tidy();
        changed
    }

    /// `loser` is part of `survivor` now. Gives whose entries changed.
    pub fn merged(&mut self, loser: u64, survivor: u64) -> Vec<u64> {
        let mut changed = Vec::new();
        if let Some(apart) = self.all.remove(&loser) {
            self.homes.extend(apart.objects.iter().map(|object| (*object, survivor)));
            let own = self.all.entry(survivor).or_default();
            own.from.extend(apart.from);
            own.objects.extend(apart.objects);
            changed.extend([loser, survivor]);
        }
        for (no, apart) in &mut self.all {
            if apart.from.remove(&loser) {
                apart.from.insert(survivor);
                changed.push(*no);
            }
            if apart.from.remove(no) {
                changed.push(*no);
            }
        }
        self.tidy();
        changed
    }

    /// An incident is remembered no more. Gives whose entries changed.
    pub fn forget(&mut self, no: u64) -> Vec<u64> {
        let mut changed = Vec::new();
        for (of, apart) in &mut self.all {
            if *of == no {
                apart.from.clear();
                changed.push(*of);
            } else if apart.from.remove(&no) {
                changed.push(*of);
            }
        }
        self.tidy();
        changed
    }

    /// What is apart from nothing has nothing for its own.
    fn tidy(&mut self) {
        let homes = &mut self.homes;
        self.all.retain(|no, apart| {
            let counts = !apart.from.is_empty();
            if !counts {
                for object in &apart.objects {
                    if homes.get(object) == Some(no) {
                        homes.remove(object);
                    }
                }
            }
            counts
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(from: &[u64], objects: &[u64]) -> Apart {
        Apart { from: from.iter().copied().collect(), objects: objects.iter().copied().collect() }
    }

    #[test]
    fn follow_their_incidents_into_others_and_go_with_them() {
        let mut partings = Partings::default();
        partings.insert(3, apart(&[2], &[30, 31]));
        partings.insert(5, apart(&[3, 2], &[50]));
        assert!(partings.are(2, 3) && partings.are(5, 2) && partings.are(3, 5) && !partings.are(2, 4));
        assert_eq!(partings.from(3), BTreeSet::from([2, 5]));
        // 3 becomes part of 1, which has what it had.
        assert_eq!(partings.merged(3, 1), [3, 1, 5]);
        assert!(partings.are(1, 2) && partings.are(5, 1) && !partings.are(3, 2));
        assert_eq!((partings.home(30), partings.home(50)), (Some(1), Some(5)));
        // Together again, by hand.
        assert_eq!(partings.lift(2, 1), [1]);
        assert_eq!((partings.home(30), partings.are(1, 2)), (None, false));
        assert_eq!(partings.forget(2), [5]);
        assert_eq!(partings.forget(1), [5]);
        assert!(partings.is_empty() && partings.homes.is_empty());
    }
}
