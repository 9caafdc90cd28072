//! Questions to the archive, within limits of time and memory.
//!
//! Entry points: [`Archive::events`] and [`Archive::incidents`] (rows, page by page), [`Archive::aggregate`] (what they add
//! up to), [`Archive::sql`] (what one reader only wants to know), and [`routes`] (all of it over HTTP).

mod aggregate;
mod answer;
mod api;
mod cursor;
mod filter;
mod page;
mod sql;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deltalake::DeltaTable;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use deltalake::datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use deltalake::datafusion::prelude::{SessionConfig, SessionContext};
use deltalake::kernel::Version;
use epicenter_model::{EnrichedEvent, IncidentChange};
use epicenter_runtime::QuerySection;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

pub use aggregate::{Aggregate, Group, Of, stretch};
pub use answer::Answer;
pub use api::routes;
pub use cursor::Cursor;
pub use filter::{Filter, when};
pub use page::{Page, Row};

use crate::table::within;
use crate::{ArchiveError, Entry, Store};

/// Questions that are answered at a time; others wait for their turn.
const AT_A_TIME: usize = 4;
/// Tables are looked at again when what is known of them is older than that.
const FRESH: Duration = Duration::from_secs(2);
/// Threads for them. A query is planned by calls within each other, as many as its expressions are deep.
const THREADS: usize = 2;
const STACK: usize = 32 * 1024 * 1024;
/// Functions that make much out of little, before anybody counts their memory.
const GREEDY: [&str; 8] =
    ["repeat", "lpad", "rpad", "range", "generate_series", "array_repeat", "list_repeat", "array_resize"];

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
        let environment =
            RuntimeEnvBuilder::new().with_memory_limit(limits.memory, 1.0).with_disk_manager_builder(disk);
        let environment = environment.build_arc().map_err(|error| ArchiveError::query(what(), error))?;
        let runtime = Builder::new_multi_thread()
            .thread_name("questions")
            .worker_threads(THREADS)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| ArchiveError::query(what(), error.into()))?;
        let tables = Arc::new(Tables { store, environment, known: Mutex::new(None) });
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        Ok(Self { tables, limits: limits.clone(), turns, runtime: Some(runtime) })
    }
}

/// The tables, as they were when somebody last asked.
struct Tables {
    store: Store,
    /// Memory and what is remembered of files, for all questions.
    environment: Arc<RuntimeEnv>,
    known: Mutex<Option<Known>>,
}

struct Known {
    tables: [KnownTable; 2],
    at: Instant,
}

/// One of them.
struct KnownTable {
    name: &'static str,
    delta: DeltaTable,
    version: Option<Version>,
    provider: Arc<dyn TableProvider>,
}

impl Tables {
    /// A session that knows the two tables as they are now, and nothing else.
    async fn session(&self) -> Result<SessionContext, ArchiveError> {
        let mut config = SessionConfig::new().with_information_schema(false);
        let options = config.options_mut();
        // Long columns are read only of rows that pass the others.
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        // One without end never stops to look whether its time is over.
        options.execution.enable_recursive_ctes = false;
        let session = SessionContext::new_with_config_rt(config, Arc::clone(&self.environment));
        for name in GREEDY {
            session.deregister_udf(name);
            session.deregister_udtf(name);
        }
        for (name, provider) in self.look().await? {
            let register = session.register_table(name, provider);
            register.map_err(|error| ArchiveError::query(format!("opening {name}"), error))?;
        }
        Ok(session)
    }

    async fn look(&self) -> Result<[(&'static str, Arc<dyn TableProvider>); 2], ArchiveError> {
        let mut known = self.known.lock().await;
        let known = match &mut *known {
            Some(known) => {
                if known.at.elapsed() >= FRESH {
                    for table in &mut known.tables {
                        table.refresh().await?;
                    }
                    known.at = Instant::now();
                }
                known
            }
            none => {
                let events = KnownTable::open::<EnrichedEvent>(&self.store).await?;
                let changes = KnownTable::open::<IncidentChange>(&self.store).await?;
                none.insert(Known { tables: [events, changes], at: Instant::now() })
            }
        };
        Ok(known.tables.each_ref().map(|table| (table.name, Arc::clone(&table.provider))))
    }
}

impl KnownTable {
    async fn open<T: Entry>(store: &Store) -> Result<Self, ArchiveError> {
        let name = T::KIND.name;
        let mut delta = DeltaTable::new(store.table(name)?);
        let what = || format!("opening {name}");
        if !within(OPENING, &what, delta.verify_deltatable_existence()).await? {
            return Err(ArchiveError::Absent { table: name });
        }
        within(OPENING, &what, delta.load()).await?;
        let provider = provider(name, &delta).await?;
        Ok(Self { name, version: delta.version(), delta, provider })
    }

    async fn refresh(&mut self) -> Result<(), ArchiveError> {
        let what = || format!("looking at {}", self.name);
        within(OPENING, &what, self.delta.update_state()).await?;
        if self.delta.version() != self.version {
            self.provider = provider(self.name, &self.delta).await?;
            self.version = self.delta.version();
        }
        Ok(())
    }
}

/// A store that does not tell of a table for that long is away.
const OPENING: Duration = Duration::from_secs(30);

async fn provider(name: &str, delta: &DeltaTable) -> Result<Arc<dyn TableProvider>, ArchiveError> {
    let opened = delta.table_provider().await;
    opened.map_err(|error: DataFusionError| ArchiveError::query(format!("opening {name}"), error))
}
