//! What an incident knows of its like: that it was there before, or that it is the first.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use epicenter_correlate::ClusterState;
use epicenter_correlate::{Effects, Rules, apply};
use epicenter_model::{Act, Action, Command, EndedBy, EnrichedRecord, Incident, Novelty, incident_id};
use fixture::{at, classes, incidents, records, rules, run};

const DAY: f64 = 86_400.0;

fn last(script: &str) -> Incident {
    incidents(&run(&rules(), &records(script))).pop().unwrap()
}

fn remembered(incident: &Incident) -> String {
    let sentence = incident.explanation.iter().find(|sentence| sentence.starts_with("It happened"));
    sentence.cloned().unwrap_or_default()
}

const CRASH: &str = "crash.back_off Pod/shop/web-6b8d9f7c5d-";

#[test]
fn tells_how_the_last_one_ended() {
    let ended = |script: &str, expected: EndedBy, says: &str| {
        let incident = last(&format!("{script}\nbeat 4000\n5000 {CRASH}z9z9z uid=again\nbeat 5010\n"));
        let ended = incident.recurrence.ended.clone().unwrap();
        assert_eq!((incident.recurrence.count, ended.how), (1, expected), "{ended:?}");
        assert!(remembered(&incident).ends_with(says), "{}", remembered(&incident));
    };
    ended(&format!("0 {CRASH}k8k9k"), EndedBy::Quiet, "; it ended after less than a minute.");
    let rolled_out = format!(
        "0 {CRASH}k8k9k\n400 {CRASH}k8k9k uid=e0 count=9\n500 rollout.scaled_up Deployment/shop/web\n520 container.stopping Pod/shop/web-6b8d9f7c5d-k8k9k"
    );
    ended(&rolled_out, EndedBy::Change, "when Deployment shop/web changed (rollout.scaled_up).");
    let recovered = format!("0 {CRASH}k8k9k\n300 pod.ready Pod/shop/web-6b8d9f7c5d-k8k9k");
    ended(
        &recovered,
        EndedBy::Recovery,
        "; it ended after 5 minutes, when Pod shop/web-6b8d9f7c5d-k8k9k had recovered (pod.ready).",
    );
    let removed = format!(
        "0 {CRASH}k8k9k\n300 rollout.pod_deleted ReplicaSet/shop/web-6b8d9f7c5d text=Pod/shop/web-6b8d9f7c5d-k8k9k"
    );
    ended(&removed, EndedBy::Removal, ", when what failed was removed.");
}

/// Somebody says something of the first incident, after 60 s; 5,000 s later the same begins again.
fn said(act: Act) -> Incident {
    let rules = rules();
    let mut records =
        records(&format!("0 {CRASH}k8k9k uid=e0\nbeat 60\nbeat 4000\n5000 {CRASH}z9z9z uid=again\nbeat 5010\n"));
    let command = Command {
        cluster: "test".into(),
        at: at(60.0),
        id: "c1".into(),
        by: "anna".into(),
        given_at: at(60.0),
        why: "rolled back".into(),
        action: Action::Incident { id: incident_id("cluster", "e0", 1), act },
    };
    let place = records.iter().position(|record| record.at() >= at(60.0)).unwrap();
    records.insert(place, EnrichedRecord::Command(Box::new(command)));
    let mut state = ClusterState::new("test");
    let mut effects = Effects::default();
    records.iter().for_each(|record| apply(&rules, &mut state, record, &mut effects));
    incidents(&effects).pop().unwrap()
}

#[test]
fn what_people_said_is_part_of_it() {
    let again = said(Act::Resolve);
    assert_eq!(again.recurrence.ended.as_ref().unwrap().how, EndedBy::Person);
    assert!(remembered(&again).ends_with(", when anna said so: \"rolled back\"."), "{}", remembered(&again));
    let again = said(Act::Note);
    assert_eq!(again.recurrence.ended.as_ref().unwrap().how, EndedBy::Quiet);
    assert!(remembered(&again).ends_with("; anna said: \"rolled back\"."), "{}", remembered(&again));
    // What was none does not count.
    assert_eq!(said(Act::Wrong).recurrence.count, 0);
}

#[test]
fn the_first_of_its_kind_is_called_so_once_the_cluster_is_known() {
    let novelty = |script: &str| last(script).recurrence.novelty;
    let start = "0 sched.scheduled Pod/shop/web-6b8d9f7c5d-k8k9k\n";
    let late = 7.0 * DAY + 10.0;
    let week = format!("{start}{late} {CRASH}k8k9k\nbeat {}\n", late + 10.0);
    assert_eq!(novelty(&format!("{start}100 {CRASH}k8k9k\nbeat 110\n")), Novelty::Known);
    assert_eq!(novelty(&week), Novelty::Cluster);
    let sentence = "It is the first of its kind in the cluster, which is watched for 7 days.";
    assert!(last(&week).explanation.iter().any(|it| it == sentence), "{:?}", last(&week).explanation);
    // The same class was there before: on another workload, or on this one.
    let other =
        format!("{start}50 crash.back_off Pod/shop/api-6b8d9f7c5d-k8k9k\n{late} {CRASH}k8k9k\nbeat {}\n", late + 10.0);
    assert_eq!(novelty(&other), Novelty::Object);
    let same = format!("{start}50 {CRASH}k8k9k\n{late} {CRASH}z9z9z uid=again\nbeat {}\n", late + 10.0);
    assert_eq!(novelty(&same), Novelty::Known);
    assert_eq!(last(&same).recurrence.count, 1);
}

#[test]
fn rules_switch_it_off() {
    let script = format!("0 {CRASH}k8k9k\nbeat 4000\n5000 {CRASH}z9z9z uid=again\nbeat 5010\n");
    let count = |text: &str| {
        let rules = Rules::extended(&[("mine.yaml", text)], classes()).unwrap();
        incidents(&run(&rules, &records(&script))).pop().unwrap().recurrence.count
    };
    assert_eq!(count("patterns: [{id: first-seen, off: true}]"), 1);
    assert_eq!(count("patterns: [{id: recurrence, off: true}]"), 0);
    assert_eq!(count("patterns: [{id: recurrence, except: [\"crash.*\"]}]"), 0);
    let wrong = |text: &str| Rules::extended(&[("mine.yaml", text)], classes()).unwrap_err().to_string();
    assert!(wrong("patterns: [{id: recurrence, after_days: 3}]").contains("recurrence: after_days: cannot be set"));
    assert!(wrong("patterns: [{id: first-seen, after_days: -3}]").contains("after_days: must be from 0 to 365"));
    assert!(wrong("patterns: [{id: recurrence, fixes: [rollout.done]}]").contains("no class is called `rollout.done`"));
}
