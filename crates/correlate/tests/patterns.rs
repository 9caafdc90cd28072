//! What is out of the ordinary: more than usual, more from day to day, coming and going, and one that talks the most.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeMap;
use std::fmt::Write;

use epicenter_correlate::{ClusterState, Effects, Rules, apply};
use epicenter_model::{EnrichedRecord, Incident, Severity};
use fixture::{classes, incidents, records, rules};

const HOUR: i64 = 3_600;

/// Hour by hour as many Events as `count` says, evenly: `line` is one, with its number for `{}`.
fn hourly(hours: i64, line: &str, count: impl Fn(i64) -> i64) -> String {
    let mut script = String::new();
    for hour in 0..hours {
        for n in 0..count(hour) {
            let at = hour * HOUR + n * (HOUR - 60) / count(hour) + 7;
            writeln!(script, "{at} {}", line.replace("{}", &format!("{hour}-{n}"))).unwrap();
        }
    }
    writeln!(script, "beat {}", hours * HOUR + 600).unwrap();
    script
}

/// The incidents of `records`; the state is stored and restored before every so many of them.
fn told(rules: &Rules, records: &[EnrichedRecord], each: usize) -> Vec<Incident> {
    let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut state = ClusterState::new("test");
    let mut effects = Effects::default();
    for (number, record) in (1..).zip(records) {
        apply(rules, &mut state, record, &mut effects);
        if number % each == 0 {
            state.flush(|key, value| match value {
                Some(value) => _ = entries.insert(key, value),
                None => _ = entries.remove(&key),
            });
            state = ClusterState::restore("test", &entries).unwrap();
        }
    }
    incidents(&effects)
}

/// Those that a pattern began, and those that have one as a part, as reasons; what a restored state makes of it is the same.
fn patterns(rules: &Rules, script: &str) -> (Vec<Incident>, Vec<Incident>) {
    let records = records(script);
    let told_at_once = told(rules, &records, usize::MAX);
    assert_eq!(told_at_once, told(rules, &records, 9_973), "restarts change nothing");
    let has = |incident: &Incident| incident.events.by_reason.keys().any(|reason| reason.starts_with("Pattern"));
    let began = |incident: &Incident| incident.cause.class.starts_with("pattern.");
    told_at_once.into_iter().filter(has).partition(began)
}

#[track_caller]
fn says(incident: &Incident, sentence: &str) {
    assert!(incident.explanation.iter().any(|it| it.contains(sentence)), "{:?}", incident.explanation);
}

const PROBE: &str =
    "probe.readiness Pod/shop/web-6b8d9f7c5d-k8k9k owners=ReplicaSet/shop/web-6b8d9f7c5d,Deployment/shop/web uid=p{}";

#[test]
fn more_than_usual_is_said_of_the_incident_that_it_is_about() {
    let usual = |hour: i64| 1 + hour % 3;
    let (began, about) = patterns(&rules(), &hourly(240, PROBE, usual));
    assert_eq!((began.len(), about.len()), (0, 0), "{began:?} {about:?}");
    let script = hourly(240, PROBE, |hour| if hour == 230 { 60 } else { usual(hour) });
    let (began, about) = patterns(&rules(), &script);
    assert_eq!((began.len(), about.len()), (0, 1), "{began:?}");
    says(&about[0], "probe.readiness came 20 times within this hour already, where 2.0 are usual.");
    // Not within the first week, and not when a rule says so.
    assert_eq!(patterns(&rules(), &hourly(150, PROBE, |hour| if hour == 140 { 60 } else { usual(hour) })).1.len(), 0);
    for text in ["patterns: [{id: frequency, off: true}]", "patterns: [{id: frequency, except: [\"probe.*\"]}]"] {
        let rules = Rules::extended(&[("mine.yaml", text)], classes()).unwrap();
        assert_eq!(patterns(&rules, &script).1.len(), 0);
    }
}

#[test]
fn where_nothing_else_is_wrong_it_is_a_note_of_its_own_with_samples() {
    let line = "hpa.rescaled HorizontalPodAutoscaler/shop/web uid=s{}";
    let (began, _) = patterns(&rules(), &hourly(240, line, |hour| if hour == 230 { 60 } else { hour % 2 }));
    let [one] = &began[..] else { panic!("{began:?}") };
    assert_eq!((one.severity, one.cause.class.as_str()), (Severity::Info, "pattern.frequency"));
    assert_eq!(one.title, "Hpa.rescaled comes far more often than usual for HorizontalPodAutoscaler web");
    let samples = one.members.iter().filter(|member| member.reason == "hpa.rescaled").count();
    assert_eq!((samples, one.members[0].role.as_str()), (5, "root"), "{:#?}", one.members);
}

#[test]
fn what_rises_from_day_to_day_is_said() {
    let rising = |hour: i64| if hour < 20 * 24 { 2 } else { 2 + (hour / 24 - 20) / 2 };
    let line = "node.image_gc_failed Node/n1 uid=g{}";
    let (began, about) = patterns(&rules(), &hourly(32 * 24, line, rising));
    let all: Vec<&Incident> = began.iter().chain(&about).collect();
    let [one] = &all[..] else { panic!("{all:?}") };
    assert!((1..=2).contains(&one.events.by_reason["PatternSlowRise"]), "{one:?}");
    says(one, "times on the day before, where");
}

#[test]
fn what_comes_and_goes_is_said_and_counts() {
    let turn = |at: i64| {
        format!(
            "{at} config.secret_missing Pod/shop/web-6b8d9f7c5d-k8k9k text=Secret/shop/db uid=c{at}\n{} container.started Pod/shop/web-6b8d9f7c5d-k8k9k uid=r{at}\n",
            at + 20
        )
    };
    let script = |times: i64| (0..times).map(|n| turn(n * 300)).collect::<String>() + "beat 4000\n";
    assert_eq!(patterns(&rules(), &script(4)).1.len(), 0);
    let (began, about) = patterns(&rules(), &script(6));
    assert_eq!((began.len(), about.len()), (0, 1));
    says(&about[0], "It comes and goes: it began 5 times within 20 minutes.");
    assert_eq!(about[0].events.by_reason["PatternFlapping"], 1);
}

#[test]
fn who_causes_most_of_what_is_heard_is_a_note() {
    let mut script = String::new();
    for hour in 0..200_i64 {
        let many = if hour == 190 { 600 } else { 2 };
        for n in 0..many {
            let at = hour * HOUR + n * (HOUR - 60) / many;
            writeln!(script, "{at} node.notice Node/n{} uid=o{hour}-{n}", n % 7).unwrap();
            writeln!(script, "{at} hpa.rescaled HorizontalPodAutoscaler/shop/web uid=t{hour}-{n}").unwrap();
        }
    }
    let text = "patterns: [{id: frequency, off: true}]";
    let rules = Rules::extended(&[("mine.yaml", text)], classes()).unwrap();
    let (began, _) = patterns(&rules, &script);
    let [one] = &began[..] else { panic!("{began:?}") };
    assert_eq!((one.severity, one.cause.class.as_str()), (Severity::Info, "pattern.top_talker"));
    says(one, "600 of 600 Events within an hour, 100 %, are about HorizontalPodAutoscaler web.");
}
