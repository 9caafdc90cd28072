//! The two tables as questions find them: what is archived at one version, and what the log has beyond that version's position.

use std::sync::Arc;
use std::time::Duration;

use deltalake::DeltaTable;
use deltalake::arrow::datatypes::SchemaRef;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::datasource::table_schema::TableSchema;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::SessionStateBuilder;
use deltalake::datafusion::execution::object_store::ObjectStoreUrl;
use deltalake::datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::datafusion::prelude::{SessionConfig, SessionContext};
use deltalake::kernel::Version;
use deltalake::logstore::get_actions;
use epicenter_bus::Bus;
use epicenter_model::{Codec, EnrichedEvent, IncidentChange};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::files::{self, Files};
use super::join::PortionJoins;
use super::live::{Blind, Live};
use super::rows::{self, Rows};
use crate::position::{Origin, Positions};
use crate::table::within;
use crate::{ArchiveError, Entry, Store, entry};

/// Tables are looked at again when what is known of them is older than that.
const FRESH: Duration = Duration::from_secs(2);
/// A store that does not tell of a table for that long is away.
const OPENING: Duration = Duration::from_secs(30);
/// Functions that make much out of little, before anybody counts their memory.
const GREEDY: [&str; 8] =
    ["repeat", "lpad", "rpad", "range", "generate_series", "array_repeat", "list_repeat", "array_resize"];

/// The log that goes on where the tables end.
#[derive(Clone)]
pub(super) struct Log {
    pub bus: Bus,
    pub codec: Codec,
    /// Of the log, when it is on Kafka.
    pub generation: u32,
    /// Bytes of rows that are kept of each topic.
    pub limit: usize,
}

/// The tables, as they were when somebody last asked.
pub(super) struct Tables {
    pub store: Store,
    pub log: Option<Log>,
    /// Memory and what is remembered of files, for all questions.
    pub environment: Arc<RuntimeEnv>,
    pub known: Mutex<Option<Known>>,
}

pub(super) struct Known {
    events: Table<EnrichedEvent>,
    changes: Table<IncidentChange>,
    at: Instant,
}

/// One of them.
struct Table<T: Entry> {
    delta: DeltaTable,
    schema: SchemaRef,
    columns: TableSchema,
    store: ObjectStoreUrl,
    /// The version that the files and the positions are of.
    version: Option<Version>,
    files: Files,
    origin: Option<Origin>,
    positions: Positions,
    live: Option<Live<T>>,
    blind: Option<Blind>,
}

impl Tables {
    /// A session that knows the two tables as they are now, and nothing else.
    pub(super) async fn session(&self) -> Result<SessionContext, ArchiveError> {
        let mut config = SessionConfig::new().with_information_schema(false);
        let options = config.options_mut();
        // Long columns are read only of rows that pass the others.
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        // Whoever wants the newest rows tells the scan, while it reads, what it need not read: nothing in between may read ahead. Large
        // scans are read in parts, side by side, all the same.
        options.optimizer.enable_round_robin_repartition = false;
        // One without end never stops to look whether its time is over.
        options.execution.enable_recursive_ctes = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.environment))
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(PortionJoins))
            .build();
        let session = SessionContext::new_with_state(state);
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
                    known.events.refresh().await?;
                    known.changes.refresh().await?;
                    known.at = Instant::now();
                }
                known
            }
            none => {
                let events = Table::open(self).await?;
                let changes = Table::open(self).await?;
                none.insert(Known { events, changes, at: Instant::now() })
            }
        };
        // The log is read by calls that block.
        let (events, changes) = tokio::task::block_in_place(|| (known.events.look(), known.changes.look()));
        Ok([(EnrichedEvent::KIND.name, events), (IncidentChange::KIND.name, changes)])
    }
}

impl Known {
    /// What keeps the newest records from answers.
    pub(super) fn blind(&self) -> Option<String> {
        let blind = self.events.blind.as_ref().or(self.changes.blind.as_ref())?;
        Some(format!("what is newer than the archive is not in it, or not all of it: {blind}"))
    }
}

impl<T: Entry> Table<T> {
    async fn open(tables: &Tables) -> Result<Self, ArchiveError> {
        let name = T::KIND.name;
        let mut delta = DeltaTable::new(tables.store.table(name)?);
        let what = || format!("opening {name}");
        if !within(OPENING, &what, delta.verify_deltatable_existence()).await? {
            return Err(ArchiveError::Absent { table: name });
        }
        within(OPENING, &what, delta.load()).await?;
        let query = |error: DataFusionError| ArchiveError::query(what(), error);
        let made = entry::schema::<T>().map_err(|error| query(error.into()))?;
        let columns = files::columns(&made);
        let schema = rows::schema(&made, &columns).map_err(query)?;
        let store = ObjectStoreUrl::parse(format!("archive://{name}")).map_err(query)?;
        tables.environment.register_object_store(store.as_ref(), delta.log_store().object_store(None));
        let log = tables.log.clone();
        let origin = log.as_ref().map(|log| Origin::new(T::KIND, &log.bus, log.generation));
        let live = log.map(|log| Live::new(log.bus, log.codec, log.limit, made, Arc::clone(&schema)));
        let files = Files::of(&delta, &columns, &Files::default())?;
        let mut table = Self {
            version: delta.version(),
            delta,
            schema,
            columns,
            store,
            files,
            origin,
            positions: Positions::new(),
            live,
            blind: None,
        };
        table.positions = table.found().await?;
        Ok(table)
    }

    async fn found(&self) -> Result<Positions, ArchiveError> {
        match self.origin {
            Some(origin) => origin.found(&self.delta).await,
            None => Ok(Positions::new()),
        }
    }

    /// Takes over what was committed since.
    async fn refresh(&mut self) -> Result<(), ArchiveError> {
        let what = || format!("looking at {}", T::KIND.name);
        within(OPENING, &what, self.delta.update_state()).await?;
        let now = self.delta.version();
        if self.version == now {
            return Ok(());
        }
        // Files and positions are of one version, or both stay what they were.
        let positions = self.moved(now).await?;
        self.files = Files::of(&self.delta, &self.columns, &self.files)?;
        (self.positions, self.version) = (positions, now);
        Ok(())
    }

    /// The positions at the version `now`.
    async fn moved(&self, now: Option<Version>) -> Result<Positions, ArchiveError> {
        let (Some(origin), Some(before), Some(now)) = (self.origin, self.version, now) else {
            return self.found().await;
        };
        let what = || format!("reading the positions of {}", T::KIND.name);
        let (log_store, mut positions) = (self.delta.log_store(), self.positions.clone());
        for version in before + 1..=now {
            let Some(commit) = within(OPENING, &what, log_store.read_commit_entry(version)).await? else {
                return origin.found(&self.delta).await;
            };
            let commit = get_actions(version, &commit).map_err(|error| ArchiveError::store(what(), error))?;
            origin.moved(&commit, &mut positions);
        }
        Ok(positions)
    }

    /// Its rows as of now. Blocks.
    fn look(&mut self) -> Arc<dyn TableProvider> {
        let (live, blind) = match &mut self.live {
            Some(live) => live.look(&self.positions),
            None => Default::default(),
        };
        if let Some(blind) = &blind
            && self.blind.is_none()
        {
            tracing::warn!(table = T::KIND.name, %blind, "answers lack the newest records of the log");
        }
        self.blind = blind;
        Arc::new(Rows {
            schema: Arc::clone(&self.schema),
            columns: self.columns.clone(),
            store: self.store.clone(),
            files: self.files.clone(),
            live,
        })
    }
}
