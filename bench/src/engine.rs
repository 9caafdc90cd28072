//! The engine in memory, on one core: Events with their meaning in, changes of incidents and entries of its state out.

use std::time::Instant;

use epicenter_catalog::Catalog;
use epicenter_correlate::{ClassInfo, ClusterState, Effects, Rules, apply};
use epicenter_model::{Context, EnrichedEvent, EnrichedRecord, Event, ObjectRef, Timestamp};
use epicenter_rules::RuleSet;
use epicenter_scenarios::{Change, Era, Perturbation, Plan, Scenario, Topology};

use crate::enriched;
use crate::report::{Report, median, thousands};

const CLUSTERS: u64 = 10;
const ROUNDS: usize = 5;
/// Open incidents in the curve, and Events in each of its measurements.
const OPEN: [usize; 4] = [10, 100, 1_000, 10_000];
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
        changes = storm.iter().map(|(cluster, record)| take(&rules, &mut states[*cluster as usize], record)).sum();
        rates.push(events as f64 / began.elapsed().as_secs_f64());
        println!("round {round}: {}/s", thousands(rates[round]));
    }
    let mut body = format!(
        "{events} Events of {CLUSTERS} clusters, with {} faults at once in each and 30 % of the writes twice; {changes} changes of \
         incidents; medians of {ROUNDS} rounds. Then {EVENTS} Events of failing pods, a workload each, over and over.\n\n| | \
         events/s on one core |\n|---|---|\n| storm | {} |\n",
        Scenario::ALL.len(),
        thousands(median(rates))
    );
    for open in OPEN {
        let rates = (0..ROUNDS).map(|_| failing(&rules, open)).collect::<anyhow::Result<Vec<_>>>()?;
        println!("{open} open: {}/s", thousands(median(rates.clone())));
        body += &format!("| {} open incidents | {} |\n", thousands(open as f64), thousands(median(rates)));
    }
    report.section("Engine", body.trim_end());
    Ok(())
}

/// Gives how many changes the record made.
fn take(rules: &Rules, state: &mut ClusterState, record: &EnrichedRecord) -> usize {
    let mut effects = Effects::default();
    apply(rules, state, record, &mut effects);
    effects.changes.len()
}

/// All faults within ten minutes, beside rollouts.
fn storm(cluster: u64) -> anyhow::Result<Vec<(u64, EnrichedRecord)>> {
    let faults =
        Scenario::ALL.into_iter().enumerate().map(|(n, scenario)| (300.0 + 30.0 * n as f64, scenario)).collect();
    let recording = epicenter_scenarios::play(&Plan {
        seed: 1_700_000 + cluster,
        topology: Topology { nodes: 30..60, workloads: 150..300, names: 1 },
        era: Era::New,
        objects: false,
        watch: true,
        faults,
        changes: (0..30).map(|n| (200.0 + 25.0 * f64::from(n), Change::RollingUpdate)).collect(),
        perturbation: Perturbation { duplicates: 0.3, reorder_s: 10.0, ..Perturbation::default() },
    });
    Ok(enriched::of(&recording)?.into_iter().map(|record| (cluster, record)).collect())
}

/// Events per second while as many workloads fail as there are to be open incidents.
fn failing(rules: &Rules, open: usize) -> anyhow::Result<f64> {
    let classes = epicenter_rules::classes(Catalog::builtin());
    let info = |class: &str| classes.get(class).cloned().ok_or_else(|| anyhow::anyhow!("there is no class {class}"));
    let infos = [info("crash.back_off")?, info("config.secret_missing")?];
    let mut state = ClusterState::new("bench");
    // All have failed once before the clock runs.
    for workload in 0..open {
        take(rules, &mut state, &failure(&infos, workload, 0));
    }
    let records: Vec<_> = (0..EVENTS).map(|n| failure(&infos, n % open, 1 + (n / open) as i64)).collect();
    let began = Instant::now();
    let _: usize = records.iter().map(|record| take(rules, &mut state, record)).sum();
    let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
    anyhow::ensure!(state.open() == open, "{} incidents are open, not {open}", state.open());
    Ok(rate)
}

fn failure(infos: &[ClassInfo], workload: usize, round: i64) -> EnrichedRecord {
    let info = &infos[workload % infos.len()];
    let namespace = format!("ns{}", workload % 50);
    let named = |kind: &str, name: String| ObjectRef {
        uid: format!("{kind}-{workload}"),
        ..ObjectRef::named(kind, &namespace, &name)
    };
    let at = BEGAN.plus_millis(round * 10_000);
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
            count: Some(round + 1),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }))
}
