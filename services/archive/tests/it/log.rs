//! A log with Events, an archive of it, and what is in that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deltalake::arrow::util::display::array_value_to_string;
use deltalake::datafusion::prelude::SessionContext;
use epicenter_archive::{ArchiveError, Context, Entry, Store, Table};
use epicenter_bus::topics::{EVENTS_ENRICHED, INCIDENT_CHANGES};
use epicenter_bus::{Bus, Emit, LocalConfig, Stop};
use epicenter_model::{
    Category, Codec, EnrichedEvent, EnrichedRecord, Event, Heartbeat, IncidentChange, ObjectRef, Severity, Timestamp,
};
use epicenter_runtime::{ArchiveConfig, BatchSection, Health, Metrics};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tempfile::TempDir;
use url::Url;

pub const PARTITIONS: u32 = 2;
/// 2026-11-20T00:00:00Z.
pub const DAY: i64 = 1_795_132_800_000_000;
const LIMIT: Duration = Duration::from_secs(120);

pub struct Site {
    pub directory: TempDir,
    pub context: Context,
    pub runtime: tokio::runtime::Runtime,
}

pub fn event(cluster: &str, n: i64, at: i64, severity: Severity) -> EnrichedEvent {
    EnrichedEvent {
        cluster: cluster.to_owned(),
        at: Timestamp::from_micros(at),
        occurred_at: Timestamp::from_micros(at - 1_000_000),
        occurrences: 1 + n % 3,
        class: "probe.unhealthy".to_owned(),
        category: Category::Probe,
        severity,
        event: Event {
            uid: format!("uid-{n}"),
            namespace: "shop".to_owned(),
            regarding: ObjectRef {
                uid: format!("pod-uid-{n}"),
                ..ObjectRef::named("Pod", "shop", &format!("web-{n}"))
            },
            reason: "Unhealthy".to_owned(),
            event_type: "Warning".to_owned(),
            note: "Readiness probe failed: it's \"503\"".to_owned(),
            component: "kubelet".to_owned(),
            host: "n1".to_owned(),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }
}

impl Site {
    pub fn new() -> Self {
        Self::over(Arc::new(LocalFileSystem::new()))
    }

    pub fn over(root: Arc<dyn ObjectStore>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bus = open_log(directory.path());
        let archive = directory.path().join("archive");
        std::fs::create_dir(&archive).unwrap();
        let batch = BatchSection { rows: 50, seconds: 1, ..BatchSection::default() };
        let context = Context {
            bus,
            codec: Codec::single_object(),
            store: Store::over(root, Url::from_directory_path(&archive).unwrap()),
            config: ArchiveConfig { batch, maintain_every_hours: 0, ..ArchiveConfig::default() },
            metrics: Metrics::default(),
            health: Health::new(),
            runtime: runtime.handle().clone(),
        };
        Self { directory, context, runtime }
    }

    pub fn write(&self, partition: u32, events: &[EnrichedEvent]) {
        let encode = |event: &EnrichedEvent| {
            let record = EnrichedRecord::Event(Box::new(event.clone()));
            let payload = Some(record.encode(&self.context.codec).unwrap().into());
            emit(&format!("{}/shop", event.cluster), event.at, payload)
        };
        self.emit(partition, &events.iter().map(encode).collect::<Vec<_>>());
    }

    pub fn emit(&self, partition: u32, records: &[Emit]) {
        let (mut source, _) = self.context.bus.source("writer", partition, b"writer/").unwrap();
        source.commit(records, &[]).unwrap();
    }

    pub fn heartbeat(&self, partition: u32, cluster: &str, at: i64) {
        let heartbeat =
            Heartbeat { cluster: cluster.to_owned(), at: Timestamp::from_micros(at), ..Heartbeat::default() };
        let payload = EnrichedRecord::Heartbeat(heartbeat).encode(&self.context.codec).unwrap();
        self.emit(partition, &[emit(cluster, Timestamp::from_micros(at), Some(payload.into()))]);
    }

    /// Archives until `rows` are in the table, and stops in order.
    pub fn archive(&self, rows: usize) {
        self.run(|| self.rows() >= rows).unwrap();
    }

    /// Archives changes of incidents.
    pub fn write_changes(&self, changes: &[IncidentChange]) {
        let encode = |change: &IncidentChange| {
            let payload = Some(self.context.codec.encode(change).unwrap().into());
            Emit { topic: INCIDENT_CHANGES.name, ..emit(&format!("{}/x", change.incident.cluster), change.at, payload) }
        };
        self.emit(0, &changes.iter().map(encode).collect::<Vec<_>>());
        let first = self.directory.path().join("archive/incident_changes/_delta_log/00000000000000000001.json");
        self.run_of::<IncidentChange>(|| first.exists()).unwrap();
    }

    /// Archives until `done`, and stops in order.
    pub fn run(&self, done: impl Fn() -> bool) -> Result<(), ArchiveError> {
        self.run_of::<EnrichedEvent>(done)
    }

    fn run_of<T: Entry>(&self, done: impl Fn() -> bool) -> Result<(), ArchiveError> {
        let stop = Stop::new();
        let deadline = Instant::now() + LIMIT;
        std::thread::scope(|scope| {
            let running = scope.spawn(|| epicenter_archive::run::<T>(&self.context, &stop));
            let mut late = false;
            while !running.is_finished() && !late && !done() {
                late = Instant::now() > deadline;
                std::thread::sleep(Duration::from_millis(20));
            }
            let report = self.context.health.report();
            stop.request();
            let outcome = running.join().unwrap();
            assert!(!late, "{} rows, {report:?}, {outcome:?}", self.rows());
            outcome
        })
    }

    /// Through a store that works, whatever the archive's own does.
    pub fn table(&self) -> Table {
        let store = Store::over(Arc::new(LocalFileSystem::new()), self.url());
        self.runtime.block_on(Table::open::<EnrichedEvent>(&store)).unwrap()
    }

    pub fn url(&self) -> Url {
        Url::from_directory_path(self.directory.path().join("archive")).unwrap()
    }

    /// What the table answers, a text for each value.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let url = self.url().join("events/").unwrap();
        self.runtime.block_on(async {
            let table = deltalake::open_table(url).await.unwrap();
            let session = SessionContext::new();
            session.register_table("events", table.table_provider().await.unwrap()).unwrap();
            let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
            let rows = batches.iter().flat_map(|batch| {
                (0..batch.num_rows()).map(move |row| {
                    let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                    values.collect::<Vec<_>>()
                })
            });
            rows.collect()
        })
    }

    pub fn rows(&self) -> usize {
        if !self.directory.path().join("archive/events/_delta_log/00000000000000000000.json").exists() {
            return 0;
        }
        self.query("SELECT count(*) FROM events")[0][0].parse().unwrap()
    }

    /// How often each record of the log is in the table.
    pub fn times(&self) -> BTreeMap<(u32, i64), usize> {
        let mut times = BTreeMap::new();
        for row in self.query("SELECT partition, \"offset\" FROM events") {
            *times.entry((row[0].parse().unwrap(), row[1].parse().unwrap())).or_insert(0) += 1;
        }
        times
    }
}

/// What a test's choices follow from: `EPICENTER_SEED` repeats them. Prints it.
pub fn seed() -> u64 {
    let seed = std::env::var("EPICENTER_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    println!("EPICENTER_SEED={seed}");
    seed
}

pub fn open_log(directory: &Path) -> Bus {
    let retention = Duration::from_secs(30 * 86_400);
    Bus::local(LocalConfig { directory: directory.join("log"), partitions: PARTITIONS, retention }).unwrap()
}

pub fn emit(key: &str, at: Timestamp, payload: Option<bytes::Bytes>) -> Emit {
    let key = key.to_owned().into();
    Emit { topic: EVENTS_ENRICHED.name, timestamp: at.as_millis(), key, payload, headers: vec![] }
}
