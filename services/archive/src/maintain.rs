//! Small files become large ones, and files that no version needs go.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use deltalake::datafusion::execution::SessionState;
use deltalake::delta_datafusion::create_session_state_with_spill_config;
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::{FilterLiteral, FilterOp, FilterValue};
use epicenter_runtime::RetentionSection;
use jiff::civil::Date;

use crate::table::within;
use crate::{ArchiveError, Table};

/// Files of the present day in one partition, above which they are merged before the day is over.
const MANY: usize = 24;
/// Files are merged up to that size, bytes.
const LARGE: NonZeroU64 = NonZeroU64::new(256 * 1024 * 1024).expect("it is not 0");
/// Memory for sorting; more goes to the disk for temporary files.
const MEMORY: usize = 128 * 1024 * 1024;
/// Rows that are sorted, and merged, at a time.
const BATCH: usize = 1024;
/// Of the memory, what is for merging what comes back from the disk.
const MERGING: usize = 32 * 1024 * 1024;
/// One step of maintenance is given up after that time.
pub(crate) const LIMIT: Duration = Duration::from_secs(3600);

/// Sorts within [`MEMORY`]: what does not fit goes to the disk, and comes back a little of each run at a time.
fn sorting() -> SessionState {
    let mut session = create_session_state_with_spill_config(Some(MEMORY), None);
    let config = std::mem::take(session.config_mut());
    *session.config_mut() = config
        // One sorter has it all.
        .with_target_partitions(1)
        .with_batch_size(BATCH)
        .with_sort_spill_reservation_bytes(MERGING)
        // Views would keep, and count, all that was read beside them.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
    session
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Days of clusters whose files were merged.
    pub partitions: u64,
    /// Files before.
    pub before: u64,
    /// Files after.
    pub after: u64,
}

/// What a vacuum did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files that were deleted.
    pub files: u64,
}

impl Table {
    /// Merges the files of each day and cluster, sorted by time; those of the present day, `today`, only when they are many.
    ///
    /// # Errors
    /// Retryable; what was merged before stays.
    pub async fn compact(&mut self, today: Date) -> Result<Compacted, ArchiveError> {
        let mut done = Compacted::default();
        for ((date, cluster), files) in self.partitions()? {
            let enough = if date < today.to_string() { 2 } else { MANY };
            if files < enough {
                continue;
            }
            let filters: [FilterLiteral<'_>; 2] = [
                ("date", FilterOp::Eq, FilterValue::Scalar(&date)),
                ("cluster", FilterOp::Eq, FilterValue::Scalar(&cluster)),
            ];
            let session = sorting();
            let optimize = self
                .delta
                .clone()
                .optimize()
                .with_filters(&filters)
                // By one column it sorts.
                .with_type(OptimizeType::ZOrder(vec!["time".to_owned()]))
                .with_target_size(LARGE)
                .with_writer_properties(self.merged.clone())
                .with_max_concurrent_tasks(1)
                .with_session_state(Arc::new(session));
            let what = || format!("merging files of {date} of {cluster} in {}", self.kind.name);
            let (delta, metrics) = within(LIMIT, &what, async { optimize.await }).await?;
            self.delta = delta;
            done.partitions += 1;
            done.before += metrics.num_files_removed;
            done.after += metrics.num_files_added;
        }
        Ok(done)
    }

    /// Deletes files that the table has not needed for a day, and those that never came to be part of it.
    ///
    /// # Errors
    /// Retryable.
    pub async fn vacuum(&mut self) -> Result<Vacuumed, ArchiveError> {
        let what = || format!("deleting files of {} that are not needed", self.kind.name);
        let vacuum = self.delta.clone().vacuum().with_mode(VacuumMode::Full);
        let (delta, metrics) = within(LIMIT, &what, async { vacuum.await }).await?;
        self.delta = delta;
        Ok(Vacuumed { files: metrics.files_deleted.len() as u64 })
    }

    /// All that a table needs from time to time, as of now.
    pub(crate) async fn maintain(&mut self, retention: &RetentionSection) -> Result<(), ArchiveError> {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let expired = self.retain(retention, today).await?;
        let Compacted { partitions, before, after } = self.compact(today).await?;
        let Vacuumed { files } = self.vacuum().await?;
        tracing::info!(table = self.kind.name, expired, partitions, before, after, vacuumed = files, "maintained");
        Ok(())
    }

    /// How many files each day and cluster has.
    fn partitions(&self) -> Result<BTreeMap<(String, String), usize>, ArchiveError> {
        let what = || format!("listing the files of {}", self.kind.name);
        let state = self.delta.snapshot().map_err(|error| ArchiveError::store(what(), error))?;
        let mut partitions = BTreeMap::new();
        for file in state.log_data().iter() {
            let mut values = file.partition_values_map();
            let mut value = |name: &str| values.remove(name).flatten().unwrap_or_default();
            *partitions.entry((value("date"), value("cluster"))).or_insert(0) += 1;
        }
        Ok(partitions)
    }
}
