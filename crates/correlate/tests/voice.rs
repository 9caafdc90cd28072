//! What people say of incidents, and what comes of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeSet;

use epicenter_correlate::{ClusterState, Effects, apply};
use epicenter_model::{
    Act, Action, Command, EnrichedRecord, Incident, IncidentChange, IncidentState, Matcher, Severity, Timestamp,
    Transition, incident_id,
};
use fixture::{at, records, rules};

/// The incident that the Event of line `line` of a script opens.
fn incident(line: usize) -> String {
    incident_id("cluster", &format!("e{}", line * 1000), 1)
}

fn act(act: Act, line: usize) -> Action {
    Action::Incident { id: incident(line), act }
}

fn silence(matcher: Matcher, starts: f64, ends: f64) -> Action {
    Action::Silence { matcher, starts_at: at(starts), ends_at: at(ends) }
}

fn command(number: usize, seconds: f64, action: Action) -> Command {
    Command {
        cluster: "test".into(),
        at: at(seconds),
        id: format!("c{number}"),
        by: "anna".into(),
        given_at: at(seconds),
        why: format!("why{number}"),
        action,
    }
}

/// The records of a script, and commands between them.
fn mixed(script: &str, commands: &[(f64, Action)]) -> Vec<EnrichedRecord> {
    let mut records = records(script);
    for (number, (seconds, action)) in commands.iter().enumerate() {
        let place = records.iter().position(|record| record.at() > at(*seconds)).unwrap_or(records.len());
        records.insert(place, EnrichedRecord::Command(Box::new(command(number, *seconds, action.clone()))));
    }
    records
}

/// What people see of a change.
fn line(change: &IncidentChange) -> String {
    let incident = &change.incident;
    let mut line =
        format!("{} {} {}", change.at.millis_since(at(0.0)) / 1000, change.transition, incident.cause.object.name);
    let notes: Vec<_> = incident.notes.iter().map(|note| format!("{}:{}", note.act, note.text)).collect();
    if incident.acknowledged.is_some() {
        line += " acknowledged";
    }
    if let Some(silenced) = &incident.silenced {
        line += &format!(" silenced:{}", silenced.id);
    }
    if !notes.is_empty() {
        line += &format!(" [{}]", notes.join(" "));
    }
    line
}

fn run(records: &[EnrichedRecord]) -> (ClusterState, Effects) {
    let (rules, mut state, mut effects) = (rules(), ClusterState::new("test"), Effects::default());
    records.iter().for_each(|record| apply(&rules, &mut state, record, &mut effects));
    (state, effects)
}

#[track_caller]
fn check(script: &str, commands: &[(f64, Action)], expected: &[&str]) {
    let (_, effects) = run(&mixed(script, commands));
    let told: Vec<_> = effects.changes.iter().map(line).collect();
    assert_eq!(told, expected);
}

const NODE: &str = "0 node.not_ready Node/n1\n";

#[test]
fn what_is_done_to_an_incident_is_told_at_once() {
    let script = format!("{NODE}beat 100\n");
    let commands = [
        (10.0, act(Act::Acknowledge, 0)),
        (20.0, act(Act::Note, 0)),
        (30.0, act(Act::Unacknowledge, 0)),
        (40.0, act(Act::Resolve, 0)),
        (50.0, act(Act::Wrong, 0)),
    ];
    check(
        &script,
        &commands,
        &[
            "0 opened n1",
            "10 updated n1 acknowledged [acknowledge:why0]",
            "20 updated n1 acknowledged [acknowledge:why0 note:why1]",
            "30 updated n1 [acknowledge:why0 note:why1 unacknowledge:why2]",
            "40 resolved n1 [acknowledge:why0 note:why1 unacknowledge:why2 resolve:why3]",
            "50 updated n1 [acknowledge:why0 note:why1 unacknowledge:why2 resolve:why3 wrong:why4]",
        ],
    );
}

#[test]
fn what_comes_back_is_looked_after_by_nobody() {
    let script = format!("{NODE}60 node.not_ready Node/n1 uid=again\n");
    check(
        &script,
        &[(10.0, act(Act::Acknowledge, 0)), (20.0, act(Act::Resolve, 0))],
        &[
            "0 opened n1",
            "10 updated n1 acknowledged [acknowledge:why0]",
            "20 resolved n1 acknowledged [acknowledge:why0 resolve:why1]",
            "60 reopened n1 [acknowledge:why0 resolve:why1]",
        ],
    );
}

#[test]
fn a_silence_holds_for_its_time_and_for_what_it_describes() {
    let nodes = Matcher { class: "node.*".into(), kind: "Node".into(), name: "n1".into(), ..Matcher::default() };
    check(
        &format!("{NODE}1 node.not_ready Node/n2\nbeat 100\n"),
        &[(10.0, silence(nodes.clone(), 10.0, 60.0))],
        &["0 opened n1", "1 opened n2", "10 updated n1 silenced:c0", "60 updated n1"],
    );
    // A maintenance is planned before, and what begins in it is silent from its first version on.
    check(
        "0 node.ready Node/n1\n40 node.not_ready Node/n1\nbeat 100\n",
        &[(10.0, silence(nodes.clone(), 30.0, 60.0))],
        &["40 opened n1 silenced:c0", "60 updated n1"],
    );
    check(
        &format!("{NODE}beat 100\n"),
        &[(10.0, silence(nodes.clone(), 10.0, 60.0)), (20.0, silence(nodes.clone(), 10.0, 80.0))],
        &["0 opened n1", "10 updated n1 silenced:c0", "20 updated n1 silenced:c1", "80 updated n1"],
    );
    check(
        &format!("{NODE}beat 100\n"),
        &[(10.0, silence(nodes, 10.0, 60.0)), (20.0, Action::Unsilence { silence: "c0".into() })],
        &["0 opened n1", "10 updated n1 silenced:c0", "20 updated n1"],
    );
}

#[test]
fn what_becomes_worse_than_a_silence_covers_is_told() {
    let low = Matcher { severity: Some(Severity::High), ..Matcher::default() };
    let symptoms = "1*12 node.pod_not_ready Pod/shop/web-{}-x2x9k owners=Deployment/shop/web-{} node=n1\n";
    let (_, effects) = run(&mixed(
        &format!("0 node.pod_not_ready Pod/shop/api-1 node=n1\n{symptoms}beat 20\n"),
        &[(0.5, silence(low, 0.0, 600.0))],
    ));
    let of = |severity: Severity| {
        let told = effects.changes.iter().filter(|change| change.incident.severity == severity);
        told.map(|change| change.incident.silenced.is_some()).collect::<Vec<_>>()
    };
    assert!(!of(Severity::Critical).is_empty() && !of(Severity::Critical).contains(&true), "{effects:#?}");
    assert!(of(Severity::High).contains(&true));
}

#[test]
fn silences_are_listed_for_as_long_as_they_count() {
    let all = Matcher::default;
    let commands = [
        (1.0, silence(all(), 0.0, 20.0)),
        (2.0, silence(all(), 50.0, 60.0)),
        (3.0, Action::Unsilence { silence: "c1".into() }),
    ];
    let (_, effects) = run(&mixed("0 node.ready Node/n1\nbeat 100\n", &commands));
    let listed: Vec<_> = effects.silences.iter().map(|(id, silence)| (id.as_str(), silence.is_some())).collect();
    assert_eq!(listed, [("c0", true), ("c1", true), ("c1", false), ("c0", false)]);
}

#[test]
fn who_looks_after_a_part_does_not_look_after_all_and_notes_stay() {
    let probe = "probe.readiness Pod/{ns}/web-7d9f6c5b8d-x2x9k owners=ReplicaSet/{ns}/web-7d9f6c5b8d,Deployment/{ns}/web node=n1\n";
    let of = |namespace: &str| probe.replace("{ns}", namespace);
    let script = format!("0 {}3 {}45 node.not_ready Node/n1\nbeat 60\n", of("shop"), of("bank"));
    let (_, effects) = run(&mixed(&script, &[(20.0, act(Act::Acknowledge, 1)), (21.0, act(Act::Note, 0))]));
    let newest = |line: usize| {
        let told = effects.changes.iter().rfind(|change| change.incident.id == incident(line)).unwrap();
        self::line(told)
    };
    assert_eq!(newest(1), "45 merged web acknowledged [acknowledge:why0]");
    assert!(newest(0).ends_with("updated n1 [acknowledge:why0 note:why1]"), "{}", newest(0));
}

#[track_caller]
fn check_refused(action: Action, expected: &str) {
    let (mut state, _) = run(&records(&format!("{NODE}100 node.not_ready Node/n2\n")));
    let command = command(0, 110.0, action);
    let why = state.refusal(&command).unwrap();
    assert!(why.contains(expected), "{why}");
    let (before, mut effects) = (format!("{state:?}"), Effects::default());
    apply(&rules(), &mut state, &EnrichedRecord::Command(Box::new(command)), &mut effects);
    assert!(effects.changes.is_empty() && effects.silences.is_empty());
    assert_eq!(before.len(), format!("{state:?}").len(), "it leaves nothing behind");
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let all = Matcher::default;
    check_refused(Action::Incident { id: "epc-x".into(), act: Act::Note }, "has no incident epc-x that is open");
    check_refused(act(Act::Unacknowledge, 0), "is not acknowledged");
    check_refused(
        silence(all(), 0.0, 50.0),
        "ends at 2026-01-01T10:00:50Z, and the log of cluster test is at 2026-01-01T10:01:40Z",
    );
    check_refused(Action::Unsilence { silence: "s".into() }, "has no silence s: `epicenter silences`");
    let unknown = ClusterState::new("other");
    let refused = unknown.refusal(&command(0, 0.0, act(Act::Note, 0))).unwrap();
    assert!(refused.contains("nothing was heard of cluster other yet"), "{refused}");
}

#[test]
fn what_is_over_is_over() {
    let (state, _) = run(&mixed(&format!("{NODE}beat 20\n"), &[(10.0, act(Act::Resolve, 0))]));
    for again in [Act::Acknowledge, Act::Resolve] {
        assert!(state.refusal(&command(9, 20.0, act(again, 0))).unwrap().contains("is over already"));
    }
    assert_eq!(state.refusal(&command(9, 20.0, act(Act::Wrong, 0))), None);
}

#[test]
fn a_cluster_has_not_any_number_of_silences_and_an_incident_not_any_number_of_notes() {
    let (rules, mut state, mut effects) = (rules(), ClusterState::new("test"), Effects::default());
    let mut say = |state: &mut ClusterState, number, action| {
        let command = command(number, 1.0, action);
        let refused = state.refusal(&command);
        apply(&rules, state, &EnrichedRecord::Command(Box::new(command)), &mut effects);
        refused
    };
    for record in records(NODE) {
        apply(&fixture::rules(), &mut state, &record, &mut Effects::default());
    }
    for number in 0..200 {
        assert_eq!(say(&mut state, number, silence(Matcher::default(), 1.0, 100.0)), None);
    }
    let refused = say(&mut state, 200, silence(Matcher::default(), 1.0, 100.0)).unwrap();
    assert!(refused.contains("cluster test has 200 silences: end some"), "{refused}");
    for number in 300..330 {
        assert_eq!(say(&mut state, number, act(Act::Note, 0)), None);
    }
    let notes = &effects.changes.last().unwrap().incident.notes;
    assert_eq!((notes.len(), notes[0].text.as_str(), notes[19].text.as_str()), (20, "why310", "why329"));
}

#[test]
fn what_is_said_moves_no_time_on_and_counts_once() {
    let records = records(&format!("{NODE}beat 10\n"));
    let (rules, mut state, mut effects) = (rules(), ClusterState::new("test"), Effects::default());
    records.iter().for_each(|record| apply(&rules, &mut state, record, &mut effects));
    let (before, now) = (effects.changes.len(), effects.changes.last().unwrap().at);
    let said = EnrichedRecord::Command(Box::new(command(0, 100_000.0, act(Act::Acknowledge, 0))));
    for _ in 0..2 {
        apply(&rules, &mut state, &said, &mut effects);
    }
    let told = &effects.changes[before..];
    assert_eq!(told.len(), 1);
    assert!(told[0].at.millis_since(now) < 20_000, "{}", told[0].at);
    assert_ne!(told[0].incident.acknowledged.as_ref().unwrap().at, Timestamp::default());
}

/// The members of an incident at the end, `Kind/namespace/name`, each once.
fn members(effects: &Effects, id: &str) -> Vec<String> {
    let mut incident = Incident::default();
    for change in effects.changes.iter().filter(|change| change.incident.id == id) {
        assert!(incident.apply(change, 1_000));
    }
    let names = incident.members.iter().map(|member| {
        let object = &member.regarding;
        format!("{}/{}", object.kind, object.name)
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

fn split(line: usize, objects: &[&str]) -> Action {
    Action::Split { id: incident(line), objects: objects.iter().map(|text| fixture::object(text)).collect() }
}

/// A node that is away, and pods of two workloads on it.
const SHARED: &str = "0 node.not_ready Node/n1\n\
    1 node.pod_not_ready Pod/shop/web-1 owners=Deployment/shop/web node=n1\n\
    2 node.pod_not_ready Pod/shop/api-1 owners=Deployment/shop/api node=n1\n\
    3 node.pod_not_ready Pod/shop/api-2 owners=Deployment/shop/api node=n1\n";

#[test]
fn what_is_split_off_stays_apart() {
    let more = "20 node.pod_not_ready Pod/shop/api-3 owners=Deployment/shop/api node=n1\n\
        21 node.pod_not_ready Pod/shop/web-2 owners=Deployment/shop/web node=n1\n\
        22 node.not_ready Node/n1 uid=again\nbeat 40\n";
    let (state, effects) = run(&mixed(&format!("{SHARED}{more}"), &[(10.0, split(0, &["Deployment/shop/api"]))]));
    let other = effects.changes.iter().find(|change| change.incident.id != incident(0)).unwrap();
    assert_eq!((other.transition, other.at), (Transition::Opened, at(10.0)));
    assert_eq!(other.incident.notes[0].act, Act::Split);
    let other = other.incident.id.as_str();
    assert_eq!(members(&effects, other), ["Pod/api-1", "Pod/api-2", "Pod/api-3"]);
    assert_eq!(members(&effects, &incident(0)), ["Node/n1", "Pod/web-1", "Pod/web-2"]);
    let newest = |id: &str| &effects.changes.iter().rfind(|change| change.incident.id == id).unwrap().incident;
    for (id, objects, pods) in [(incident(0).as_str(), 4, 2), (other, 3, 3)] {
        let incident = newest(id);
        assert_eq!(
            (incident.events.objects, incident.impact.pods, incident.truncated),
            (objects, pods, 0),
            "{incident:#?}"
        );
        assert_eq!((incident.state, incident.merged_into.as_ref()), (IncidentState::Open, None));
    }
    assert_eq!(newest(&incident(0)).cause.object.name, "n1");
    assert_eq!(newest(other).cause.object.kind, "Pod");
    assert_eq!(state.open(), 2);
}

#[test]
fn the_root_can_be_split_off_what_it_explained() {
    let more = "20 node.pod_not_ready Pod/shop/web-2 owners=Deployment/shop/web node=n1\n";
    let (_, effects) = run(&mixed(&format!("{SHARED}{more}beat 40\n"), &[(10.0, split(0, &["Node/n1"]))]));
    let other = effects.changes.iter().find(|change| change.incident.id != incident(0)).unwrap().incident.id.as_str();
    assert_eq!(members(&effects, other), ["Node/n1"]);
    assert_eq!(members(&effects, &incident(0)), ["Pod/api-1", "Pod/api-2", "Pod/web-1", "Pod/web-2"]);
    let left = effects.changes.iter().rfind(|change| change.incident.id == incident(0)).unwrap();
    assert!(left.incident.cause.object.kind != "Node", "{:?}", left.incident.cause);
    let parents = effects.changes.iter().filter(|change| change.at >= at(10.0)).flat_map(|it| &it.incident.members);
    assert!(parents.filter(|it| !it.is_moved()).all(|it| it.because.as_ref().is_none_or(|why| why.parent != "e0")));
}

#[test]
fn what_is_put_together_by_hand_is_one_also_after_it_was_split() {
    let nodes = format!("{NODE}1 node.not_ready Node/n2\n");
    let both = Action::Merge { id: incident(1), with: incident(0) };
    let pods = "20 node.pod_not_ready Pod/shop/web-1 owners=Deployment/shop/web node=n2\nbeat 40\n";
    let (state, effects) = run(&mixed(&format!("{nodes}{pods}"), &[(10.0, both)]));
    let told: Vec<_> = effects.changes.iter().filter(|it| it.at == at(10.0)).map(line).collect();
    assert_eq!(
        told,
        ["10 updated n1 [merge:why0]", "10 merged n2"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(
        (members(&effects, &incident(0)), state.open()),
        (vec!["Node/n1".into(), "Node/n2".into(), "Pod/web-1".into()], 1)
    );

    let command = Command { id: "c0".into(), ..command(0, 10.0, split(0, &["Deployment/shop/api"])) };
    let (_, parted) = run(&mixed(&format!("{SHARED}beat 12\n"), &[(10.0, command.action)]));
    let other = parted.changes.iter().find(|change| change.incident.id != incident(0)).unwrap().incident.id.clone();
    let again = Action::Merge { id: incident(0), with: other };
    let more = "20 node.pod_not_ready Pod/shop/api-3 owners=Deployment/shop/api node=n1\nbeat 40\n";
    let commands = [(10.0, split(0, &["Deployment/shop/api"])), (12.0, again)];
    let (state, effects) = run(&mixed(&format!("{SHARED}{more}"), &commands));
    assert_eq!(members(&effects, &incident(0)), ["Node/n1", "Pod/api-1", "Pod/api-2", "Pod/api-3", "Pod/web-1"]);
    assert_eq!(state.open(), 1);
}

#[test]
fn what_cannot_be_parted_is_said() {
    check_refused(split(0, &["Pod/shop/web-9"]), "remembers no trouble of Pod shop/web-9: `epicenter show");
    check_refused(split(0, &["Node/n1"]), "is about nothing but Node n1: nothing would be left of it");
    check_refused(Action::Merge { id: incident(0), with: incident(0) }, "is one already: name two");
    check_refused(Action::Merge { id: incident(0), with: "epc-x".into() }, "has no incident epc-x that is open");
}

/// What is parted is written and restored at any record, and gives the same.
#[test]
fn what_is_parted_outlives_a_restart() {
    let more = "20 node.pod_not_ready Pod/shop/api-3 owners=Deployment/shop/api node=n1\n\
        21 node.pod_not_ready Pod/shop/web-2 owners=Deployment/shop/web node=n1\nbeat 40\n\
        50 node.ready Node/n1\nbeat 9000\n";
    let records = mixed(&format!("{SHARED}{more}"), &[(10.0, split(0, &["Deployment/shop/api"]))]);
    let (_, expected) = run(&records);
    // At each record while something happens, and now and then while nothing does.
    for restart in (0..records.len()).filter(|place| *place < 30 || place.is_multiple_of(200)) {
        let (rules, mut state, mut effects) = (rules(), ClusterState::new("test"), Effects::default());
        let mut entries = std::collections::BTreeMap::new();
        for (number, record) in records.iter().enumerate() {
            apply(&rules, &mut state, record, &mut effects);
            state.flush(|key, value| match value {
                Some(value) => _ = entries.insert(key, value),
                None => _ = entries.remove(&key),
            });
            if number == restart {
                state = ClusterState::restore("test", &entries).unwrap();
            }
        }
        assert_eq!(effects.changes, expected.changes, "restarted after record {restart}");
        let left: Vec<_> = entries.keys().filter(|key| b"aimv".contains(&key[0])).collect();
        assert!(left.is_empty(), "nothing is left of what is forgotten: {left:?}");
    }
}
