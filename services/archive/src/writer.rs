//! The commit that moves a table on, and where the table stands in the log.

use std::collections::BTreeMap;

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Transaction, Version};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::batch::Batch;
use crate::entry::{Entry, PARTITIONED_BY};
use crate::table::{DEADLINE, within};
use crate::{ArchiveError, Store, Table};

/// Files that are written at a time.
const TOGETHER: usize = 4;

/// Appends to a table. After an error it has to be opened again, which tells what is in the table.
pub(crate) struct Writer {
    pub table: Table,
    partitions: u32,
    generation: i64,
    positions: BTreeMap<u32, i64>,
    /// The table's version at which these positions were all.
    at: Option<Version>,
}

impl Writer {
    /// Opens the table of `T` for a log of `partitions` partitions.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub(crate) async fn open<T: Entry>(store: &Store, partitions: u32, generation: i64) -> Result<Self, ArchiveError> {
        let table = Table::open::<T>(store).await?;
        let mut writer = Self { table, partitions, generation, positions: BTreeMap::new(), at: None };
        (writer.positions, writer.at) = (writer.found().await?, writer.table.delta.version());
        Ok(writer)
    }

    /// The last offset of each partition that is in the table.
    pub(crate) fn positions(&self) -> &BTreeMap<u32, i64> {
        &self.positions
    }

    /// Writes the rows of `batch`, and commits them with its positions: wholly or not at all.
    ///
    /// # Errors
    /// Retryable, by reading the records again from the position that the table then has.
    pub(crate) async fn commit<T: Entry>(&mut self, batch: &mut Batch<T>) -> Result<(), ArchiveError> {
        // Delta compares with commits since the version that is known here; those before are looked at here.
        let known = self.table.delta.version();
        if known != self.at && self.found().await? != self.positions {
            return Err(ArchiveError::Overtaken { table: self.table.kind.name });
        }
        self.at = known;
        let adds = self.write(batch).await?;
        let now = Some(jiff::Timestamp::now().as_millisecond());
        let transactions = batch
            .positions()
            .iter()
            .map(|(partition, offset)| Transaction::new_with_last_update(self.application(*partition), *offset, now));
        let properties = CommitProperties::default().with_application_transactions(transactions.collect());
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(PARTITIONED_BY.map(str::to_owned).to_vec()),
            predicate: None,
        };
        let what = || format!("committing to {}", self.table.kind.name);
        let commit = async {
            let state = self.table.delta.snapshot()?;
            let log_store = self.table.delta.log_store();
            CommitBuilder::from(properties).with_actions(adds).build(Some(state), log_store, operation).await
        };
        let version = within(DEADLINE, &what, commit).await?.version();
        self.positions.extend(batch.positions());
        if known.is_some_and(|known| known + 1 == version) {
            self.at = Some(version);
        }
        let what = || format!("reading the log of {}", self.table.kind.name);
        within(DEADLINE, &what, self.table.delta.update_state()).await
    }

    async fn write<T: Entry>(&self, batch: &mut Batch<T>) -> Result<Vec<Action>, ArchiveError> {
        let what = || format!("writing {}", self.table.kind.name);
        let (delta, properties) = (&self.table.delta, &self.table.properties);
        let parts: Vec<_> = batch.drain(&self.table.schema).collect();
        let write = futures::stream::iter(parts).map(|rows| async move {
            let mut writer = RecordBatchWriter::for_table(delta)?.with_writer_properties(properties.clone());
            writer.write(rows?).await?;
            writer.flush().await
        });
        let adds = within(DEADLINE, &what, write.buffer_unordered(TOGETHER).try_collect::<Vec<_>>()).await?;
        Ok(adds.into_iter().flatten().map(Action::Add).collect())
    }

    /// The positions that the table has, at the version that is known.
    async fn found(&self) -> Result<BTreeMap<u32, i64>, ArchiveError> {
        let what = || format!("reading the positions of {}", self.table.kind.name);
        let log_store = self.table.delta.log_store();
        let state = self.table.delta.snapshot().map_err(|error| ArchiveError::store(what(), error))?;
        let mut positions = BTreeMap::new();
        for partition in 0..self.partitions {
            let version = state.transaction_version(log_store.as_ref(), self.application(partition));
            positions.extend(within(DEADLINE, &what, version).await?.map(|offset| (partition, offset)));
        }
        Ok(positions)
    }

    /// Under which name the table keeps its position in a partition of its topic.
    fn application(&self, partition: u32) -> String {
        format!("epicenter/{}/{partition}/{}", self.table.kind.topic, self.generation)
    }
}
