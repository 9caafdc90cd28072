//! The commit that moves a table on, and where the table stands in the log.

use std::collections::BTreeMap;

use deltalake::arrow::array::RecordBatch;
use deltalake::kernel::scalars::ScalarExt;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Version};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter, WriteMode};
use deltalake::{DeltaResult, DeltaTableError};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::batch::{Batch, Folder};
use crate::entry::{Entry, PARTITIONED_BY};
use crate::position::{Origin, Positions};
use crate::table::{DEADLINE, within};
use crate::{ArchiveError, Store, Table};

/// Files that are opened before their rows are all read.
const OPEN: usize = 16;
/// Files that are completed at a time.
const TOGETHER: usize = 4;

/// Appends to a table. After an error it has to be opened again, which tells what is in the table.
pub(crate) struct Writer {
    pub table: Table,
    origin: Origin,
    positions: Positions,
    /// The table's version at which these positions were all.
    at: Option<Version>,
    /// What the next commit adds.
    files: BTreeMap<Folder, File>,
}

/// A file on its way.
#[derive(Default)]
struct File {
    /// It is open. Dropped, it leaves nothing behind.
    open: Option<RecordBatchWriter>,
    /// Rows that wait until it is.
    rows: Vec<RecordBatch>,
}

impl Writer {
    /// Opens the table of `T` for the log `origin`.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub(crate) async fn open<T: Entry>(store: &Store, origin: Origin) -> Result<Self, ArchiveError> {
        let table = Table::open::<T>(store).await?;
        let positions = origin.found(&table.delta).await?;
        Ok(Self { at: table.delta.version(), table, origin, positions, files: BTreeMap::new() })
    }

    /// How far each partition is in the table.
    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Writes what is full of `batch`, for the next commit: soon, while it is in the caches, and so that its memory serves the next.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub(crate) async fn write<T: Entry>(&mut self, batch: &mut Batch<T>) -> Result<(), ArchiveError> {
        let what = || format!("writing {}", self.table.kind.name);
        let pieces = batch.full(&self.table.schema).map_err(|error| ArchiveError::store(what(), error.into()))?;
        for (folder, rows) in pieces {
            let open = self.files.values().filter(|file| file.open.is_some()).count();
            let file = self.files.entry(folder).or_default();
            file.rows.push(rows);
            if file.open.is_some() || open < OPEN {
                within(DEADLINE, &what, file.write(&self.table)).await?;
            }
        }
        Ok(())
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
        let adds = self.complete(batch).await?;
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

    async fn complete<T: Entry>(&mut self, batch: &mut Batch<T>) -> Result<Vec<Action>, ArchiveError> {
        let what = || format!("writing {}", self.table.kind.name);
        let rest = batch.drain(&self.table.schema).map_err(|error| ArchiveError::store(what(), error.into()))?;
        for (folder, rows) in rest {
            self.files.entry(folder).or_default().rows.push(rows);
        }
        let table = &self.table;
        let complete = futures::stream::iter(std::mem::take(&mut self.files)).map(|(_, mut file)| async move {
            file.write(table).await?;
            match file.open {
                Some(mut writer) => writer.flush().await,
                None => Ok(Vec::new()),
            }
        });
        let adds = within(DEADLINE, &what, complete.buffer_unordered(TOGETHER).try_collect::<Vec<_>>()).await?;
        Ok(adds.into_iter().flatten().map(Action::Add).collect())
    }
}

impl File {
    /// Writes the rows that wait.
    async fn write(&mut self, table: &Table) -> DeltaResult<()> {
        for rows in self.rows.drain(..) {
            let writer = match &mut self.open {
                Some(writer) => writer,
                none => {
                    none.insert(RecordBatchWriter::for_table(&table.delta)?.with_writer_properties(table.new.clone()))
                }
            };
            // Its rows are of one folder: the writer need not sort and copy them.
            let value = |name: &str| Some((name.to_owned(), ScalarExt::from_array(rows.column_by_name(name)?, 0)?));
            let folder = PARTITIONED_BY.into_iter().map(value).collect::<Option<_>>();
            let folder = folder.ok_or_else(|| DeltaTableError::generic("rows that do not tell their folder"))?;
            writer.write_partition(rows, &folder, WriteMode::Default).await?;
        }
        Ok(())
    }
}
