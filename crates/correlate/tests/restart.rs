//! A state that is stored and restored at any point goes on as if nothing had happened, byte for byte.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use epicenter_correlate::{ClassInfo, Classes, ClusterState, Effects, Rules, StateError, apply};
use epicenter_model::{
    Act, Action, Category, Command, EnrichedRecord, Matcher, Role, Severity, Timestamp, incident_id,
};
use expect_test::{expect, expect_file};
use fixture::{cases, records, records_of, rules};
use proptest::prelude::*;

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

fn store(store: &mut Store, state: &mut ClusterState) {
    state.flush(|key, value| match value {
        Some(value) => {
            assert!(value.len() < 64 * 1024, "an entry of {} bytes", value.len());
            store.insert(key, value);
        }
        None => _ = store.remove(&key),
    });
}

/// Applies `records`, writing the state and restoring it from its entries before those at `restarts`.
fn run(rules: &Rules, records: &[EnrichedRecord], restarts: &[usize]) -> (Effects, Store) {
    let mut entries = Store::new();
    let mut effects = Effects::default();
    let mut state = ClusterState::new("test");
    for (index, record) in records.iter().enumerate() {
        if restarts.contains(&index) {
            store(&mut entries, &mut state);
            state = ClusterState::restore("test", &entries).unwrap();
        }
        apply(rules, &mut state, record, &mut effects);
    }
    store(&mut entries, &mut state);
    (effects, entries)
}

static RULES: LazyLock<Rules> = LazyLock::new(rules);
static SCENARIOS: LazyLock<Vec<Vec<EnrichedRecord>>> = LazyLock::new(scenarios);

fn scenarios() -> Vec<Vec<EnrichedRecord>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let script = |path| fs::read_to_string(path).unwrap().split_once("---\n").unwrap().0.to_owned();
    files.into_iter().map(|path| records(&script(path))).collect()
}

#[test]
fn restarting_before_every_record_changes_nothing() {
    for records in &*SCENARIOS {
        let all: Vec<usize> = (0..records.len()).collect();
        assert_eq!(run(&RULES, records, &[]), run(&RULES, records, &all));
    }
}

/// Events of all scenarios, in any order, with any time between them: nonsense, but deterministic nonsense.
fn mixed(picks: &[(prop::sample::Index, prop::sample::Index, i64)]) -> Vec<EnrichedRecord> {
    let mut now: Timestamp = fixture::at(0.0);
    let mut mixed = Vec::new();
    let mut opened: Vec<String> = Vec::new();
    for (number, (scenario, record, gap_ms)) in picks.iter().enumerate() {
        let records = scenario.get(&SCENARIOS);
        let Some(record) = (!records.is_empty()).then(|| record.get(records).clone()) else { continue };
        now = now.plus_millis(*gap_ms);
        mixed.push(match record {
            EnrichedRecord::Event(mut event) => {
                event.at = now;
                event.occurred_at = now;
                if number % 3 == 0 {
                    event.event.uid = format!("m{number}");
                }
                opened.push(incident_id(&event.cluster_uid, &event.event.uid, event.event.total()));
                EnrichedRecord::Event(event)
            }
            EnrichedRecord::Heartbeat(mut heartbeat) => {
                heartbeat.at = now;
                heartbeat.healthy = number % 7 != 0;
                EnrichedRecord::Heartbeat(heartbeat)
            }
            context => context,
        });
        if number % 2 == 0 {
            mixed.push(EnrichedRecord::Command(Box::new(said(number, now, &opened))));
        }
    }
    mixed
}

/// Something that somebody says after `number` records; `opened` are incidents that there may be.
fn said(number: usize, now: Timestamp, opened: &[String]) -> Command {
    let acts = [Act::Acknowledge, Act::Note, Act::Unacknowledge, Act::Wrong, Act::Resolve];
    let incident = opened.get(opened.len().saturating_sub(1 + number / 2 % 4)).cloned().unwrap_or_default();
    let matchers = [
        Matcher::default(),
        Matcher { namespace: "shop".into(), ..Matcher::default() },
        Matcher { incident: incident.clone(), ..Matcher::default() },
        Matcher { severity: Some(Severity::Medium), class: "node.*".into(), ..Matcher::default() },
    ];
    let action = match number % 12 {
        0 => Action::Silence {
            matcher: matchers[number / 12 % 4].clone(),
            starts_at: now.plus_millis(10_000),
            ends_at: now.plus_millis(60_000),
        },
        6 => Action::Unsilence { silence: format!("c{}", number - 6) },
        _ => Action::Incident { id: incident, act: acts[number / 2 % 5] },
    };
    let (by, why) = ("anna".into(), format!("why{number}"));
    Command { cluster: "test".into(), at: now, id: format!("c{number}"), by, given_at: now, why, action }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restarting_anywhere_in_anything_changes_nothing(
        picks in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop_oneof![8 => 0_i64..8_000, 1 => 0_i64..4_000_000]),
            1..160,
        ),
        restarts in prop::collection::vec(0_usize..160, 0..12),
    ) {
        let records = mixed(&picks);
        let (whole, entries) = run(&RULES, &records, &[]);
        let (broken, again) = run(&RULES, &records, &restarts);
        prop_assert_eq!(whole, broken);
        prop_assert_eq!(entries, again);
    }
}

/// Classes and rules of the golden file's own, so that only a change of the format changes it.
fn golden_rules() -> (Classes, Rules) {
    let class = |(class, role, severity, recovers): (&str, Role, Severity, &[&str])| ClassInfo {
        class: class.to_owned(),
        category: Category::Other,
        severity,
        role,
        title: "{kind} {name}".to_owned(),
        explain: String::new(),
        kubectl: String::new(),
        recovers: recovers.iter().map(|class| (*class).to_owned()).collect(),
        quiet_ms: 600_000,
    };
    let classes: Classes = [
        ("sched.scheduled", Role::Recovery, Severity::Info, &["sched.*"][..]),
        ("node.not_ready", Role::Cause, Severity::Critical, &[]),
        ("node.ready", Role::Recovery, Severity::Info, &["node.not_ready"]),
        ("node.pod_not_ready", Role::Symptom, Severity::High, &[]),
        ("config.secret_missing", Role::Cause, Severity::High, &[]),
        ("container.started", Role::Recovery, Severity::Info, &["config.*"]),
        ("zone.down", Role::Cause, Severity::Critical, &[]),
    ]
    .into_iter()
    .map(class)
    .collect();
    let text = "rules:
  - {id: zone, cause: [zone.down], edge: zone, effect: [node.not_ready], lag_s: [-60, 120], weight: 0.9, why: w, source: s}
  - {id: down, cause: [node.not_ready], edge: node, effect: [node.pod_not_ready], lag_s: [-60, 120], weight: 0.9, why: w, source: s}
";
    let rules = Rules::parse(&[("golden.yaml", text)], classes.clone()).unwrap();
    (classes, rules)
}

#[test]
fn the_format_of_the_state_is_kept() {
    let script = "0 sched.scheduled Pod/shop/web-7d9f6c5b8d-x2x9k text=Node/worker1\n\
        5 node.not_ready Node/worker1\n\
        5 node.pod_not_ready Pod/shop/web-7d9f6c5b8d-x2x9k\n\
        9 config.secret_missing Pod/shop/api-6b8d9f7c5d-k8k9k text=Secret/shop/db\n\
        20 container.started Pod/shop/api-6b8d9f7c5d-k8k9k\n\
        beat 80\n";
    let (classes, rules) = golden_rules();
    let (_, entries) = run(&rules, &records_of(&classes, script), &[]);
    let mut text = String::new();
    for (key, value) in &entries {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    expect_file!["golden/state-v3.txt"].assert_eq(&text);
    // What is in the file, and what the versions before wrote, is read, and goes on from there.
    for golden in
        [include_str!("golden/state-v1.txt"), include_str!("golden/state-v2.txt"), include_str!("golden/state-v3.txt")]
    {
        let mut state = ClusterState::restore("test", golden_entries(golden)).unwrap();
        let mut effects = Effects::default();
        for record in records_of(&classes, "100 node.ready Node/worker1\nbeat 500\n")
            .iter()
            .skip_while(|r| r.at() < fixture::at(80.0))
        {
            apply(&rules, &mut state, record, &mut effects);
        }
        let last = effects.changes.last().unwrap();
        assert_eq!((last.transition.name(), last.incident.cause.object.name.as_str()), ("resolved", "worker1"));
    }
}

/// What is said has entries of its own, which are not there when nothing is said.
#[test]
fn the_format_of_what_is_said_is_kept() {
    let (classes, rules) = golden_rules();
    let mut records = records_of(&classes, "0 node.not_ready Node/worker1\nbeat 20\n");
    let (id, now) = (incident_id("cluster", "e0", 1), fixture::at(20.0));
    let matcher = Matcher { kind: "Node".into(), severity: Some(Severity::Critical), ..Matcher::default() };
    let actions = [
        Action::Incident { id: id.clone(), act: Act::Acknowledge },
        Action::Silence { matcher, starts_at: now, ends_at: now.plus_millis(60_000) },
    ];
    for (number, action) in actions.into_iter().enumerate() {
        records.push(EnrichedRecord::Command(Box::new(Command { action, ..said(number, now, &[]) })));
    }
    let (_, entries) = run(&rules, &records, &[]);
    let mut text = String::new();
    for (key, value) in entries.iter().filter(|(key, _)| b"vs".contains(&key[0])) {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    expect_file!["golden/voice-v3.txt"].assert_eq(&text);
    let mut state = ClusterState::restore("test", &entries).unwrap();
    let mut effects = Effects::default();
    for record in records_of(&classes, "90 sched.scheduled Pod/shop/x\nbeat 700\n").iter().skip_while(|r| r.at() < now)
    {
        apply(&rules, &mut state, record, &mut effects);
    }
    let told = |change: &epicenter_model::IncidentChange| {
        (change.transition.name(), change.incident.acknowledged.is_some(), change.incident.silenced.is_some())
    };
    let mut told: Vec<_> = effects.changes.iter().map(told).collect();
    told.dedup();
    assert_eq!(told, [("updated", true, true), ("updated", true, false), ("resolved", true, false)]);
    // Nothing of it is left when all is over.
    let mut entries = entries;
    for record in records_of(&classes, "beat 3000\n").iter().skip_while(|r| r.at() < fixture::at(700.0)) {
        apply(&rules, &mut state, record, &mut effects);
    }
    store(&mut entries, &mut state);
    assert!(entries.keys().all(|key| !b"vs".contains(&key[0])));
}

/// `golden/merged-v1.txt` was written by format 1: incident 3 was merged into 2, and 2 into 1, so that one redirect leads to
/// another.
#[test]
fn what_the_version_before_has_merged_goes_on() {
    let (classes, rules) = golden_rules();
    let mut entries: Store = golden_entries(include_str!("golden/merged-v1.txt")).collect();
    let redirects = |entries: &Store| entries.keys().filter(|key| key[0] == b'r').count();
    assert_eq!((entries[&b"c"[..]][0], redirects(&entries)), (1, 2));
    let mut state = ClusterState::restore("test", &entries).unwrap();
    // A pod on the node whose trouble was found in the incident that was merged twice.
    let run = |script: &str, state: &mut ClusterState, entries: &mut Store| {
        let mut effects = Effects::default();
        let now = |record: &&EnrichedRecord| record.at() > fixture::at(20.0);
        for record in records_of(&classes, script).iter().filter(now) {
            apply(&rules, state, record, &mut effects);
        }
        store(entries, state);
        effects.changes
    };
    let joined = run("30 node.pod_not_ready Pod/shop/c node=n1 zone=z uid=new\n", &mut state, &mut entries);
    let cause = &joined.last().unwrap().incident.cause;
    assert_eq!((joined.len(), cause.class.as_str(), state.open()), (1, "zone.down", 1));
    assert_eq!(entries[&b"c"[..]][0], 3, "what changes is written in today's format");
    // Today's state is the same when it is read again, and nothing of it is left when all is over.
    let mut state = ClusterState::restore("test", &entries).unwrap();
    let ended = run("31 sched.scheduled Pod/shop/x\nbeat 6000\n", &mut state, &mut entries);
    assert_eq!(ended.last().unwrap().transition.name(), "resolved");
    assert_eq!((state.open(), redirects(&entries)), (0, 0));
}

#[test]
fn what_is_no_state_is_refused() {
    let restore = |key: &[u8], value: &[u8]| ClusterState::restore("test", [(key, value)]).unwrap_err();
    assert!(matches!(restore(b"x", &[1]), StateError::Key { .. }));
    assert!(matches!(restore(b"c", &[9, 0]), StateError::Version { found: 9, .. }));
    assert!(matches!(restore(b"c", &[]), StateError::Malformed { .. }));
    assert!(matches!(restore(b"c", &[1, 0]), StateError::Malformed { .. }));
}

/// After a rollback an engine finds what a newer one wrote: it says which one, and what to do.
#[test]
fn what_a_newer_engine_wrote_is_refused_with_its_name() {
    let refused = |key: &[u8]| {
        let entries = [(key, &[9, 0][..]), (&b"w"[..], &b"7.0.0"[..])];
        ClusterState::restore("test", entries).unwrap_err().to_string()
    };
    expect![[r#"
        state entry 63 has format 9, engine 0.1.0 reads 1 to 3; it was written by engine 7.0.0. Run that engine or a newer one; docs/operations.md#upgrade-and-rollback tells how to go back
        state entry 7a: not a key of engine 0.1.0; it was written by engine 7.0.0, or by another service. Run that engine or a newer one; docs/operations.md#upgrade-and-rollback tells how to go back
    "#]]
    .assert_eq(&format!("{}\n{}\n", refused(b"c"), refused(b"z")));
}

fn golden_entries(golden: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    golden.lines().map(|line| line.split_once(' ').unwrap()).map(|(key, value)| (bytes(key), bytes(value)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
