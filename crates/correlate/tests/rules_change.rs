//! A running system gets other rules: incidents that are open go on, end, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use epicenter_correlate::{ClassInfo, Classes, ClusterState, Effects, Rules, apply};
use epicenter_model::{EnrichedRecord, Heartbeat, IncidentChange, IncidentState};
use fixture::{classes, records, records_of};

/// Longer than any class may be quiet, and than a resolved incident may be reopened.
const AFTERWARDS_S: i64 = 7_200;

/// Applies records, the first `split` of them by `before` and the rest, after a restart, by `after`. Gives all changes.
#[track_caller]
fn check(records: &[EnrichedRecord], split: usize, before: &Rules, after: &Rules) -> Vec<IncidentChange> {
    let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut state = ClusterState::new("test");
    let mut changes: Vec<IncidentChange> = Vec::new();
    let end = records.last().map_or_else(|| fixture::at(0.0), EnrichedRecord::at);
    let beats = (1..=AFTERWARDS_S / 5).map(|n| {
        let at = end.plus_millis(n * 5_000);
        EnrichedRecord::Heartbeat(Heartbeat {
            cluster: "test".into(),
            cluster_uid: "u".into(),
            at,
            healthy: true,
            last: false,
        })
    });
    for (index, record) in records.iter().cloned().chain(beats).enumerate() {
        if index == split {
            state = ClusterState::restore("test", &entries).unwrap();
        }
        let rules = if index < split { before } else { after };
        let mut effects = Effects::default();
        apply(rules, &mut state, &record, &mut effects);
        state.flush(|key, value| match value {
            Some(value) => _ = entries.insert(key, value),
            None => _ = entries.remove(&key),
        });
        assert!(effects.changes.iter().all(|change| change.rules == rules.hash()));
        changes.extend(effects.changes);
    }
    let mut newest: BTreeMap<&str, &IncidentChange> = BTreeMap::new();
    for change in &changes {
        let before = newest.insert(&change.incident.id, change);
        assert!(before.is_none_or(|before| before.incident.version < change.incident.version), "a version comes twice");
    }
    for change in newest.values() {
        assert_ne!(change.incident.state, IncidentState::Open, "{} stays open", change.incident.title);
        assert!(!change.incident.title.is_empty());
    }
    assert_eq!(state.open(), 0);
    // Heads, rows and redirects of incidents that are over for long.
    let left: Vec<_> = entries.keys().filter(|key| matches!(key.first(), Some(b'i' | b'm' | b'r'))).collect();
    assert!(left.is_empty(), "{} entries are left", left.len());
    changes
}

/// The classes of the catalogue for which `keep` holds.
fn some(keep: impl Fn(&ClassInfo) -> bool) -> Classes {
    classes().iter().filter(|info| keep(info)).cloned().collect()
}

#[test]
fn every_scenario_survives_that_rules_and_classes_come_and_go() {
    let builtin = fixture::rules();
    let sets = [
        Rules::parse(&[], Classes::default()).unwrap(),
        Rules::parse(&[], classes()).unwrap(),
        Rules::builtin(some(|info| !info.class.starts_with("node."))),
        Rules::builtin(some(|info| info.recovers.is_empty())),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut scenarios = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let records = records(text.split_once("---\n").unwrap().0);
        for (number, other) in sets.iter().enumerate() {
            let split = records.len() * (number + 1) / 5;
            check(&records, split, &builtin, other);
            check(&records, split, other, &builtin);
        }
        scenarios += 1;
    }
    assert!(scenarios > 40, "{scenarios} scenarios");
}

#[test]
fn an_incident_whose_class_and_rule_are_removed_goes_on_and_ends() {
    let declined = ClassInfo {
        class: "shop.declined".into(),
        title: "payments are declined".into(),
        recovers: vec![],
        ..classes().get("crash.exit").unwrap().clone()
    };
    let own: Classes = classes().iter().cloned().chain([declined]).collect();
    let text = "rules:\n  - {id: mine, cause: [shop.declined], edge: namespace, of: namespace, effect: [crash.exit], lag_s: [0, 60], weight: 0.9, why: w, source: s}\n";
    let before = Rules::extended(&[("mine.yaml", text)], own.clone()).unwrap();
    let script = "0 shop.declined Pod/shop/payments-6b8d9f7c5d-k8k9k\n\
        10 crash.exit Pod/shop/web-6b8d9f7c5d-k8k9k\n\
        20 crash.exit Pod/shop/api-6b8d9f7c5d-k8k9k\n\
        beat 30\n";
    let records = records_of(&own, script);
    for split in 0..records.len() {
        let changes = check(&records, split, &before, &fixture::rules());
        assert!(changes.iter().any(|change| change.incident.state == IncidentState::Resolved));
    }
}

/// Rules may form a circle: incidents do not.
#[test]
fn rules_that_form_a_circle_give_an_end() {
    let text = "rules:
  - {id: one, cause: [crash.exit], edge: namespace, of: namespace, effect: [probe.readiness, crash.exit], lag_s: [-60, 60], weight: 0.9, why: w, source: s}
  - {id: two, cause: [probe.readiness], edge: namespace, of: namespace, effect: [crash.exit], lag_s: [-60, 60], weight: 0.9, why: w, source: s}
";
    let rules = Rules::extended(&[("mine.yaml", text)], classes()).unwrap();
    let script = "0 crash.exit Pod/shop/a-6b8d9f7c5d-k8k9k\n\
        1 probe.readiness Pod/shop/b-6b8d9f7c5d-k8k9k\n\
        2 crash.exit Pod/shop/c-6b8d9f7c5d-k8k9k\n\
        3 probe.readiness Pod/shop/a-6b8d9f7c5d-k8k9k\n\
        beat 30\n";
    let changes = check(&records(script), 3, &rules, &rules);
    assert!(!changes.is_empty());
}
