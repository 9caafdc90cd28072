//! A source that writes to the log in a directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::{Changes, Store};
use crate::topic::topics::POSITIONS;
use crate::{Emit, Fault};

/// A source on the log in a directory.
pub struct LocalSource {
    store: Arc<Store>,
    id: String,
    epoch: u64,
    partition: u32,
}

impl LocalSource {
    pub(super) fn open(
        store: &Arc<Store>,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(Self, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        let epoch = store.fence(id);
        let positions = store.table(POSITIONS.name, partition, prefix)?.into_iter().collect();
        Ok((Self { store: Arc::clone(store), id: id.to_owned(), epoch, partition }, positions))
    }

    pub(crate) fn commit(&mut self, records: &[Emit], positions: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        let puts = positions.iter().map(|(key, value)| (POSITIONS.name, key.as_slice(), Some(value.as_slice())));
        let changes = Changes { emits: records, puts: puts.collect(), ..Changes::default() };
        self.store.commit_fenced(self.partition, &changes, &self.id, self.epoch)
    }
}
