//! An incident quotes the Event at its root, and goes on to when the state is restored, merged or parted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeMap;

use epicenter_correlate::{ClusterState, Effects, apply};
use epicenter_model::{Action, Command, EnrichedRecord, Incident};
use expect_test::{expect, expect_file};
use fixture::{at, incidents, object, records, rules};

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// Gives each Event of `script` the message `{class} of {object}`, or what `notes` has for its uid, and stores and restores the state
/// before each record. Gives the incidents, and the entries in the end.
fn run(script: &str, notes: &[(&str, &str)], commands: &[(f64, Action)]) -> (Vec<Incident>, Store) {
    let rules = rules();
    let mut records = records(script);
    for record in &mut records {
        let EnrichedRecord::Event(event) = record else { continue };
        let note = notes.iter().find(|(uid, _)| *uid == event.event.uid);
        event.event.note = note.map_or_else(
            || format!("{} of {}", event.class, event.event.regarding.name),
            |(_, note)| (*note).to_owned(),
        );
    }
    for (number, (seconds, action)) in commands.iter().enumerate() {
        let (id, by, why) = (format!("c{number}"), "anna".into(), String::new());
        let command = Command {
            cluster: "test".into(),
            at: at(*seconds),
            id,
            by,
            given_at: at(*seconds),
            why,
            action: action.clone(),
        };
        let place = records.iter().position(|record| record.at() > at(*seconds)).unwrap_or(records.len());
        records.insert(place, EnrichedRecord::Command(Box::new(command)));
    }
    let (mut entries, mut effects) = (Store::new(), Effects::default());
    for record in &records {
        let mut state = ClusterState::restore("test", &entries).unwrap();
        apply(&rules, &mut state, record, &mut effects);
        state.flush(|key, value| match value {
            Some(value) => _ = entries.insert(key, value),
            None => _ = entries.remove(&key),
        });
    }
    (incidents(&effects), entries)
}

fn told(incidents: &[Incident]) -> String {
    let quote = |incident: &Incident| incident.explanation.iter().find(|text| text.starts_with("Event ")).cloned();
    incidents.iter().map(|it| format!("{} {}: {}\n", it.state, it.title, quote(it).unwrap_or_default())).collect()
}

#[test]
fn quotes_the_event_at_the_root() {
    let script = "0 config.secret_missing Pod/shop/web-6b8d9f7c5d-k8k9k text=Secret/shop/db\n\
        9 config.secret_missing Pod/shop/web-6b8d9f7c5d-z2z9z text=Secret/shop/db\n\
        20 probe.liveness Pod/bank/pay-6b8d9f7c5d-k8k9k\n\
        300 node.not_ready Node/n1\nbeat 310\n";
    let (incidents, entries) =
        run(script, &[("e2000", "Liveness probe failed: \u{1b}[2J\u{201d}\n<b>no</b>"), ("e3000", "")], &[]);
    expect![[r#"
        open Secret db does not exist: 2 pods of Deployment shop/web affected: Event config.secret_missing says: “config.secret_missing of web-6b8d9f7c5d-k8k9k”
        open Liveness probe of pod pay-6b8d9f7c5d-k8k9k fails: 1 pod of Deployment bank/pay affected: Event probe.liveness says: “Liveness probe failed: [2J" <b>no</b>”
        open Node n1 is not ready: 
    "#]]
    .assert_eq(&told(&incidents));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let kept = entries.iter().filter(|(key, _)| key[0] == b'q');
    let kept: String = kept.map(|(key, value)| format!("{} {}\n", hex(key), hex(value))).collect();
    expect_file!["golden/quotes-v3.txt"].assert_eq(&kept);
}

#[test]
fn goes_with_what_is_merged_and_parted() {
    // A late root takes over; then somebody parts a pod, and all is forgotten in the end.
    let script = "0 node.pod_not_ready Pod/shop/web-6b8d9f7c5d-k8k9k node=n1\n\
        5 node.pod_not_ready Pod/bank/pay-6b8d9f7c5d-k8k9k node=n1\n\
        9 node.not_ready Node/n1\n";
    let (all, _) = run(&format!("{script}beat 60\n"), &[], &[]);
    let split = Action::Split { id: all[0].id.clone(), objects: vec![object("Deployment/bank/pay")] };
    let (incidents, entries) = run(&format!("{script}beat 60\n"), &[], &[(30.0, split.clone())]);
    expect![[r#"
        open Node n1 is not ready: 1 pod of Deployment shop/web affected: Event node.not_ready says: “node.not_ready of n1”
        open Pod pay-6b8d9f7c5d-k8k9k is on a node that is not ready: 1 pod of Deployment bank/pay affected: 
    "#]]
    .assert_eq(&told(&incidents));
    assert_eq!(entries.keys().filter(|key| key[0] == b'q').count(), 1);
    let (_, entries) = run(&format!("{script}beat 12000\n"), &[], &[(30.0, split)]);
    assert_eq!(entries.keys().filter(|key| b"iq".contains(&key[0])).count(), 0);
}
