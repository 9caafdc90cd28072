use epicenter_model::{Note, Severity, Silenced};

use super::*;
use crate::Alerts;

const FILE: &str = r#"
receivers: [{name: chat, stdout: {}}]
rules:
  - {name: quiet, when: 'incident.cluster == "lab"', mute: true}
  - {name: long, severity: info, when: 'incident.severity == "info" && incident.duration >= 300', receivers: [chat], group_wait: 0s}
  - {name: all, receivers: [chat], group_wait: 30s, repeat_interval: 10m}
"#;

fn desk(send_resolved: bool) -> Desk {
    let alerts = Alerts::read("alerts.yaml", FILE).unwrap();
    Desk::new(alerts.rules, "chat", send_resolved, true)
}

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// `open high`, `resolved high`, and `backfill`, `acknowledged`, `silenced` after it.
fn change(cluster: &str, id: &str, version: i64, seconds: i64, what: &str) -> IncidentChange {
    let mut words = what.split(' ');
    let state = words.next().unwrap();
    let severity = words.next().unwrap();
    let more: Vec<_> = words.collect();
    let incident = Incident {
        id: id.into(),
        cluster: cluster.into(),
        version,
        state: *IncidentState::ALL.iter().find(|it| it.name() == state).unwrap(),
        severity: *Severity::ALL.iter().find(|it| it.name() == severity).unwrap(),
        resolved_at: (state == "resolved").then_some(at(seconds)),
        acknowledged: more.contains(&"acknowledged").then(Note::default),
        silenced: more.contains(&"silenced").then(Silenced::default),
        ..Incident::default()
    };
    IncidentChange { at: at(seconds), backfill: more.contains(&"backfill"), incident, ..IncidentChange::default() }
}

/// Reads changes as the log would give them, and then lets time pass to `until`.
fn told(desk: &mut Desk, changes: &[IncidentChange], until: i64) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |desk: &mut Desk, cluster: Option<&str>, now: Timestamp| {
        while let Some(notice) = desk.next(cluster, now) {
            desk.done(&notice, now);
            told.push(format!("{} {} {}", now.as_millis() / 1000, notice.kind.name(), notice.key()));
        }
    };
    let mut last = 0;
    for change in changes {
        let cluster = Some(change.incident.cluster.as_str());
        tell(desk, cluster, change.at);
        desk.take(change);
        tell(desk, cluster, change.at);
        last = change.at.as_millis() / 1000;
    }
    for second in last..=until {
        tell(desk, None, at(second));
    }
    told
}

#[track_caller]
fn check(changes: &[(i64, i64, &str)], until: i64, expected: &[&str]) {
    let changes: Vec<_> =
        changes.iter().map(|(version, seconds, what)| change("c", "i", *version, *seconds, what)).collect();
    let whole = told(&mut desk(true), &changes, until);
    assert_eq!(whole, expected);
    // The same when every step is the last before a restart.
    let mut before = desk(true);
    for (n, change) in changes.iter().enumerate() {
        told(&mut before, std::slice::from_ref(change), 0);
        let kept: BTreeMap<Key, Thread> = before.threads.clone();
        let kept = serde_json::to_vec(&kept.into_values().collect::<Vec<_>>()).unwrap();
        let kept: Vec<Thread> = serde_json::from_slice(&kept).unwrap();
        let keyed = |it: Thread| ((it.incident.cluster.clone(), it.incident.id.clone()), it);
        let mut after = desk(true);
        after.restore(kept.into_iter().map(keyed).collect());
        let rest = told(&mut after, &changes[n + 1..], until);
        assert!(whole.ends_with(&rest), "{rest:?} after change {n}");
    }
}

#[test]
fn tells_what_lasts_once_and_its_end() {
    check(&[(1, 0, "open high"), (2, 10, "open high")], 100, &["30 firing c/i/2"]);
    check(&[(1, 0, "open high"), (2, 20, "resolved high")], 100, &[]);
    check(&[(1, 0, "open high"), (2, 40, "resolved high")], 100, &["40 firing c/i/1", "40 resolved c/i/2"]);
    check(&[(1, 0, "open high"), (2, 90, "merged high")], 100, &["90 firing c/i/1", "90 resolved c/i/2"]);
}

#[test]
fn does_not_tell_what_passes_or_was_there_before() {
    check(&[(1, 0, "open info")], 100, &[]);
    check(&[(1, 0, "open info"), (2, 70, "open medium")], 100, &["70 firing c/i/2"]);
    check(&[(1, 0, "open high backfill")], 100, &[]);
    check(&[(1, 0, "open high backfill"), (2, 50, "open high")], 100, &["50 firing c/i/2"]);
}

#[test]
fn tells_again_when_it_is_worse_or_goes_on() {
    check(&[(1, 0, "open low"), (2, 60, "open high")], 100, &["60 firing c/i/1", "60 worse c/i/2"]);
    check(&[(1, 0, "open low")], 1300, &["30 firing c/i/1", "630 repeat c/i/1/1", "1230 repeat c/i/1/2"]);
    check(&[(1, 0, "open high"), (2, 60, "open low"), (3, 70, "open high")], 100, &["60 firing c/i/1"]);
}

#[test]
fn whoever_looks_after_it_is_not_told_again() {
    check(&[(1, 0, "open low"), (2, 40, "open low acknowledged")], 1300, &["40 firing c/i/1"]);
    check(&[(1, 0, "open low"), (2, 10, "open low acknowledged")], 1300, &[]);
    check(
        &[(1, 0, "open low"), (2, 40, "open low acknowledged"), (3, 700, "open high acknowledged")],
        2000,
        &["40 firing c/i/1", "700 worse c/i/3"],
    );
    check(
        &[(1, 0, "open low"), (2, 40, "open low acknowledged"), (3, 100, "open low"), (4, 900, "resolved low")],
        2000,
        &["40 firing c/i/1", "900 repeat c/i/3/1", "900 resolved c/i/4"],
    );
    check(
        &[(1, 0, "open low"), (2, 40, "open low acknowledged"), (3, 50, "resolved low acknowledged")],
        2000,
        &["40 firing c/i/1", "50 resolved c/i/3"],
    );
}

#[test]
fn a_silence_is_kept_and_its_end_is_told() {
    check(&[(1, 0, "open high silenced"), (2, 2000, "resolved high silenced")], 3000, &[]);
    check(&[(1, 0, "open high silenced"), (2, 900, "open high")], 1000, &["900 firing c/i/2"]);
    check(&[(1, 0, "open low"), (2, 40, "open critical silenced")], 2000, &["40 firing c/i/1"]);
    check(
        &[(1, 0, "open high"), (2, 40, "open high silenced"), (3, 1000, "open high")],
        1700,
        &["40 firing c/i/1", "1000 repeat c/i/3/1", "1600 repeat c/i/3/2"],
    );
    check(
        &[(1, 0, "open high"), (2, 40, "open high silenced"), (3, 1000, "open high acknowledged")],
        3000,
        &["40 firing c/i/1"],
    );
    // What the receiver believes to go on is told to be over also meanwhile.
    check(
        &[(1, 0, "open high"), (2, 40, "open high silenced"), (3, 60, "resolved high silenced")],
        100,
        &["40 firing c/i/1", "60 resolved c/i/3"],
    );
}

#[test]
fn what_is_silent_does_not_fire() {
    let mut desk = desk(true);
    told(&mut desk, &[change("c", "i", 1, 0, "open high"), change("c", "i", 2, 50, "open high silenced")], 60);
    assert_eq!(desk.firing().count(), 0);
    told(&mut desk, &[change("c", "i", 3, 70, "open high")], 80);
    assert_eq!(desk.firing().count(), 1);
}

#[test]
fn an_incident_that_comes_back_waits_again() {
    check(
        &[(1, 0, "open high"), (2, 40, "resolved high"), (3, 50, "open high"), (4, 60, "resolved high")],
        200,
        &["40 firing c/i/1", "40 resolved c/i/2"],
    );
    check(
        &[(1, 0, "open high"), (2, 40, "resolved high"), (3, 50, "open high")],
        200,
        &["40 firing c/i/1", "40 resolved c/i/2", "80 firing c/i/3"],
    );
}

#[test]
fn a_condition_can_wait_for_time() {
    check(&[(1, 0, "open info")], 400, &["300 firing c/i/1"]);
}

#[test]
fn time_of_one_cluster_is_not_that_of_another() {
    let mut desk = desk(true);
    let changes = [
        change("slow", "i", 1, 0, "open high"),
        change("fast", "j", 1, 900, "open high"),
        change("slow", "i", 2, 20, "resolved high"),
        change("lab", "k", 1, 900, "open critical"),
    ];
    assert_eq!(told(&mut desk, &changes, 1000), ["930 firing fast/j/1"]);
}

#[test]
fn can_keep_ends_to_itself() {
    let mut desk = desk(false);
    let changes = [change("c", "i", 1, 0, "open high"), change("c", "i", 2, 40, "resolved high")];
    assert_eq!(told(&mut desk, &changes, 100), ["40 firing c/i/1"]);
    assert_eq!(desk.len(), 0);
}

#[test]
fn what_was_begun_comes_again_the_same() {
    let mut before = desk(true);
    before.take(&change("c", "i", 1, 0, "open high"));
    let notice = before.next(None, at(30)).unwrap();
    let mut after = desk(true);
    after.restore(before.threads.clone());
    assert_eq!(after.next(Some("c"), at(0)), Some(notice.clone()), "before the log goes on");
    after.done(&notice, at(31));
    assert_eq!(after.next(None, at(32)), None);
    assert_eq!(after.changes().len(), 1);
}

#[test]
fn labels_stay_until_it_is_worse() {
    let mut desk = desk(true);
    let mut labels = Vec::new();
    for (version, seconds, what) in
        [(1, 0, "open medium"), (2, 60, "open low"), (3, 70, "open high"), (4, 80, "resolved low")]
    {
        let change = change("c", "i", version, seconds, what);
        for round in 0..2 {
            while let Some(notice) = desk.next(Some("c"), change.at) {
                let severity = |of: &BTreeMap<String, String>| of["severity"].clone();
                labels.push((notice.kind.name(), severity(&notice.labels), notice.before.as_ref().map(severity)));
                desk.done(&notice, change.at);
            }
            if round == 0 {
                desk.take(&change);
            }
        }
    }
    let expected = [
        ("firing", "medium".to_owned(), None),
        ("worse", "high".to_owned(), Some("medium".to_owned())),
        ("resolved", "high".to_owned(), None),
    ];
    assert_eq!(labels, expected);
}
