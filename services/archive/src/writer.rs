//! The commit that moves a table on, and where the table stands in the log.

use deltalake::DeltaTableError;
use deltalake::kernel::scalars::ScalarExt;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Version};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter, WriteMode};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::batch::Batch;
use crate::entry::{Entry, PARTITIONED_BY};
use crate::position::{Origin, Positions};
use crate::table::{DEADLINE, within};
use crate::{ArchiveError, Store, Table};

/// Files that are written at a time.
const TOGETHER: usize = 4;

/// Appends to a table. After an error it has to be opened again, which tells what is in the table.
pub(crate) struct Writer {
    pub table: Table,
    origin: Origin,
    positions: Positions,
    /// The table's version at which these positions were all.
    at: Option<Version>,
}

impl Writer {
    /// Opens the table of `T` for the log `origin`.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub(crate) async fn open<T: Entry>(store: &Store, origin: Origin) -> Result<Self, ArchiveError> {
        let table = Table::open::<T>(store).await?;
        let positions = origin.found(&table.delta).await?;
        Ok(Self { at: table.delta.version(), table, origin, positions })
    }

    /// How far each partition is in the table.
    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Writes the rows of `batch`, and commits them with its positions: wholly or not at all.
    ///
    /// # Errors
    /// Retryable, by reading the records again from the position that the table then has.
    pub(crate) async fn commit<T: Entry>(&mut self, batch: &mut Batch<T>) -> Result<(), ArchiveError> {
        // Delta compares with commits since the version that is known here; those before are looked at here.
        let known = self.table.delta.version();
        if known != self.at && self.origin.found(&self.table.delta).await? != self.positions {
            return Err(ArchiveError::Overtaken { table: self.table.kind.name });
        }
        self.at = known;
        let adds = self.write(batch).await?;
        let positions = batch.positions();
        self.append(adds, positions).await
    }

    /// Commits `adds` with `positions`: wholly or not at all.
    pub(crate) async fn append(&mut self, adds: Vec<Action>, positions: Positions) -> Result<(), ArchiveError> {
        let known = self.table.delta.version();
        let transactions = self.origin.transactions(&positions);
        let properties = CommitProperties::default().with_application_transactions(transactions);
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
        let commit = within(DEADLINE, &what, commit).await?;
        self.positions.extend(positions);
        if known.is_some_and(|known| known + 1 == commit.version()) {
            self.at = Some(commit.version());
        }
        self.table.delta.state = Some(commit.snapshot);
        Ok(())
    }

    async fn write<T: Entry>(&self, batch: &mut Batch<T>) -> Result<Vec<Action>, ArchiveError> {
        let what = || format!("writing {}", self.table.kind.name);
        let (delta, properties) = (&self.table.delta, &self.table.new);
        let parts: Vec<_> = batch.drain(&self.table.schema).collect();
        let write = futures::stream::iter(parts).map(|rows| async move {
            let mut writer = RecordBatchWriter::for_table(delta)?.with_writer_properties(properties.clone());
            for piece in rows? {
                // Its rows are of one folder: the writer need not sort and copy them.
                let value =
                    |name: &str| Some((name.to_owned(), ScalarExt::from_array(piece.column_by_name(name)?, 0)?));
                let folder = PARTITIONED_BY.into_iter().map(value).collect::<Option<_>>();
                let folder = folder.ok_or_else(|| DeltaTableError::generic("rows that do not tell their folder"))?;
                writer.write_partition(piece, &folder, WriteMode::Default).await?;
            }
            writer.flush().await
        });
        let adds = within(DEADLINE, &what, write.buffer_unordered(TOGETHER).try_collect::<Vec<_>>()).await?;
        Ok(adds.into_iter().flatten().map(Action::Add).collect())
    }
}
