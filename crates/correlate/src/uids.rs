//! In which rows an Event is a member.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// An incident and the number of its row.
type Place = (u64, u32);

/// Rows by the uids of their Events. A change that explains several incidents is a member of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uids(FxHashMap<Arc<str>, Places>);

/// Which of them is the newest follows from the rows alone: not from the order in which they came here, which nothing stores.
#[derive(Clone, Debug)]
struct Places {
    newest: Place,
    others: BTreeSet<Place>,
}

impl Uids {
    /// The Event's row in the newest incident that it is a member of.
    pub fn get(&self, uid: &str) -> Option<Place> {
        self.0.get(uid).map(|places| places.newest)
    }

    /// How many Events are members.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn insert(&mut self, uid: Arc<str>, place: Place) {
        let places = self.0.entry(uid).or_insert(Places { newest: place, others: BTreeSet::new() });
        if places.newest != place {
            let (older, newer) = (places.newest.min(place), places.newest.max(place));
            places.newest = newer;
            places.others.insert(older);
        }
    }

    pub fn remove(&mut self, uid: &str, place: Place) {
        let Some(places) = self.0.get_mut(uid) else { return };
        if places.newest != place {
            places.others.remove(&place);
        } else if let Some(newest) = places.others.pop_last() {
            places.newest = newest;
        } else {
            self.0.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_where_it_is_in_the_newest_incident() {
        let mut uids = Uids::default();
        let places = [(2, 0), (3, 0), (2, 5)];
        for place in places.into_iter().chain(places) {
            uids.insert("a".into(), place);
        }
        assert_eq!((uids.get("a"), uids.get("b"), uids.len()), (Some((3, 0)), None, 1));
        for (place, left) in [((2, 0), Some((3, 0))), ((3, 0), Some((2, 5))), ((3, 0), Some((2, 5))), ((2, 5), None)] {
            uids.remove("a", place);
            assert_eq!(uids.get("a"), left);
        }
        assert_eq!(uids.len(), 0);
    }
}
