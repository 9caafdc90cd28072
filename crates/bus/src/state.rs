//! A partition's state: keyed tables in memory, each with a changelog.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The largest value of a state entry, in bytes. Larger things are to be kept as several entries.
pub const MAX_STATE_VALUE: usize = 64 * 1024;

/// Which of its stores a processor means: the index in [`crate::ProcessorSpec::stores`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub usize);

type Table = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The committed state of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    tables: Vec<Table>,
}

impl State {
    /// Empty tables for `stores` stores.
    pub fn new(stores: usize) -> Self {
        Self { tables: vec![Table::new(); stores] }
    }

    /// The value of `key`.
    pub fn get(&self, store: StoreId, key: &[u8]) -> Option<&[u8]> {
        self.tables.get(store.0)?.get(key).map(AsRef::as_ref)
    }

    /// All entries of a store whose key begins with `prefix`, in order of key.
    pub fn scan<'s>(&'s self, store: StoreId, prefix: &'s [u8]) -> impl Iterator<Item = (&'s [u8], &'s [u8])> + 's {
        self.tables
            .get(store.0)
            .into_iter()
            .flat_map(move |table| table.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// How many entries a store has.
    pub fn len(&self, store: StoreId) -> usize {
        self.tables.get(store.0).map_or(0, BTreeMap::len)
    }

    /// No store has an entry.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(BTreeMap::is_empty)
    }

    pub(crate) fn set(&mut self, store: StoreId, key: &[u8], value: Option<&[u8]>) {
        let Some(table) = self.tables.get_mut(store.0) else { return };
        match value {
            Some(value) => drop(table.insert(key.into(), value.into())),
            None => drop(table.remove(key)),
        }
    }
}
