//! One table: opened or created.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deltalake::arrow::datatypes::SchemaRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::parquet::basic::{Compression, Encoding, ZstdLevel};
use deltalake::parquet::file::properties::{EnabledStatistics, WriterProperties};
use deltalake::parquet::schema::types::ColumnPath;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaResult, DeltaTable};

use crate::entry::{Entry, Kind, LONG, PARTITIONED_BY, fields, schema};
use crate::{ArchiveError, Store};

/// After that time a store counts as away. What it may still do then is found when the table is opened again.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);
/// How hard zstd tries: little on new files, which are merged soon, and as usual on those that stay.
const NEW: i32 = 1;
const MERGED: i32 = 3;
/// Rows of a file that are skipped as a whole.
const ROW_GROUP: usize = 65_536;
/// Bytes of a column that are read for one value of it, and of a dictionary as much again.
const PAGE: usize = 64 * 1024;
/// Rows after which a page is looked at: whether it is full. Of whole records that many are as large as a page.
const AT_ONCE: usize = 64;

/// One table of the archive.
#[derive(Debug)]
pub struct Table {
    pub(crate) kind: Kind,
    pub(crate) delta: DeltaTable,
    /// How new files are written.
    pub(crate) new: WriterProperties,
    /// How files are written again.
    pub(crate) merged: WriterProperties,
    pub(crate) schema: SchemaRef,
}

impl Table {
    /// Opens the table of `T`, or creates it.
    ///
    /// # Errors
    /// Retryable, unless there is a table that is not the archive's.
    pub async fn open<T: Entry>(store: &Store) -> Result<Self, ArchiveError> {
        let (log_store, fields) = (store.table(T::KIND.name)?, fields::<T>());
        let what = || format!("opening {}", log_store.root_url());
        let mut delta = DeltaTable::new(Arc::clone(&log_store));
        if !within(DEADLINE, &what, delta.verify_deltatable_existence()).await? {
            let stats = fields.iter().map(|field| field.name().as_str());
            let stats: Vec<_> = stats.filter(|name| !LONG.contains(name) && !PARTITIONED_BY.contains(name)).collect();
            let create = CreateBuilder::new()
                .with_log_store(Arc::clone(&log_store))
                .with_table_name(T::KIND.name)
                .with_comment("Written by Epicenter")
                .with_columns(fields.clone())
                .with_partition_columns(PARTITIONED_BY)
                .with_configuration([
                    ("delta.dataSkippingStatsColumns", Some(stats.join(",").as_str())),
                    ("delta.checkpointInterval", Some("100")),
                    ("delta.logRetentionDuration", Some("interval 7 days")),
                    ("delta.deletedFileRetentionDuration", Some("interval 1 days")),
                ])
                // Another process may have been quicker.
                .with_save_mode(SaveMode::Ignore);
            within(DEADLINE, &|| format!("creating {}", log_store.root_url()), async { create.await }).await?;
        }
        within(DEADLINE, &what, delta.load()).await?;
        let found = delta.snapshot().map_err(|error| ArchiveError::store(what(), error))?.schema();
        if let Some(field) =
            fields.iter().find(|field| found.field(field.name()).map(|f| &f.data_type) != Some(&field.data_type))
        {
            return Err(ArchiveError::Foreign {
                url: log_store.root_url().to_string(),
                column: field.name().clone(),
                kind: field.data_type().to_string(),
            });
        }
        let schema = schema::<T>().map_err(|error| ArchiveError::store(what(), error.into()))?;
        let sought = || T::COLUMNS.iter().filter(|column| column.sought).map(|column| column.name);
        let (new, merged) = (properties(sought(), NEW), properties(sought(), MERGED));
        Ok(Self { kind: T::KIND, delta, new, merged, schema })
    }
}

/// How files are written.
fn properties(sought: impl Iterator<Item = &'static str>, level: i32) -> WriterProperties {
    let level = ZstdLevel::try_new(level).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("epicenter ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_data_page_size_limit(PAGE)
        .set_dictionary_page_size_limit(PAGE)
        .set_write_batch_size(AT_ONCE);
    for name in LONG {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None);
    }
    for name in ["record", "event_uid"] {
        // Each value is another one.
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for name in ["time", "occurred_at", "offset"] {
        // Each value is a little more than the one before.
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    for name in sought {
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(path, ROW_GROUP as u64);
    }
    properties.build()
}

/// The outcome of `work`, as an error of the archive; given up after `limit`.
pub(crate) async fn within<R>(
    limit: Duration,
    what: &(dyn Fn() -> String + Sync),
    work: impl Future<Output = DeltaResult<R>>,
) -> Result<R, ArchiveError> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome.map_err(|error| ArchiveError::store(what(), error)),
        Err(_) => Err(ArchiveError::Slow { what: what(), seconds: limit.as_secs() }),
    }
}
