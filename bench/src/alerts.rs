//! From the API server's answer to a writer to a webhook that is told of the incident: every service a process of its own, on a
//! real broker and a real API server.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use epicenter_bus::{Bus, KafkaConfig, Start, topics};
use epicenter_model::{Codec, IncidentChange, partition_of};
use epicenter_tests::hook::Hook;
use epicenter_tests::kafka::Kafka;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, binary};
use serde_json::Value;

use crate::latency::{CLUSTER, Load, PARTITIONS, STARTED_IN, TIMED, write};
use crate::report::{Report, thousands};

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Events per second; one in fifty begins an incident, and is timed
    #[arg(long, default_value_t = Asked::default().rate, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// For so many seconds, after a warm-up
    #[arg(long, default_value_t = Asked::default().seconds, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

impl Default for Asked {
    fn default() -> Self {
        // Two incidents a second: more than anybody wants to be told of.
        Self { rate: 100, seconds: 60 }
    }
}

/// Measures, and adds the table. It needs the program `epicenter`, built as this one is.
pub fn measure(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    let time = Duration::from_secs(asked.seconds);
    let directory = tempfile::tempdir()?;
    let kafka = Kafka::start()?;
    let plane = ControlPlane::start(Options::default())?;
    let mut hook = Hook::new()?;
    hook.start()?;
    let file = directory.path().join("alerts.yaml");
    let receivers = format!("[{{name: hook, per_minute: 6000, webhook: {{url: '{}'}}}}]", hook.url());
    let rules = "[{name: all, severity: info, receivers: [hook], group_wait: 0s}]";
    std::fs::write(&file, format!("receivers: {receivers}\nrules: {rules}\n"))?;
    let command = |arguments: &[&str]| -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
        command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string()).env("EPICENTER_ALERTS__FILE", &file);
        command.env("EPICENTER_EXPORTER__CLUSTER", CLUSTER).env("EPICENTER_CLUSTER__KUBECONFIG", plane.kubeconfig());
        Ok(command)
    };
    let created = command(&["topics", "create"])?.output()?;
    ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let services: [&[&str]; 4] = [&["exporter"], &["enricher"], &["correlator"], &["alerts", "run"]];
    let mut running = Vec::new();
    for arguments in services {
        let log = directory.path().join(format!("{}.log", arguments[0]));
        running.push(Process::spawn(arguments[0], &mut command(arguments)?, &log)?);
    }
    let watches = |line: &str| line.contains("\"is well\"") && line.contains("bench/events");
    running[0].until(STARTED_IN, |log| log.lines().any(watches))?;
    for service in &mut running[1..3] {
        service.until(STARTED_IN, |log| log.matches("took partition over").count() == PARTITIONS as usize)?;
    }
    running[3].until(STARTED_IN, |log| {
        log.lines().any(|line| line.contains("\"is well\"") && line.contains("alerts/hook"))
    })?;

    let bus = Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(kafka.bootstrap()) })?;
    let over = AtomicBool::new(false);
    let (load, incidents) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| incidents(&bus, &over));
        let load = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
        let load = load.and_then(|runtime| runtime.block_on(write(&plane, asked.rate, time)));
        // The last ones are still on their way.
        std::thread::sleep(Duration::from_secs(5));
        over.store(true, Ordering::Relaxed);
        let incidents = reader.join().expect("a reader does not panic")?;
        anyhow::Ok((load?, incidents))
    })?;
    for service in &mut running {
        ensure!(service.ended()?.is_none(), "{}", service.tail());
    }
    report.section("Alerts", &table(&load, &incidents, &told(&hook)?, asked, time)?);
    Ok(())
}

/// The incident that each Event is in, by its uid.
fn incidents(bus: &Bus, over: &AtomicBool) -> anyhow::Result<HashMap<String, String>> {
    let codec = Codec::single_object();
    let mut reader =
        bus.reader(topics::INCIDENT_CHANGES.name, &[partition_of(CLUSTER, PARTITIONS)], Start::Earliest)?;
    let mut found = HashMap::new();
    while !over.load(Ordering::Relaxed) {
        let Some(record) = reader.next(Duration::from_millis(100))? else { continue };
        let change: IncidentChange = codec.decode(record.payload.as_deref().unwrap_or_default())?;
        let id = change.incident.id;
        found.extend(change.incident.members.into_iter().map(|member| (member.event_uid, id.clone())));
    }
    Ok(found)
}

/// When the webhook was told first of each incident.
fn told(hook: &Hook) -> anyhow::Result<HashMap<String, Instant>> {
    let mut first = HashMap::new();
    for told in hook.told() {
        let event: Value = serde_json::from_slice(&told.body)?;
        let incident = event["subject"].as_str().context("a notice without an incident")?;
        first.entry(incident.to_owned()).or_insert(told.at);
    }
    Ok(first)
}

fn table(
    load: &Load,
    incidents: &HashMap<String, String>,
    told: &HashMap<String, Instant>,
    asked: &Asked,
    time: Duration,
) -> anyhow::Result<String> {
    let mut figures: Vec<f64> = load
        .answered
        .iter()
        .map(|(uid, answered)| {
            let at = told.get(incidents.get(uid)?)?;
            // The webhook may be told before the writer is told that its Event is taken.
            Some(at.saturating_duration_since(*answered).as_secs_f64() * 1e3)
        })
        .collect::<Option<_>>()
        .context("not of every incident somebody was told: the services fell behind")?;
    ensure!(!figures.is_empty(), "no Event was timed: write more of them, or for longer");
    figures.sort_by(f64::total_cmp);
    let at = |part: f64| figures[((figures.len() - 1) as f64 * part).round() as usize];
    Ok(format!(
        "A real API server and a real broker on the same machine; exporter, enricher, correlator and alerts as processes, a rule \
         without a group wait, and a webhook. {} Events/s were asked for and {} were reached, for {} s; one in {TIMED} begins an \
         incident, and {} of those were timed from the API server's answer to the writer to the request at the webhook, \
         ms.\n\n| | p50 | p95 | p99 | longest |\n|---|---|---|---|---|\n| answer → webhook | {:.0} | {:.0} | {:.0} | {:.0} |",
        thousands(asked.rate as f64),
        thousands(load.rate),
        time.as_secs(),
        figures.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    ))
}
