//! A source that writes to the log in a directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::{Changes, Store};
use crate::{Emit, Fault, Row};

/// A source on the log in a directory.
pub struct LocalSource {
    store: Arc<Store>,
    table: &'static str,
    id: String,
    epoch: u64,
    partition: u32,
}

impl LocalSource {
    pub(super) fn open(
        store: &Arc<Store>,
        table: &'static str,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(Self, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        let epoch = store.fence(id);
        let positions = store.table(table, partition, prefix)?.into_iter().collect();
        Ok((Self { store: Arc::clone(store), table, id: id.to_owned(), epoch, partition }, positions))
    }

    pub(crate) fn commit(&mut self, records: &[Emit], rows: &[Row<'_>]) -> Result<(), Fault> {
        let puts = rows.iter().map(|(key, value)| (self.table, *key, *value));
        let changes = Changes { emits: records, puts: puts.collect(), ..Changes::default() };
        self.store.commit_fenced(self.partition, &changes, &self.id, self.epoch)
    }
}
