//! What several clusters have in common, and clusters that are silent: scripts of signals, and what is told of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write;

use epicenter_correlate::{Effects, Fleet, FleetRules};
use epicenter_model::{
    Act, Action, Command, Entity, FLEET, FleetRecord, FleetSignal, Heartbeat, IncidentChange, IncidentState, Severity,
    Timestamp,
};
use expect_test::{Expect, expect, expect_file};
use proptest::prelude::*;

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

fn at(second: i64) -> Timestamp {
    "2026-01-01T10:00:00Z".parse::<Timestamp>().unwrap().plus_millis(second * 1000)
}

fn beat(cluster: &str, second: i64, last: bool) -> FleetRecord {
    let (cluster, cluster_uid) = (cluster.to_owned(), String::new());
    FleetRecord::Heartbeat(Heartbeat { cluster, cluster_uid, at: at(second), healthy: true, last })
}

fn signal(cluster: &str, second: i64, incident: &str, state: IncidentState, about: &[&str]) -> FleetRecord {
    let (class, things) = about.split_first().unwrap_or((&"", &[]));
    let entity = |text: &&str| {
        let (kind, name) = text.split_once('/').unwrap();
        Entity { kind: kind.to_owned(), namespace: String::new(), name: name.to_owned() }
    };
    FleetRecord::Signal(FleetSignal {
        cluster: cluster.to_owned(),
        at: at(second),
        incident: incident.to_owned(),
        state,
        class: (*class).to_owned(),
        severity: Severity::High,
        shared: things.iter().map(entity).collect(),
        ..FleetSignal::default()
    })
}

/// `SECOND CLUSTER beats|leaves|opens|ends …`, a line each: `10 a opens i1 image.pull.dns Registry/r.io`, `20 a ends i1`.
/// `0..300 a,b beat`: heartbeats each 30 s. Gives the time at which the log takes each record, and the record.
fn records(script: &str) -> Vec<(i64, FleetRecord)> {
    let mut records = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let second = || words[0].parse().unwrap_or_else(|_| panic!("no time: {line}"));
        match words[2] {
            "beat" => {
                let (from, to) = words[0].split_once("..").unwrap();
                let (from, to): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
                for second in (from..to).step_by(30) {
                    records.extend(words[1].split(',').map(|cluster| (second, beat(cluster, second, false))));
                }
            }
            "leaves" => records.push((second(), beat(words[1], second(), true))),
            "opens" => {
                records.push((second(), signal(words[1], second(), words[3], IncidentState::Open, &words[4..])));
            }
            "ends" => records.push((second(), signal(words[1], second(), words[3], IncidentState::Resolved, &[]))),
            _ => panic!("not understood: {line}"),
        }
    }
    records.sort_by_key(|(second, _)| *second);
    records
}

/// Applies `records`, restoring the state from its entries before those at `restarts`.
fn run(records: &[(i64, FleetRecord)], restarts: &[usize]) -> (Vec<IncidentChange>, Store, Fleet) {
    let (mut fleet, mut store, mut changes) = (Fleet::default(), Store::new(), Vec::new());
    for (index, (second, record)) in records.iter().enumerate() {
        if restarts.contains(&index) {
            fleet = Fleet::restore(&store).unwrap();
        }
        let mut effects = Effects::default();
        fleet.apply(FleetRules::builtin(), at(*second), record, &mut effects);
        fleet.flush(|key, value| match value {
            Some(value) => drop(store.insert(key, value)),
            None => drop(store.remove(&key)),
        });
        changes.extend(effects.changes);
    }
    (changes, store, fleet)
}

fn show(change: &IncidentChange) -> String {
    let incident = &change.incident;
    let members: Vec<_> = incident.members.iter().map(|member| member.regarding.name.as_str()).collect();
    let second = change.at.millis_since(at(0)) / 1000;
    format!("{second} {} v{} {} [{}]\n", change.transition, incident.version, incident.title, members.join(" "))
}

#[track_caller]
fn check(script: &str, expected: Expect) {
    let (changes, ..) = run(&records(script), &[]);
    expected.assert_eq(&changes.iter().map(show).collect::<String>());
    for change in changes {
        let incident = change.incident;
        assert_eq!((incident.cluster.as_str(), incident.id.len()), ("fleet", 14));
        assert!(
            !incident.explanation.is_empty()
                && (incident.state == IncidentState::Open) == incident.resolved_at.is_none()
        );
    }
}

#[test]
fn the_same_trouble_with_the_same_thing_in_two_clusters_is_one_incident() {
    // In other words, with other registries, later than the rest, and twice in one cluster.
    check(
        "0..900 a,b,c beat
         10 a opens i1 image.pull.dns Registry/r.io
         12 a opens i2 image.pull.dns Registry/r.io
         20 c opens i3 image.pull.unavailable Registry/other.io
         40 b opens i4 image.pull.unavailable Image/r.io/x:1 Registry/r.io
         800 c opens i5 image.pull.network Registry/r.io
         810 a ends i1
         820 b ends i4
         830 a ends i2
         840 c ends i5",
        expect![[r#"
            40 opened v1 Registry r.io cannot be used: 2 clusters affected [a a b]
            800 updated v2 Registry r.io cannot be used: 3 clusters affected [c]
            810 updated v3 Registry r.io cannot be used: 3 clusters affected [a]
            820 updated v4 Registry r.io cannot be used: 3 clusters affected [b]
            830 updated v5 Registry r.io cannot be used: 3 clusters affected [a]
            840 resolved v6 Registry r.io cannot be used: 3 clusters affected [c]
        "#]],
    );
}

#[test]
fn what_is_not_at_the_same_time_or_not_the_same_stays_apart() {
    check(
        "10 a opens i1 image.pull.dns Registry/r.io
         20 a opens i2 image.pull.dns Registry/r.io
         30 b opens i3 image.pull.auth Registry/r.io
         40 b opens i4 image.pull.dns Registry/r2.io
         50 b opens i5 crash.oom Registry/r.io
         621 b opens i6 image.pull.dns Registry/r.io",
        expect![""],
    );
    // What changed its mind is no case any more.
    check(
        "10 a opens i1 image.pull.dns Registry/r.io
         20 a opens i1 node.not_ready
         30 b opens i2 image.pull.dns Registry/r.io",
        expect![""],
    );
}

#[test]
fn one_that_ended_comes_back_for_ten_minutes_and_opens_anew_later() {
    let trouble = |from: i64| {
        format!(
            "{from} a opens i1 admission.webhook_down Webhook/w.io\n{from} b opens i2 admission.webhook_down Webhook/w.io\n\
             {0} a ends i1\n{0} b ends i2\n",
            from + 10
        )
    };
    check(
        &format!("0..2000 a,b beat\n{}{}{}", trouble(10), trouble(500), trouble(1200)),
        expect![[r#"
            10 opened v1 Webhook w.io does not answer: 2 clusters affected [a b]
            20 updated v2 Webhook w.io does not answer: 2 clusters affected [a]
            20 resolved v3 Webhook w.io does not answer: 2 clusters affected [b]
            500 reopened v4 Webhook w.io does not answer: 2 clusters affected [a b]
            510 updated v5 Webhook w.io does not answer: 2 clusters affected [a]
            510 resolved v6 Webhook w.io does not answer: 2 clusters affected [b]
            1200 opened v1 Webhook w.io does not answer: 2 clusters affected [a b]
            1210 updated v2 Webhook w.io does not answer: 2 clusters affected [a]
            1210 resolved v3 Webhook w.io does not answer: 2 clusters affected [b]
        "#]],
    );
}

#[test]
fn a_cluster_that_falls_silent_is_an_incident_until_it_speaks() {
    check(
        "0..400 a,b beat
         0..100 c beat
         300..400 c beat",
        expect![[r#"
            210 opened v1 Cluster c is silent []
            300 resolved v2 Cluster c is silent []
        "#]],
    );
}

#[test]
fn nobody_is_silent_when_nobody_else_speaks() {
    // One cluster.
    check("0..100 a beat\n600..700 a beat", expect![""]);
    // The log was away: the first to come back does not make the others silent.
    check("0..100 a,b,c beat\n700..760 a beat\n745..1000 a,b,c beat", expect![""]);
}

#[test]
fn what_was_taken_out_is_not_expected() {
    check(
        "0..900 a,b beat
         0..100 c beat
         10 c opens i1 image.pull.not_found Image/r.io/x:1
         20 b opens i2 image.pull.not_found Image/r.io/x:1
         95 c leaves
         100 c ends i9
         120 b ends i2
         300..350 c beat
         600 c leaves",
        expect![[r#"
            20 opened v1 Image r.io/x:1 cannot be had: 2 clusters affected [b c]
            95 updated v2 Image r.io/x:1 cannot be had: 2 clusters affected [c]
            120 resolved v3 Image r.io/x:1 cannot be had: 2 clusters affected [b]
            450 opened v1 Cluster c is silent []
            600 resolved v2 Cluster c is silent []
        "#]],
    );
}

#[test]
fn it_tells_people_where_and_what_to_look_at() {
    let (changes, ..) = run(
        &records(
            "10 a opens i1 image.pull.dns Registry/r.io\n40 b opens i2 image.pull.dns Registry/r.io\n50 a ends i1\n\
             0..500 a beat\n0..100 b beat",
        ),
        &[],
    );
    let mut text = String::new();
    for change in &changes[1..] {
        writeln!(text, "{} {}", change.incident.cause.class, change.incident.cause.object).unwrap();
        change.incident.explanation.iter().for_each(|sentence| writeln!(text, "  {sentence}").unwrap());
    }
    expect![[r#"
        fleet.registry_outage Registry r.io
          Several clusters fail to pull images from r.io at the same time, so that the registry or the way to it is the likely cause. It began at 10:00:10 UTC.
          It shows in clusters a and b.
          It is over in cluster a.
          Look at: epicenter show i2 (in b)
        fleet.cluster_silent Cluster b
          Nothing is heard of cluster b, while other clusters go on: its exporter has stopped or cannot reach the log, or nobody processes its partition. Its incidents neither change nor resolve meanwhile. It was heard last at 10:01:30 UTC.
          Look at: the exporter of b: its pod, its log, and /readyz; if b is gone for good: epicenter forget b
    "#]]
    .assert_eq(&text);
}

#[test]
fn memory_is_bounded() {
    let opens = |n: usize| {
        let (cluster, thing) = (format!("c{}", n % 3), format!("Registry/r{}", n % 50));
        signal(&cluster, 1, &format!("i{n}"), IncidentState::Open, &["image.pull.dns", &thing])
    };
    // Of each of the 50 cases, 20 incidents of each of the 3 clusters are taken in.
    let storm: Vec<_> = (0..6_000).map(|n| (1, opens(n))).collect();
    let (_, store, fleet) = run(&storm, &[]);
    assert_eq!(fleet.sightings(), 3_000);
    assert_eq!(store.len(), 3_000 + 50 + 1, "sightings, incidents, and the clock");
    // What is over is forgotten.
    let over = |n: usize| signal(&format!("c{}", n % 3), 3, &format!("i{n}"), IncidentState::Resolved, &[]);
    let beats = (1..30).map(|n| (n * 30, beat("a", n * 30, false)));
    let all: Vec<_> = storm.into_iter().chain((0..6_000).map(|n| (3, over(n)))).chain(beats).collect();
    let (_, store, fleet) = run(&all, &[]);
    assert_eq!((fleet.sightings(), fleet.clusters(), store.len()), (0, 1, 2));
    // A cluster that stays away, too.
    let week: Vec<_> = (0..20_400).map(|n| (n * 30, beat(if n == 0 { "gone" } else { "a" }, n * 30, false))).collect();
    let (changes, _, fleet) = run(&week, &[]);
    assert_eq!((fleet.clusters(), changes.len()), (1, 2));
}

fn mixed(picks: &[(i64, usize, usize, usize)]) -> Vec<(i64, FleetRecord)> {
    let things =
        [["image.pull.dns", "Registry/r.io"], ["image.pull.tls", "Registry/r.io"], ["image.pull.arch", "Image/x"]];
    let mut now = 0;
    let mut records = Vec::new();
    for (gap, who, what, which) in picks {
        now += gap;
        let cluster = ["a", "b", "c"][*who];
        let incident = format!("{cluster}{which}");
        records.push((
            now,
            match what {
                0..4 => beat(cluster, now, false),
                4 => beat(cluster, now, true),
                5..8 => signal(cluster, now, &incident, IncidentState::Open, &things[what - 5]),
                _ => signal(cluster, now, &incident, IncidentState::Resolved, &[]),
            },
        ));
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_restart_at_any_record_changes_nothing(
        picks in prop::collection::vec((prop_oneof![0..5_i64, 5..50_i64, 50..400_i64], 0..3_usize, 0..10_usize, 0..3_usize), 1..120),
        restarts in prop::collection::vec(0_usize..120, 0..10),
    ) {
        let records = mixed(&picks);
        let (whole, store, fleet) = run(&records, &[]);
        let (broken, again, restored) = run(&records, &restarts);
        prop_assert_eq!(&whole, &broken);
        prop_assert_eq!(&store, &again);
        prop_assert_eq!(format!("{fleet:?}"), format!("{restored:?}"));
        // Versions count the changes of each incident, and what is over is not told to be over again.
        let mut told: BTreeMap<String, (i64, IncidentState)> = BTreeMap::new();
        for change in whole {
            let incident = change.incident;
            let before = told.insert(incident.id, (incident.version, incident.state));
            prop_assert_eq!(before.map_or(1, |(version, _)| version + 1), incident.version);
            prop_assert!(incident.state == IncidentState::Open || before.is_some_and(|(_, state)| state == IncidentState::Open));
        }
    }
}

#[test]
fn the_format_of_the_state_is_kept() {
    let script = "0..60 a,b,c beat\n10 a opens i1 image.pull.dns Registry/r.io\n20 b opens i2 image.pull.dns Registry/r.io\n\
                  30 c opens i3 image.pull.not_found Image/x:1\n40 a ends i1\n60..300 a,b beat";
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let (_, store, _) = run(&records(script), &[]);
    let text: String = store.iter().map(|(key, value)| format!("{} {}\n", hex(key), hex(value))).collect();
    expect_file!["golden/fleet-v1.txt"].assert_eq(&text);
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let golden = include_str!("golden/fleet-v1.txt");
    let entries =
        golden.lines().map(|line| line.split_once(' ').unwrap()).map(|(key, value)| (bytes(key), bytes(value)));
    let mut fleet = Fleet::restore(entries).unwrap();
    let mut effects = Effects::default();
    for (second, record) in records("300 c opens i4\n310 b ends i2") {
        fleet.apply(FleetRules::builtin(), at(second), &record, &mut effects);
    }
    let shown: String = effects.changes.iter().map(show).collect();
    expect![[r#"
        300 resolved v2 Cluster c is silent []
        310 resolved v3 Registry r.io cannot be used: 2 clusters affected [b]
    "#]]
    .assert_eq(&shown);
    assert!(Fleet::restore([(b"x", b"1")]).is_err());
}

fn command(id: &str, second: i64, incident: &str, act: Act) -> (i64, FleetRecord) {
    let (cluster, at, by, why) = (FLEET.to_owned(), at(second), "anna".to_owned(), format!("why {id}"));
    let action = Action::Incident { id: incident.to_owned(), act };
    (second, FleetRecord::Command(Box::new(Command { cluster, at, id: id.to_owned(), by, given_at: at, why, action })))
}

#[test]
fn what_people_say_of_the_fleets_incidents_is_kept_and_can_end_them() {
    let script = "0..2000 a,b beat
         0..100 c beat
         10 a opens i1 image.pull.dns Registry/r.io
         40 b opens i2 image.pull.dns Registry/r.io
         100 a ends i1
         300 a opens i3 image.pull.dns Registry/r.io
         310 a ends i3
         320 b ends i2";
    let (changes, ..) = run(&records(script), &[]);
    let of =
        |class: &str| changes.iter().find(|it| it.incident.cause.class.contains(class)).unwrap().incident.id.clone();
    let (case, silence) = (changes[0].incident.id.clone(), of("silent"));
    let mut records = records(script);
    records.extend([
        command("c1", 50, &case, Act::Acknowledge),
        command("c1", 51, &case, Act::Acknowledge),
        command("c2", 60, &case, Act::Resolve),
        command("c3", 70, "epc-nonesuch", Act::Note),
        command("c4", 400, &silence, Act::Note),
        command("c5", 410, &silence, Act::Resolve),
    ]);
    records.sort_by_key(|(second, _)| *second);
    let told = |restarts: &[usize]| {
        let (changes, store, fleet) = run(&records, restarts);
        let line = |change: &IncidentChange| {
            let incident = &change.incident;
            let notes: Vec<_> = incident.notes.iter().map(|note| format!("{}:{}", note.act, note.text)).collect();
            let acknowledged = if incident.acknowledged.is_some() { " acknowledged" } else { "" };
            format!("{}{acknowledged} [{}]\n", show(change).trim_end(), notes.join(", "))
        };
        (changes.iter().map(line).collect::<String>(), store, fleet)
    };
    let (text, store, fleet) = told(&[]);
    expect![[r#"
        40 opened v1 Registry r.io cannot be used: 2 clusters affected [a b] []
        50 updated v2 Registry r.io cannot be used: 2 clusters affected [] acknowledged [acknowledge:why c1]
        60 resolved v3 Registry r.io cannot be used: 2 clusters affected [] acknowledged [acknowledge:why c1, resolve:why c2]
        210 opened v1 Cluster c is silent [] []
        300 reopened v4 Registry r.io cannot be used: 2 clusters affected [a b] [acknowledge:why c1, resolve:why c2]
        310 updated v5 Registry r.io cannot be used: 2 clusters affected [a] [acknowledge:why c1, resolve:why c2]
        320 resolved v6 Registry r.io cannot be used: 2 clusters affected [b] [acknowledge:why c1, resolve:why c2]
        400 updated v2 Cluster c is silent [] [note:why c4]
    "#]]
    .assert_eq(&text);
    for restart in 0..records.len() {
        let (again, kept, _) = told(&[restart]);
        assert_eq!((again, kept), (text.clone(), store.clone()), "restarted before record {restart}");
    }
    let refused = |incident: &str, act| match command("c9", 0, incident, act).1 {
        FleetRecord::Command(command) => fleet.refusal(&command),
        _ => None,
    };
    assert!(refused(&case, Act::Note).unwrap().contains("the fleet has no incident"));
    assert!(refused(&silence, Act::Resolve).unwrap().contains("`epicenter forget c`"));
    assert!(refused(&silence, Act::Unacknowledge).unwrap().contains("is not acknowledged"));
    assert_eq!(refused(&silence, Act::Note), None);
}
