//! What the services hold in memory, at sizes that few clusters reach; and that a list and a storm of them are taken whole.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use epicenter_bus::{Bus, Driver, KafkaConfig, Record};
use epicenter_enricher::{Enricher, spec};
use epicenter_exporter::project::{Kind, object_of};
use epicenter_model::{Codec, ObjectChange, RawRecord, Timestamp};
use epicenter_rules::RuleSet;
use epicenter_tests::generated::{Generated, Taken, pod};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::{Process, binary, memory, program};
use tempfile::TempDir;

use crate::report::{Report, thousands};

/// Without another Event in the log for so long it has failed.
const STALL: Duration = Duration::from_secs(60);
/// What is let go by then is not kept.
const SETTLED: Duration = Duration::from_secs(10);
const BEGAN: i64 = 1_795_435_684_036;

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Events that an exporter lists
    #[arg(long, default_value_t = Asked::default().listed)]
    listed: u64,
    /// Events that another one lists
    #[arg(long, default_value_t = Asked::default().many)]
    many: u64,
    /// Events per second of a storm after that
    #[arg(long, default_value_t = Asked::default().rate, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Seconds of the storm
    #[arg(long, default_value_t = Asked::default().seconds)]
    seconds: u64,
    /// Pods in the enricher's facts
    #[arg(long, default_value_t = Asked::default().pods)]
    pods: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self { listed: 200_000, many: 1_000_000, rate: 5_000, seconds: 120, pods: 100_000 }
    }
}

/// Measures, and adds the table. It needs the programs of the package `epicenter`, built as this one is.
pub fn measure(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    // First, while this process has let nothing go that it would take again.
    let facts = facts(asked.pods)?;
    let site = Site::new()?;
    let alone = |name, events| site.course(name, &mut site.exporter(name, events)?, events);
    let mut rows = vec![row("of an empty cluster", 0, &alone("idle", 0)?)];
    rows.push(row("lists", asked.listed, &alone("first", asked.listed)?));
    let mut listing = site.exporter("second", asked.many)?;
    rows.push(row("lists", asked.many, &site.course("second", &mut listing, asked.many)?));
    let storm = asked.rate * asked.seconds;
    listing.cluster.storm(asked.rate, storm);
    let course = site.course("second", &mut listing, asked.many + storm)?;
    rows.push(row(&format!("then {} a second for {} s", thousands(asked.rate as f64), asked.seconds), storm, &course));
    let body = format!(
        "An exporter of a made-up API server on a real broker, each a process of its own; and the facts of pods of \
         Deployments of ten, in an enricher's state. Resident memory, MiB. The log was held against what was served: every \
         Event once, in order.\n\n| exporter | Events | MiB at most | {} s later |\n|---|---|---|---|{}\n\n| enricher | \
         | MiB more |\n|---|---|---|\n| facts of pods | {} | {} |",
        SETTLED.as_secs(),
        rows.concat(),
        thousands(asked.pods as f64),
        mib(facts),
    );
    report.section("Memory", &body);
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0 / 1024.0)
}

fn row(what: &str, events: u64, (most, after): &(u64, u64)) -> String {
    format!("\n| {what} | {} | {} | {} |", thousands(events as f64), mib(*most), mib(*after))
}

/// A broker.
struct Site {
    kafka: Kafka,
    bus: Bus,
    directory: TempDir,
}

/// An exporter, and what it reads.
struct Exporter {
    cluster: Generated,
    process: Process,
}

impl Site {
    fn new() -> anyhow::Result<Self> {
        let kafka = Kafka::start()?;
        let bus = Bus::kafka(KafkaConfig { partitions: 1, ..KafkaConfig::new(kafka.bootstrap()) })?;
        let site = Self { kafka, bus, directory: tempfile::tempdir()? };
        let created = site.command()?.args(["topics", "create"]).output()?;
        anyhow::ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        Ok(site)
    }

    fn command(&self) -> anyhow::Result<Command> {
        Ok(self.on_log(binary()?))
    }

    fn on_log(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env("EPICENTER_BUS__KAFKA__BOOTSTRAP", self.kafka.bootstrap());
        command.env("EPICENTER_BUS__KAFKA__PARTITIONS", "1");
        command
    }

    /// An exporter of a new cluster with so many Events.
    fn exporter(&self, name: &str, events: u64) -> anyhow::Result<Exporter> {
        let cluster = Generated::start(events, 0)?;
        let path = |end: &str| self.directory.path().join(format!("{name}.{end}"));
        std::fs::write(path("kubeconfig"), cluster.kubeconfig())?;
        let mut command = self.on_log(program("epicenter-exporter")?);
        command.env("EPICENTER_EXPORTER__CLUSTER", name);
        // As the chart has it; and librdkafka allocates from one heap in the static image, as here then.
        command.env("MIMALLOC_PURGE_DELAY", "0").env("MALLOC_ARENA_MAX", "1");
        command.env("EPICENTER_CLUSTER__KUBECONFIG", path("kubeconfig"));
        Ok(Exporter { cluster, process: Process::spawn("exporter", &mut command, &path("log"))? })
    }

    /// Waits until the log has exactly so many Events of the cluster; gives the exporter's memory at most, and a while later.
    fn course(&self, name: &str, exporter: &mut Exporter, events: u64) -> anyhow::Result<(u64, u64)> {
        let watched = format!("\"{name}/events\"");
        let watches = |line: &str| line.contains("\"is well\"") && line.contains(&watched);
        exporter.process.until(STALL * 20, |log| log.lines().any(watches))?;
        Taken::new(&self.bus, name)?.until(events, STALL)?;
        let most = exporter.process.peak_memory()?;
        std::thread::sleep(SETTLED);
        Ok((most, exporter.process.memory()?))
    }
}

/// Bytes that an enricher takes for the facts of so many pods.
fn facts(pods: u64) -> anyhow::Result<u64> {
    let (spec, codec) = (spec(), Codec::single_object());
    let mut driver = Driver::new(&spec, Enricher::new(codec.clone(), RuleSet::builtin().classifier));
    let mut feed = |n: u64| {
        let at = Timestamp::from_millis(BEGAN + n as i64);
        let facts = object_of(Kind::Pod, pod(n).as_bytes())?;
        let (cluster, cluster_uid) = ("bench".to_owned(), "uid".to_owned());
        let change = ObjectChange { cluster, cluster_uid, at, facts, deleted: false, listed: true };
        let raw = RawRecord::Object(Box::new(change));
        let record = Record {
            topic: "events.raw",
            offset: n as i64,
            timestamp: at.as_millis(),
            key: raw.key().into(),
            payload: Some(raw.encode(&codec)?.into()),
            ..Record::default()
        };
        driver.feed(&record)?;
        anyhow::Ok(())
    };
    // What every enricher needs, however few the pods.
    (0..1000).try_for_each(&mut feed)?;
    let before = memory(std::process::id())?;
    (1000..1000 + pods).try_for_each(&mut feed)?;
    let after = memory(std::process::id())?;
    anyhow::ensure!(driver.state().len(epicenter_bus::StoreId(0)) as u64 == 1000 + pods);
    Ok(after.saturating_sub(before))
}
