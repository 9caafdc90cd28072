//! The recording of a real cluster, taken through the services as it happened, and the console that shows it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use epicenter::engine::Engine;
use epicenter::replay::timeline::Timeline;
use epicenter::replay::{document, file};
use epicenter_bus::topics::{EVENTS_RAW, INCIDENTS};
use epicenter_bus::{Bus, Emit, LocalConfig, Source, Stop};
use epicenter_console::{Board, Console, ConsoleConfig};
use epicenter_intake::Intake;
use epicenter_model::{Codec, Incident, RawRecord, Timestamp, WatchPosition};
use epicenter_runtime::{ArchiveConfig, BatchSection, Health, Metrics, ServiceError, Shutdown, Supervisor};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const RECORDED: [&str; 5] = [
    "watch.jsonl.gz",
    "watch-pods.jsonl.gz",
    "watch-nodes.jsonl.gz",
    "watch-deployments.jsonl.gz",
    "watch-replicasets.jsonl.gz",
];

/// The services on a log, a source of what was recorded, and a console.
pub struct Scene {
    pub address: SocketAddr,
    pub bus: Bus,
    source: Source,
    /// What has not happened yet, in order.
    left: std::vec::IntoIter<RawRecord>,
    /// What time it is in the recording, µs since the epoch.
    now: Arc<AtomicI64>,
    stop: Stop,
    token: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    shutdown: Shutdown,
    archiving: Option<tokio::task::JoinHandle<Result<(), ServiceError>>>,
    runtime: Runtime,
    _directory: TempDir,
}

impl Scene {
    /// A scene in which nothing has happened yet. What happens is archived at once, where the archive is built in.
    pub fn start(config: &ConsoleConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = LocalConfig { directory: directory.path().join("log"), partitions: 1, retention: Duration::MAX };
        let bus = Bus::local(log).unwrap();
        let contents = RECORDED.map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/shop").join(name);
            document::parse(&path, &file::read(&path).unwrap()).unwrap()
        });
        let records: Vec<_> = Timeline::new("shop", contents.into()).records().collect();
        let (source, _) = bus.source("exporter.shop", 0, b"shop/").unwrap();
        let engine = Engine::builtin();
        let (stop, token, health) = (Stop::new(), CancellationToken::new(), Health::new());
        let mut threads = Vec::new();
        for run in [Engine::run_enricher, Engine::run_correlator, Engine::run_publisher] {
            let (engine, bus, stop) = (engine.clone(), bus.clone(), stop.clone());
            threads.push(std::thread::spawn(move || run(&engine, &bus, &Metrics::default(), &stop).unwrap()));
        }
        let archive =
            ArchiveConfig { batch: BatchSection { seconds: 1, ..BatchSection::default() }, ..ArchiveConfig::default() };
        let (place, shutdown, codec) = (directory.path().join("archive"), Shutdown::new(), Codec::single_object());
        let runtime = Runtime::new().unwrap();
        let supervisor = runtime.block_on(async {
            let mut supervisor = Supervisor::new(shutdown.clone());
            let metrics = Metrics::default();
            epicenter::archive::start(&mut supervisor, &archive, Some(&place), &bus, &codec, &health, &metrics)
                .unwrap();
            supervisor
        });
        let archiving = runtime.spawn(supervisor.run());
        let board = Board::new(Codec::single_object());
        for topic in epicenter_console::TOPICS {
            let (bus, board, health, stop) = (bus.clone(), board.clone(), health.clone(), stop.clone());
            let follow = move || epicenter_console::follow(&bus, topic, &board, &health, &stop).unwrap();
            threads.push(std::thread::spawn(follow));
        }
        let now = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&now);
        let console = Console {
            board,
            intake: Intake::new(bus.clone(), Codec::single_object()),
            past: epicenter::archive::past(&archive, Some(&place), &bus, &codec, &Metrics::default()).unwrap(),
            rules: Arc::clone(&engine.rules.causal),
            health,
            user: String::new(),
            clock: Arc::new(move || Timestamp::from_micros(clock.load(Ordering::Relaxed))),
        };
        let serve = runtime.block_on(epicenter_console::serve(config, &[], console, token.clone())).unwrap();
        let address = serve.address();
        runtime.spawn(serve.run());
        Self {
            address,
            bus,
            source,
            left: records.into_iter(),
            now,
            stop,
            token,
            threads,
            shutdown,
            archiving: Some(archiving),
            runtime,
            _directory: directory,
        }
    }

    /// Lets happen what was recorded until `at`.
    pub fn until(&mut self, at: &str) {
        let until: Timestamp = at.parse().unwrap();
        let codec = Codec::single_object();
        let mut emits = Vec::new();
        let mut position = None;
        while let Some(record) = self.left.as_slice().first().filter(|record| record.at() <= until) {
            let timestamp = record.at().as_millis();
            let payload = Some(record.encode(&codec).unwrap().into());
            emits.push(Emit {
                topic: EVENTS_RAW.name,
                timestamp,
                key: record.key().into(),
                payload,
                headers: Vec::new(),
            });
            position = Some(WatchPosition {
                cluster: "shop".into(),
                cluster_uid: "uid".into(),
                resource: "events".into(),
                at: record.at(),
                ..WatchPosition::default()
            });
            self.left.next();
        }
        let position = position.map(|position| (b"shop/events".to_vec(), codec.encode(&position).unwrap()));
        self.source.commit(&emits, position.as_slice()).unwrap();
        self.now.store(until.as_micros(), Ordering::Relaxed);
    }

    /// The incident is no longer in the public table, as after its time.
    pub fn forget(&mut self, incident: &Incident) {
        let key = format!("{}/{}", incident.cluster, incident.id).into_bytes().into();
        let gone = Emit { topic: INCIDENTS.name, timestamp: 0, key, payload: None, headers: Vec::new() };
        self.source.commit(&[gone], &[]).unwrap();
    }

    /// An address of the console.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.token.cancel();
        self.stop.request();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a service failed");
        }
        self.shutdown.request();
        if let Some(archiving) = self.archiving.take() {
            let ended = self.runtime.block_on(archiving);
            assert!(ended.is_ok_and(|ended| ended.is_ok()) || std::thread::panicking(), "the archive failed");
        }
    }
}
