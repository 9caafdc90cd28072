use expect_test::expect_file;

use super::*;

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");

fn input(name: &str) -> Vec<u8> {
    std::fs::read(format!("{TESTDATA}/{name}.json")).unwrap()
}

fn check(name: &str, projected: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(projected).unwrap() + "\n";
    expect_file![format!("{TESTDATA}/{name}.facts.json")].assert_eq(&text);
}

#[test]
fn keeps_of_events_what_both_api_groups_say() {
    for name in ["event-kubelet", "event-scheduler", "event-new-style"] {
        check(name, &event(&input(name)).unwrap());
    }
    assert_eq!(event(&input("event-scheduler")).unwrap(), event(&input("event-new-style")).unwrap());
}

#[test]
fn keeps_of_objects_what_matters() {
    for name in [
        "pod-oom-killed",
        "pod-references",
        "node",
        "statefulset",
        "cronjob",
        "job",
        "deployment",
        "replicaset",
        "persistentvolumeclaim",
        "persistentvolume",
        "horizontalpodautoscaler",
    ] {
        check(name, &object(&input(name)).unwrap().unwrap());
    }
}

#[test]
fn leaves_out_what_is_of_no_interest() {
    for json in [
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#,
        r#"{"apiVersion":"epicenter.dev/v1alpha1","kind":"Incident","metadata":{"name":"a"}}"#,
        r#"{"apiVersion":"example.com/v1","kind":"Pod","metadata":{"name":"a"}}"#,
        "{}",
    ] {
        assert!(object(json.as_bytes()).unwrap().is_none(), "{json}");
    }
}

#[test]
fn takes_events_that_lack_what_they_should_have() {
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(64 * 1024));
    for (json, total) in [
        ("{}", 1),
        (r#"{"metadata":null,"involvedObject":null,"series":null,"source":null}"#, 1),
        (r#"{"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"count":null}"#, 1),
        (r#"{"count":0}"#, 1),
        (r#"{"count":-3}"#, 1),
        (r#"{"count":5,"series":{"count":7}}"#, 7),
        (long.as_str(), 1),
    ] {
        assert_eq!(event(json.as_bytes()).unwrap().total(), total, "{}", &json[..json.len().min(80)]);
    }
    assert_eq!(event(long.as_bytes()).unwrap().note.len(), 64 * 1024);
}

#[test]
fn says_what_is_wrong_and_where() {
    #[track_caller]
    fn check(json: &[u8], expected: &str) {
        let error = event(json).map(|_| ()).and_then(|()| object(json).map(|_| ())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    check(b"", "malformed at `.`: EOF");
    check(br#"{"metadata":{"name":"a""#, "EOF while parsing an object at line 1 column 23");
    check(br#"{"involvedObject":{"name":7}}"#, "malformed at `involvedObject.name`");
    check(br#"{"lastTimestamp":"yesterday"}"#, "malformed at `lastTimestamp`: `yesterday` is not an RFC 3339 time");
    check(b"{\"message\":\"\xff\"}", "malformed at `message`");
    check(br#"{"kind":"Pod","apiVersion":"v1"}"#, "it is a Pod of v1, not an Event");
    let nameless = object(br#"{"kind":"Pod","apiVersion":"v1","metadata":{"uid":"u"}}"#).unwrap_err().to_string();
    assert!(nameless.contains("a Pod without `metadata.name`"), "{nameless}");
}

#[test]
fn cuts_long_texts_at_a_character() {
    let message = "ü".repeat(2000);
    let json = format!(
        r#"{{"metadata":{{"name":"a"}},"status":{{"conditions":[{{"type":"Ready","message":"{message}"}}]}}}}"#
    );
    let facts = object_of(Kind::Node, json.as_bytes()).unwrap();
    let kept = &facts.conditions[0].message;
    assert!(kept.len() <= 1024 && kept.ends_with("ü…"), "{} bytes", kept.len());
}

#[test]
fn every_kind_is_found_by_its_own_name() {
    for kind in Kind::ALL {
        assert_eq!(Kind::of(kind.api_version(), kind.name()), Some(*kind));
    }
    assert_eq!(Kind::of("batch/v1beta1", "CronJob"), Some(Kind::CronJob));
    assert_eq!(Kind::of("example.com/v1", "Pod"), None);
}
