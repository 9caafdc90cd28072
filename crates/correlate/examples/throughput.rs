//! Measures the engine in memory: a mix of storms, with duplicates, over many workloads. Prints Events per second, and how
//! that depends on the number of open incidents.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::time::Instant;

use epicenter_correlate::{ClusterState, Effects, Rules, apply};
use epicenter_model::EnrichedRecord;

/// One round of Events about `workloads` workloads.
fn round(workloads: usize, number: usize) -> String {
    let mut text = String::new();
    let time = number as f64 * 10.0;
    for w in 0..workloads {
        let pod = format!("Pod/ns{}/app{w}-7d9f6c5b8d-x2x9k", w % 50);
        let owners =
            format!("owners=ReplicaSet/ns{0}/app{w}-7d9f6c5b8d,Deployment/ns{0}/app{w} node=n{1}", w % 50, w % 100);
        text += &match w % 10 {
            0..3 => format!("{time} crash.back_off {pod} {owners} uid=crash{w} count={number}\n"),
            3 => format!("{time} image.pull.not_found {pod} {owners} uid=pull{w} text=Registry/r{w}.io\n"),
            4 => format!("{time} probe.readiness {pod} {owners} uid=ready{w}-{number}\n"),
            5 => format!(
                "{time} config.secret_missing {pod} {owners} uid=secret{w}-{number} text=Secret/ns{}/s{w}\n",
                w % 50
            ),
            _ => format!("{time} container.created {pod} {owners} uid=created{w}-{number}\n"),
        };
    }
    text
}

fn measure(rules: &Rules, workloads: usize, events: usize) {
    let rounds = (events / workloads).max(2);
    let text: String = (1..=rounds).map(|number| round(workloads, number)).collect();
    let records: Vec<EnrichedRecord> = fixture::records(&text);
    let mut state = ClusterState::new("test");
    let (mut changes, mut puts, mut bytes) = (0, 0, 0);
    let started = Instant::now();
    for record in &records {
        let mut effects = Effects::default();
        apply(rules, &mut state, record, &mut effects);
        changes += effects.changes.len();
        puts += effects.puts.len();
        bytes += effects.puts.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len)).sum::<usize>();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{:>8} events/s with {:>5} open incidents ({} events, {changes} changes, {:.1} entries and {} bytes an event)",
        (records.len() as f64 / seconds) as u64,
        state.open(),
        records.len(),
        puts as f64 / records.len() as f64,
        bytes / records.len(),
    );
}

fn main() {
    let rules = fixture::rules();
    for workloads in [20, 200, 2_000, 20_000] {
        measure(&rules, workloads, 200_000);
    }
}
