//! The truth of a recording is whole, and the same seed gives the same recording.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use epicenter_scenarios::{Era, Label, Perturbation, Plan, Recording, Scenario, Topology, play};
use serde_json::Value;

fn plan(seed: u64, scenario: Scenario, era: Era) -> Plan {
    Plan {
        seed,
        topology: Topology { nodes: 3..6, workloads: 6..12, names: 0 },
        era,
        objects: false,
        watch: true,
        faults: vec![(60.0, scenario)],
        changes: vec![],
        perturbation: Perturbation::default(),
    }
}

/// Uids of the Events that the recording shows.
fn shown(recording: &Recording) -> BTreeSet<String> {
    let uid = |line: &str| {
        let message: Value = serde_json::from_str(line).unwrap();
        message["object"]["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    recording.files["watch.jsonl"].lines().map(uid).collect()
}

#[test]
fn labels_each_event_of_each_scenario_in_all_versions() {
    for (seed, scenario) in (1..).zip(Scenario::ALL) {
        for era in [Era::Old, Era::Middle, Era::New] {
            let recording = play(&plan(seed, scenario, era));
            let truth = &recording.truth;
            let labelled: BTreeSet<String> = truth.labels.keys().cloned().collect();
            assert_eq!(shown(&recording), labelled, "{scenario:?} {era:?}");
            let telling = truth.labels.values().any(|label| *label == Label::Telling(0));
            assert!(telling, "{scenario:?} {era:?}: an Event tells of the fault");
            let [fault] = &truth.faults[..] else { panic!("{scenario:?} {era:?}: one fault was made") };
            assert!(!fault.roots.is_empty() && !fault.classes.is_empty(), "{scenario:?} {era:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_recording() {
    for (seed, scenario) in (1..).zip(Scenario::ALL) {
        let files = |seed| play(&plan(seed, scenario, Era::New)).files;
        assert_eq!(files(seed), files(seed), "{scenario:?}");
        assert_ne!(files(seed), files(seed + 100), "{scenario:?}");
    }
}
