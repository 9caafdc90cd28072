//! A partition's state, as far as its changelogs were read.

use rdkafka::Offset;

use super::lineage::{Kept, OWNER};
use crate::{Bookmark, Record, State, Store, StoreId};

/// The state of one partition while it is read from its changelogs.
pub(super) struct Replica {
    pub(super) state: State,
    /// By store.
    pub(super) changelogs: Vec<Changelog>,
}

/// How far a changelog was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Changelog {
    /// What it has besides the state.
    pub(super) kept: Kept,
    /// Behind the newest name of an owner: no other log has that record there.
    pub(super) named: Option<Bookmark>,
    /// Behind the last record.
    pub(super) read: Option<Bookmark>,
}

impl Replica {
    /// With nothing read yet.
    pub(super) fn new(stores: &[Store]) -> Self {
        Self { state: State::new(stores), changelogs: vec![Changelog::default(); stores.len()] }
    }

    /// From where the changelog of a store is to be read on.
    pub(super) fn start(&self, StoreId(store): StoreId) -> Offset {
        let read = self.changelogs.get(store).and_then(|changelog| changelog.read);
        read.map_or(Offset::Beginning, |read| Offset::Offset(read.next))
    }

    /// Takes the next record of the changelog of a store.
    pub(super) fn take(&mut self, StoreId(store): StoreId, record: &Record) {
        let Some(changelog) = self.changelogs.get_mut(store) else { return };
        let behind = Bookmark::after(record);
        if record.key == OWNER {
            changelog.named = Some(behind);
        }
        if !changelog.kept.take(record) {
            self.state.set(StoreId(store), &record.key, record.payload.as_deref());
        }
        changelog.read = Some(behind);
    }
}
