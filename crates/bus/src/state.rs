//! A partition's state: keyed tables in memory, each with a changelog.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::Store;
use crate::packed::{Entry, Packed};

/// The largest value of a state entry, in bytes. Larger things are to be kept as several entries.
pub const MAX_STATE_VALUE: usize = 64 * 1024;

/// Which of its stores a processor means: the index in [`crate::ProcessorSpec::stores`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub usize);

#[derive(Clone, Debug)]
enum Table {
    Plain(BTreeMap<Box<[u8]>, Box<[u8]>>),
    Packed(Packed),
}

/// The committed state of one partition.
#[derive(Clone, Debug, Default)]
pub struct State {
    tables: Vec<Table>,
}

impl State {
    /// Empty tables for `stores`.
    pub fn new(stores: &[Store]) -> Self {
        let table =
            |store: &Store| if store.packed { Table::Packed(Packed::default()) } else { Table::Plain(BTreeMap::new()) };
        Self { tables: stores.iter().map(table).collect() }
    }

    /// The value of `key`.
    pub fn get(&self, store: StoreId, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self.tables.get(store.0)? {
            Table::Plain(rows) => rows.get(key).map(|value| Cow::Borrowed(value.as_ref())),
            Table::Packed(rows) => rows.get(key),
        }
    }

    /// All entries of a store whose key begins with `prefix`, in order of key.
    pub fn scan<'s>(&'s self, store: StoreId, prefix: &'s [u8]) -> impl Iterator<Item = Entry<'s>> + 's {
        let entries: Box<dyn Iterator<Item = Entry<'s>> + 's> = match self.tables.get(store.0) {
            None => Box::new(std::iter::empty()),
            Some(Table::Plain(rows)) => {
                let rows = rows.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
                Box::new(rows.map(|(key, value)| (Cow::Borrowed(key.as_ref()), Cow::Borrowed(value.as_ref()))))
            }
            Some(Table::Packed(rows)) => Box::new(rows.scan(prefix)),
        };
        entries.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// How many entries a store has. Of a packed one they are counted.
    pub fn len(&self, store: StoreId) -> usize {
        match self.tables.get(store.0) {
            None => 0,
            Some(Table::Plain(rows)) => rows.len(),
            Some(Table::Packed(rows)) => rows.scan(b"").count(),
        }
    }

    /// No store has an entry.
    pub fn is_empty(&self) -> bool {
        (0..self.tables.len()).all(|store| self.scan(StoreId(store), b"").next().is_none())
    }

    pub(crate) fn set(&mut self, store: StoreId, key: &[u8], value: Option<&[u8]>) {
        match (self.tables.get_mut(store.0), value) {
            (None, _) => {}
            (Some(Table::Plain(rows)), Some(value)) => drop(rows.insert(key.into(), value.into())),
            (Some(Table::Plain(rows)), None) => drop(rows.remove(key)),
            (Some(Table::Packed(rows)), value) => rows.set(key, value),
        }
    }
}
