//! From the API server's answer to a writer to a webhook that is told of the incident: every service a process of its own, on a
//! real broker and a real API server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use epicenter_bus::{Bus, Start, topics};
use epicenter_model::{Codec, IncidentChange, partition_of};
use epicenter_tests::hook::Hook;
use serde_json::Value;

use crate::installation::{CLUSTER, Installation, PARTITIONS};
use crate::latency::{Load, TIMED, write};
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
    let mut hook = Hook::new()?;
    hook.start()?;
    let file = directory.path().join("alerts.yaml");
    let receivers = format!("[{{name: hook, per_minute: 6000, webhook: {{url: '{}'}}}}]", hook.url());
    let rules = "[{name: all, severity: info, receivers: [hook], group_wait: 0s}]";
    std::fs::write(&file, format!("receivers: {receivers}\nrules: {rules}\n"))?;
    let file = file.display().to_string();
    let processors: [&[&str]; 2] = [&["enricher"], &["correlator"]];
    let more = [("EPICENTER_ALERTS__FILE", file.as_str())];
    let mut installation = Installation::start(&processors, &[&["alerts", "run"]], &more)?;
    installation.until_well(3, "alerts/hook")?;
    let (bus, plane) = (installation.bus()?, &installation.plane);
    let over = AtomicBool::new(false);
    let (load, incidents) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| incidents(&bus, &over));
        let load = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
        let load = load.and_then(|runtime| runtime.block_on(write(plane, asked.rate, time)));
        // The last ones are still on their way.
        std::thread::sleep(Duration::from_secs(5));
        over.store(true, Ordering::Relaxed);
        let incidents = reader.join().expect("a reader does not panic")?;
        anyhow::Ok((load?, incidents))
    })?;
    installation.check()?;
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
        let members = change.incident.members.into_iter().filter(|member| !member.is_moved());
        found.extend(members.map(|member| (member.event_uid, id.clone())));
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
    let took = |(uid, answered): (&String, &Instant)| {
        let incident = incidents.get(uid).with_context(|| format!("the Event {uid} came to no incident"))?;
        let at =
            told.get(incident).with_context(|| format!("nobody was told of {incident}: the services fell behind"))?;
        // The webhook may be told before the writer is told that its Event is taken.
        anyhow::Ok(at.saturating_duration_since(*answered).as_secs_f64() * 1e3)
    };
    let mut figures: Vec<f64> = load.answered.iter().map(took).collect::<Result<_, _>>()?;
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
