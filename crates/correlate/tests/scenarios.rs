//! What the engine makes of the scenarios in `tests/scenarios`: a text of records, `---`, and the incidents in the end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::fs;
use std::path::Path;

use fixture::{incidents, records, rules, run, summary, told};

#[test]
fn scenarios() {
    let rules = rules();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20);
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (script, expected) = text.split_once("---\n").unwrap();
        let incidents = incidents(&run(&rules, &records(script)));
        let found = summary(&incidents);
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
