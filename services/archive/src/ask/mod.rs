//! Questions to the archive, within limits of time and memory.
//!
//! Entry points: [`Archive::events`] and [`Archive::incidents`] (rows, page by page), [`Archive::aggregate`] (what they add
//! up to), [`Archive::sql`] (what one reader only wants to know), and [`routes`] (all of it over HTTP).

mod aggregate;
mod answer;
mod api;
mod cursor;
mod files;
mod filter;
mod incident;
mod join;
mod live;
mod page;
mod rows;
mod sql;
mod tables;

use std::fmt;
use std::sync::Arc;

use deltalake::datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use deltalake::datafusion::execution::runtime_env::RuntimeEnvBuilder;
use epicenter_bus::Bus;
use epicenter_model::Codec;
use epicenter_runtime::{ArchiveConfig, Metrics, QuerySection};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Semaphore};

pub use aggregate::{Aggregate, Group, Of, stretch};
pub use answer::Answer;
pub use api::routes;
pub use cursor::Cursor;
pub use filter::{Filter, when};
pub use page::{Page, Row};

use crate::{ArchiveError, Store};
use tables::{Log, Tables};

/// Questions that are answered at a time; others wait for their turn.
const AT_A_TIME: usize = 4;
/// Threads for them. A query is planned by calls within each other, as many as its expressions are deep.
const THREADS: usize = 2;
const STACK: usize = 32 * 1024 * 1024;
/// What is remembered of the insides of files, bytes.
const REMEMBERED: usize = 64 * 1024 * 1024;
/// A question that cannot be asked so.
#[derive(Debug, thiserror::Error)]
#[error("{key}: `{value}` {why}")]
pub struct Malformed {
    key: String,
    value: String,
    why: String,
}

impl Malformed {
    pub(super) fn new(key: impl Into<String>, value: &str, why: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.chars().take(100).collect(), why: why.into() }
    }
}

/// An archive that is asked.
pub struct Archive {
    tables: Arc<Tables>,
    limits: QuerySection,
    metrics: Metrics,
    turns: Arc<Semaphore>,
    /// Questions have threads of their own: whatever one of them does to those, nobody else stands still.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("store", &self.tables.store)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // A question may be at work; nobody waits for it any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Archive {
    /// The archive in `store`. Nothing is read yet.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub fn new(store: Store, limits: &QuerySection) -> Result<Self, ArchiveError> {
        let what = || "opening the archive";
        // Memory is the limit: nothing spills to the disk, which others need.
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_limit(limits.memory, 1.0)
            .with_disk_manager_builder(disk)
            .with_metadata_cache_limit(REMEMBERED);
        let environment = environment.build_arc().map_err(|error| ArchiveError::query(what(), error))?;
        let runtime = Builder::new_multi_thread()
            .thread_name("questions")
            .worker_threads(THREADS)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| ArchiveError::query(what(), error.into()))?;
        let tables = Arc::new(Tables { store, log: None, environment, known: Mutex::new(None) });
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        Ok(Self { tables, limits: limits.clone(), metrics: Metrics::default(), turns, runtime: Some(runtime) })
    }

    /// The same, but answers have what the log goes on with where the tables end, too: every record once. That of `bus`, of which
    /// `codec` reads records; it is archived as `config` says.
    #[must_use]
    pub fn with_log(mut self, bus: Bus, codec: Codec, config: &ArchiveConfig) -> Self {
        // The archive writes a batch when it is as large, and goes on reading meanwhile.
        let log = Log { bus, codec, generation: config.generation, limit: config.batch.bytes.saturating_mul(2) };
        let Tables { store, environment, .. } = &*self.tables;
        let (store, environment) = (store.clone(), Arc::clone(environment));
        self.tables = Arc::new(Tables { store, log: Some(log), environment, known: Mutex::new(None) });
        self
    }

    /// The same, but its questions are counted in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Why the newest records of the log were not, or not all, in the last answer; `None` when they were, or when there is no log.
    pub async fn missing(&self) -> Option<String> {
        self.tables.known.lock().await.as_ref()?.blind()
    }
}
