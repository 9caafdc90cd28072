//! The engine in memory, on one core: Events with their meaning in, changes of incidents and entries of its state out.

use std::fs;
use std::time::Instant;

use epicenter_catalog::Catalog;
use epicenter_correlate::{ClassInfo, ClusterState, Effects, Rules, apply};
use epicenter_model::{Context, EnrichedEvent, EnrichedRecord, Event, ObjectRef, Timestamp};
use epicenter_rules::RuleSet;
use epicenter_scenarios::{Change, Era, Perturbation, Plan, Scenario, Topology};

use crate::enriched;
use crate::report::{Report, median, thousands};

const CLUSTERS: u64 = 10;
/// How often each kind of fault happens in a cluster, within ten minutes.
const FAULTS: usize = 8;
/// The state is written after so many records, as in a batch of the kernel.
const WRITE: usize = 10_000;
/// Objects of the flood, each of which fails.
const FLOOD: usize = 1_000_000;
const ROUNDS: usize = 5;
/// Open incidents in the curve, and Events in each of its measurements.
const OPEN: [usize; 4] = [10, 100, 1_000, 10_000];
/// Of those, in the first half of it, fail.
const FEW: usize = 10;
/// Log time in which all Events of a measurement come, ms: an incident of which nothing more is heard does not end in it.
const SPAN: i64 = 100_000;
const EVENTS: usize = 100_000;
const BEGAN: Timestamp = Timestamp::from_millis(1_795_435_684_036);

/// Measures, and adds the table.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    let rules = RuleSet::builtin().causal;
    let mut storm = Vec::new();
    for cluster in 0..CLUSTERS {
        storm.extend(self::storm(cluster)?);
    }
    storm.sort_by_key(|(_, record)| record.at());
    let events = storm.iter().filter(|(_, record)| matches!(record, EnrichedRecord::Event(_))).count();
    let (mut rates, mut changes) = (vec![], 0);
    for round in 0..ROUNDS {
        let mut states: Vec<_> = (0..CLUSTERS).map(|_| ClusterState::new("bench")).collect();
        let began = Instant::now();
        changes = 0;
        for batch in storm.chunks(WRITE) {
            changes += batch.iter().map(|(c, record)| take(&rules, &mut states[*c as usize], record)).sum::<usize>();
            states.iter_mut().for_each(write);
        }
        rates.push(events as f64 / began.elapsed().as_secs_f64());
        println!("round {round}: {}/s", thousands(rates[round]));
    }
    let ends = storm.first().zip(storm.last());
    let minutes = ends.map_or(0, |((_, first), (_, last))| last.at().millis_since(first.at())) as f64 / 60_000.0;
    let mut body = format!(
        "{events} Events of {CLUSTERS} clusters, {} a minute, with {} faults within ten minutes in each and 30 % of the writes twice; \
         {changes} changes of incidents; medians of {ROUNDS} rounds: **{}** Events/s on one core. What changed in the state is written after \
         each {} records.\n\n{EVENTS} Events of failing pods while so many workloads have an open incident, Events/s on one core: of {FEW} \
         of them over and over, so that what is changed and written is the same for all; and of all of them in turn.\n\n\
         | open incidents | {FEW} fail | all fail |\n|---|---|---|\n",
        thousands(events as f64 / minutes),
        Scenario::ALL.len() * FAULTS,
        thousands(median(rates)),
        thousands(WRITE as f64)
    );
    for open in OPEN {
        let rate = |fail| {
            let rates = (0..ROUNDS).map(|_| failing(&rules, open, fail)).collect::<anyhow::Result<Vec<_>>>()?;
            println!("{open} open, {fail} fail: {}/s", thousands(median(rates.clone())));
            anyhow::Ok(thousands(median(rates)))
        };
        body += &format!("| {} | {} | {} |\n", thousands(open as f64), rate(FEW)?, rate(open)?);
    }
    let flood = flood(&rules)?;
    report.section("Engine", &format!("{body}\n{flood}"));
    Ok(())
}

/// Writes what changed in the state to nowhere.
fn write(state: &mut ClusterState) {
    state.flush(|key, value| drop(std::hint::black_box((key, value))));
}

/// Gives how many changes the record made.
fn take(rules: &Rules, state: &mut ClusterState, record: &EnrichedRecord) -> usize {
    let mut effects = Effects::default();
    apply(rules, state, record, &mut effects);
    effects.changes.len()
}

/// All faults within ten minutes, beside rollouts.
fn storm(cluster: u64) -> anyhow::Result<Vec<(u64, EnrichedRecord)>> {
    let all = (0..FAULTS).flat_map(|_| Scenario::ALL).enumerate();
    let apart = 600.0 / (FAULTS * Scenario::ALL.len()) as f64;
    let faults = all.map(|(n, scenario)| (300.0 + apart * n as f64, scenario)).collect();
    let recording = epicenter_scenarios::play(&Plan {
        seed: 1_700_000 + cluster,
        topology: Topology { nodes: 200..300, workloads: 1_000..1_500, names: 1 },
        era: Era::New,
        objects: false,
        watch: true,
        faults,
        changes: (0..30).map(|n| (200.0 + 25.0 * f64::from(n), Change::RollingUpdate)).collect(),
        perturbation: Perturbation { duplicates: 0.3, reorder_s: 10.0, ..Perturbation::default() },
    });
    Ok(enriched::of(&recording)?.into_iter().map(|record| (cluster, record)).collect())
}

/// More objects than are remembered: each of a million pods fails once. Gives what is told of it.
fn flood(rules: &Rules) -> anyhow::Result<String> {
    let infos = infos()?;
    let mut state = ClusterState::new("bench");
    let (before, mut most, mut took) = (resident()?, 0, 0.0);
    for batch in 0..FLOOD / WRITE {
        let records: Vec<_> = (batch * WRITE..(batch + 1) * WRITE)
            .map(|pod| failure(&infos, pod, pod as i64 / 50_000 * 10_000))
            .collect();
        let began = Instant::now();
        records.iter().for_each(|record| _ = take(rules, &mut state, record));
        write(&mut state);
        took += began.elapsed().as_secs_f64();
        most = most.max(resident()?);
    }
    let dropped = state.dropped();
    Ok(format!(
        "{} pods of as many workloads fail within four minutes: {} Events/s on one core, {} MiB of memory at most, {} incidents open in \
         the end; {} objects, {} incidents and {} members did not fit, and are counted.",
        thousands(FLOOD as f64),
        thousands(FLOOD as f64 / took),
        most.saturating_sub(before) / 1024,
        thousands(state.open() as f64),
        thousands(dropped.objects as f64),
        thousands(dropped.incidents as f64),
        thousands(dropped.members as f64),
    ))
}

/// Memory of this process, KiB.
fn resident() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| anyhow::anyhow!("/proc/self/status has no VmRSS"))
}

fn infos() -> anyhow::Result<[ClassInfo; 2]> {
    let classes = epicenter_rules::classes(Catalog::builtin());
    let info = |class: &str| classes.get(class).cloned().ok_or_else(|| anyhow::anyhow!("there is no class {class}"));
    Ok([info("crash.back_off")?, info("config.secret_missing")?])
}

/// Events per second of the first `fail` workloads, in turn, while `open` of them have an open incident.
fn failing(rules: &Rules, open: usize, fail: usize) -> anyhow::Result<f64> {
    let infos = infos()?;
    let mut state = ClusterState::new("bench");
    // All have failed once before the clock runs.
    for workload in 0..open {
        take(rules, &mut state, &failure(&infos, workload, 0));
    }
    write(&mut state);
    let step = SPAN / (EVENTS / fail) as i64;
    let records: Vec<_> = (0..EVENTS).map(|n| failure(&infos, n % fail, (1 + n / fail) as i64 * step)).collect();
    let began = Instant::now();
    for batch in records.chunks(WRITE) {
        batch.iter().for_each(|record| _ = take(rules, &mut state, record));
        write(&mut state);
    }
    let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
    anyhow::ensure!(state.open() == open, "{} incidents are open, not {open}", state.open());
    Ok(rate)
}

/// A pod of that workload failed, `after` ms.
fn failure(infos: &[ClassInfo], workload: usize, after: i64) -> EnrichedRecord {
    let info = &infos[workload % infos.len()];
    let namespace = format!("ns{}", workload % 50);
    let named = |kind: &str, name: String| ObjectRef {
        uid: format!("{kind}-{workload}"),
        ..ObjectRef::named(kind, &namespace, &name)
    };
    let at = BEGAN.plus_millis(after);
    EnrichedRecord::Event(Box::new(EnrichedEvent {
        cluster: "bench".to_owned(),
        cluster_uid: "bench".to_owned(),
        at,
        occurred_at: at,
        occurrences: 1,
        class: info.class.clone(),
        category: info.category,
        severity: info.severity,
        role: info.role,
        context: Context {
            owners: vec![
                named("ReplicaSet", format!("app{workload}-7d9f6c5b8d")),
                named("Deployment", format!("app{workload}")),
            ],
            node: format!("n{}", workload % 100),
            ..Context::default()
        },
        event: Event {
            uid: format!("e{workload}"),
            namespace: namespace.clone(),
            name: format!("app{workload}.1"),
            reason: info.class.clone(),
            regarding: named("Pod", format!("app{workload}-7d9f6c5b8d-x2x9k")),
            count: Some(after + 1),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }))
}
