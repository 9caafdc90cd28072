//! `epicenter demo`: a recording of a real cluster through the whole pipeline.

use std::process::ExitCode;

use epicenter_model::{Incident, IncidentState};

use super::print;
use super::replay::{recorded, through};
use crate::engine::Engine;
use crate::pipeline::Heed;
use crate::render::{self, Paint};
use crate::replay::timeline::Timeline;

macro_rules! shop {
    ($($file:literal),+) => {
        /// Watch streams of a two-node cluster with 19 faults in eleven minutes; see tests/recordings.
        const SHOP: &[(&str, &[u8])] =
            &[$(($file, include_bytes!(concat!("../../../../tests/recordings/shop/", $file)))),+];
    };
}

shop!(
    "watch.jsonl.gz",
    "watch-pods.jsonl.gz",
    "watch-nodes.jsonl.gz",
    "watch-deployments.jsonl.gz",
    "watch-replicasets.jsonl.gz"
);

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let paint = Paint::detect();
    let mut contents = Vec::new();
    for (name, bytes) in SHOP {
        contents.push(recorded(name, bytes)?);
    }
    let timeline = Timeline::new("shop", contents);
    let events = timeline.events();
    let outcome = through(&Engine::builtin(), timeline, Heed::Incidents)?;
    // A merged incident is told by the one that took it over.
    let told: Vec<&Incident> =
        outcome.published.iter().filter(|incident| incident.state != IncidentState::Merged).collect();
    print(&format!(
        "A recording of a real two-node cluster: {events} Events in 11 minutes, {} records through the log.\n\
         What happened comes to {} incidents:\n\n",
        outcome.records,
        told.len()
    ))?;
    for incident in told {
        print(&(render::detail(incident, false, paint) + "\n"))?;
    }
    print(&paint.faint("Try it on your own cluster: epicenter up. On a file: epicenter replay FILE.\n"))?;
    Ok(ExitCode::SUCCESS)
}
