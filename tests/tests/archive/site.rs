//! A broker, the archive as a process, and another engine that counts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Emit, KafkaConfig, topics};
use epicenter_model::{
    Category, Codec, EnrichedEvent, EnrichedRecord, Event, Incident, ObjectRef, RawRecord, Severity, Timestamp,
    partition_of,
};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::{self, Process, binary};
use epicenter_tests::{ports, python};
use serde_json::Value;

pub const LIMIT: Duration = Duration::from_secs(120);
/// Without a new row for that long the archive stands still: what hangs in a store it gives up after 150 s, and tries again.
const STANDS_STILL: Duration = Duration::from_secs(200);
const PARTITIONS: u32 = 3;
pub const CLUSTERS: [&str; 2] = ["a", "b"];

/// A broker, and an archive of its topics in a directory.
pub struct Site {
    pub kafka: Kafka,
    bus: Bus,
    pub directory: tempfile::TempDir,
    pub python: PathBuf,
    admin: u16,
    /// Where the archive is, and how to reach it.
    place: Vec<(&'static str, String)>,
}

impl Site {
    /// The archive is in a directory.
    pub fn new() -> Self {
        let mut site = Self::at(Vec::new());
        let directory = site.directory.path().join("archive");
        site.place.push(("EPICENTER_ARCHIVE__LOCATION", directory.display().to_string()));
        site
    }

    pub fn at(place: Vec<(&'static str, String)>) -> Self {
        let (kafka, bus) = log();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/archive");
        let python = python::environment("python-archive", &example.join("requirements.txt")).unwrap();
        let [admin] = ports::free::<1>().unwrap();
        Self { kafka, bus, directory: tempfile::tempdir().unwrap(), python, admin, place }
    }

    /// Another broker, whose topics are new.
    pub fn renew_log(&mut self) {
        (self.kafka, self.bus) = log();
    }

    /// The port where the archive answers.
    pub fn admin(&self) -> u16 {
        self.admin
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().unwrap());
        command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", self.kafka.bootstrap());
        command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string());
        command.env("EPICENTER_ADMIN__LISTEN", format!("127.0.0.1:{}", self.admin));
        command.envs(self.place.iter().map(|(name, value)| (name, value)));
        command.env("EPICENTER_ARCHIVE__BATCH__ROWS", "1500").env("EPICENTER_ARCHIVE__BATCH__SECONDS", "1");
        // That is a test of its own.
        command.env("EPICENTER_ARCHIVE__MAINTAIN_EVERY_HOURS", "0");
        command
    }

    /// Starts the archive, with `settings` in its environment.
    pub fn start(&self, settings: &[(&str, &str)]) -> Process {
        let mut command = self.command(&["archive", "run"]);
        command.envs(settings.iter().copied());
        Process::spawn("archive", &mut command, &self.directory.path().join("archive.log")).unwrap()
    }

    /// Starts a service that the archive stands beside, with `settings` in its environment.
    pub fn service(&self, arguments: &[&str], settings: &[(&str, String)]) -> Process {
        let mut command = self.command(arguments);
        command.env("EPICENTER_ADMIN__LISTEN", "127.0.0.1:0").envs(settings.iter().cloned());
        let log = self.directory.path().join(format!("{}.log", arguments[0]));
        Process::spawn(arguments[0], &mut command, &log).unwrap()
    }

    /// Writes what an exporter would have written.
    pub fn write_raw(&self, cluster: &str, records: &[RawRecord]) {
        let (mut source, _) =
            self.bus.source(&format!("exporter.{cluster}"), partition(cluster), b"exporter/").unwrap();
        for records in records.chunks(2_000) {
            let emit = |record: &RawRecord| Emit {
                topic: topics::EVENTS_RAW.name,
                timestamp: record.at().as_millis(),
                key: record.key().into(),
                payload: Some(record.encode(&Codec::single_object()).unwrap().into()),
                headers: vec![],
            };
            source.commit(&records.iter().map(emit).collect::<Vec<_>>(), &[]).unwrap();
        }
    }

    /// The incidents that the sink has published.
    pub fn incidents(&self) -> Vec<Incident> {
        let table = self.bus.table(topics::INCIDENTS.name).unwrap();
        table.values().map(|row| Codec::single_object().decode(row).unwrap()).collect()
    }

    pub fn write(&self, topic: &'static str, cluster: &str, records: Vec<(Timestamp, Vec<u8>)>) {
        let (mut source, _) = self.bus.source(&format!("writer.{cluster}"), partition(cluster), b"writer/").unwrap();
        let emit = |(at, payload): (Timestamp, Vec<u8>)| Emit {
            topic,
            timestamp: at.as_millis(),
            key: format!("{cluster}/shop").into(),
            payload: Some(payload.into()),
            headers: vec![],
        };
        source.commit(&records.into_iter().map(emit).collect::<Vec<_>>(), &[]).unwrap();
    }

    pub fn write_events(&self, cluster: &str, numbers: std::ops::Range<i64>) {
        let encode = |n: i64| {
            let event = event(cluster, n);
            (event.at, EnrichedRecord::Event(Box::new(event)).encode(&Codec::single_object()).unwrap())
        };
        self.write(topics::EVENTS_ENRICHED.name, cluster, numbers.map(encode).collect());
    }

    pub fn shows(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What DuckDB answers about a table; `None` as long as there is none.
    pub fn ask(&self, table: &str, query: &str) -> Option<Value> {
        let table = self.directory.path().join("archive").join(table);
        if !table.join("_delta_log").join("00000000000000000001.json").exists() {
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/archive/archive.py");
        let printed = process::output(Command::new(&self.python).arg(script).arg(table).arg(query), LIMIT).unwrap();
        Some(serde_json::from_str(&printed).unwrap())
    }

    /// Waits until the table has so many rows, as long as there come more: on a machine that has no time for it, the archive is slow
    /// and not wrong.
    #[track_caller]
    pub fn until(&self, table: &str, rows: i64, archive: &mut Process) {
        let (mut before, mut deadline) = (None, Instant::now() + STANDS_STILL);
        loop {
            let found =
                self.ask(table, "SELECT count(*) AS rows FROM archive").and_then(|found| found[0]["rows"].as_i64());
            if found == Some(rows) {
                return;
            }
            if found > before {
                (before, deadline) = (found, Instant::now() + STANDS_STILL);
            }
            let goes_on = archive.ended().unwrap().is_none() && Instant::now() < deadline && found < Some(rows);
            assert!(goes_on, "{table}: {found:?} rows and not {rows}\n{}\n{}", self.found(table), archive.tail());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// What is in a table, and what is in its topic, by partition: for whoever looks for what is missing.
    fn found(&self, table: &str) -> String {
        let query = "SELECT partition, count(*) AS rows, count(DISTINCT \"offset\") AS places, min(\"offset\") AS first, \
                     max(\"offset\") AS last, count(DISTINCT filename) AS files FROM archive GROUP BY 1 ORDER BY 1";
        let topic = if table == "events" { topics::EVENTS_ENRICHED.name } else { topics::INCIDENT_CHANGES.name };
        let bounds = (0..PARTITIONS).map(|partition| self.bus.bounds(topic, partition).unwrap());
        format!("in the table: {:?}\nin the log: {:?}", self.ask(table, query), bounds.collect::<Vec<_>>())
    }
}

fn log() -> (Kafka, Bus) {
    let kafka = Kafka::start().unwrap();
    let bus = Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(kafka.bootstrap()) }).unwrap();
    bus.create_topics().unwrap();
    (kafka, bus)
}

pub fn partition(cluster: &str) -> u32 {
    partition_of(cluster, PARTITIONS)
}

pub fn event(cluster: &str, n: i64) -> EnrichedEvent {
    EnrichedEvent {
        cluster: cluster.to_owned(),
        // From 2026-05-28 on, some days.
        at: Timestamp::from_millis(1_779_926_400_000 + n * 30_000),
        occurrences: 1 + n % 4,
        category: Category::ALL[usize::try_from(n).unwrap() % Category::ALL.len()],
        severity: Severity::ALL[usize::try_from(n).unwrap() % Severity::ALL.len()],
        event: Event {
            uid: format!("{cluster}-{n}"),
            regarding: ObjectRef::named("Pod", "shop", &format!("web-{}", n % 97)),
            reason: "Unhealthy".to_owned(),
            note: format!("Readiness probe failed: HTTP probe failed with statuscode: 503, {n}"),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }
}
