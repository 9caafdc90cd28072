//! What the engine makes of the scenarios in `tests/scenarios`: a text of records, `---`, and the incidents in the end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::fs;
use std::path::Path;

use epicenter_model::EnrichedRecord;
use fixture::{incidents, records, rules, run, summary, told};

#[test]
fn scenarios() {
    check(0);
}

/// Exporter and cluster are ten minutes apart: what the log says of when is other than what all emitters say.
#[test]
fn an_exporter_whose_clock_is_wrong_makes_no_wrong_incident() {
    check(-600_000);
    check(600_000);
}

/// Holds all scenarios against what is expected; emitters' clocks are `ahead` of the log's, ms.
fn check(ahead: i64) {
    let rules = rules();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20);
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (script, expected) = text.split_once("---\n").unwrap();
        let mut records = records(script);
        for record in &mut records {
            if let EnrichedRecord::Event(event) = record {
                event.occurred_at = event.occurred_at.plus_millis(ahead);
                event.event.first_at = event.event.first_at.map(|at| at.plus_millis(ahead));
            }
        }
        let incidents = incidents(&run(&rules, &records));
        let found = summary(&incidents);
        for incident in &incidents {
            let ended = incident.resolved_at.unwrap_or(incident.last_event_at);
            let order = [incident.opened_at, incident.last_event_at, ended];
            assert!(order.is_sorted(), "{}, {ahead} ms: {order:?}", file.display());
        }
        if found != expected {
            let name = file.file_name().unwrap().display();
            wrong += &format!("== {name}\n-- expected\n{expected}-- found\n{found}{}", told(&incidents));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn titles() {
    let rules = rules();
    for (scenario, title) in [
        ("preemption", "Pod v0-6b8d9f7c5d-x2x9k was preempted by Deployment shop/big: 5 pods of 3 workloads affected"),
        ("rejected", "Node worker1 rejected pod pinned-6b8d9f7c5d-k8k90: 4 pods of Deployment shop/pinned affected"),
        ("named_by_text", "Runtime class gvisor does not exist"),
        ("named_by_text", "File server filer1 cannot be reached: 2 pods of 2 workloads affected"),
        (
            "not_provisioned",
            "Claim data-db-0 still has no volume of disks.example.com: 1 pod of StatefulSet shop/db affected",
        ),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{scenario}.txt"));
        let text = fs::read_to_string(file).unwrap();
        let (script, _) = text.split_once("---\n").unwrap();
        let incidents = incidents(&run(&rules, &records(script)));
        assert!(incidents.iter().any(|incident| incident.title == title), "{title}\n{}", told(&incidents));
    }
}
