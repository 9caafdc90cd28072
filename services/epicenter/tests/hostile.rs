//! Files that no cluster has written: `replay` reads them, or says what is wrong with them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::LazyLock;

use epicenter::replay::document;
use epicenter::replay::timeline::Timeline;
use proptest::prelude::*;
use serde_json::{Value, json};

/// An Event and an object as clusters write them.
static KNOWN: LazyLock<[Value; 2]> = LazyLock::new(|| {
    [
        json!({
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "BackOff", "count": 3, "message": "Back-off",
            "metadata": {"name": "web.1", "namespace": "shop", "uid": "e1", "resourceVersion": "7", "creationTimestamp": "2026-11-23T11:08:04Z"},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web", "uid": "p1"},
            "firstTimestamp": "2026-11-23T11:08:04Z", "lastTimestamp": "2026-11-23T11:09:04Z", "source": {"component": "kubelet", "host": "n1"},
            "series": {"count": 4, "lastObservedTime": "2026-11-23T11:09:05.000001Z"},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "p1", "resourceVersion": "5", "creationTimestamp": "2026-11-23T11:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r1", "controller": true}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "r.io/app:1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-23T11:08:04Z"}]},
        }),
    ]
});

/// Times, and what is none.
const TIMES: [&str; 6] =
    ["-9999-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0000-00-00T00:00:00Z", "2026-13-01T00:00:00Z", "", "now"];

/// What may stand anywhere.
fn odd() -> impl Strategy<Value = Value> {
    let numbers = prop::sample::select(&[i64::MIN, -1, 0, 1, i64::MAX][..]).prop_map(|number| json!(number));
    prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!([])),
        Just(json!([null, {"name": null}, 3])),
        numbers,
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(&TIMES[..]).prop_map(|time| json!(time)),
        ".{0,20}".prop_map(|text| json!(text)),
        Just(json!("x".repeat(100_000))),
    ]
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), found));
        }
        _ => {}
    }
}

fn spoilt() -> impl Strategy<Value = Value> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), odd()), 0..4);
    (any::<prop::sample::Index>(), changes).prop_map(|(which, changes)| {
        let mut value = which.get(&*KNOWN).clone();
        for (place, odd) in changes {
            let mut found = Vec::new();
            places(&value, "", &mut found);
            let at: &String = place.get(&found);
            *value.pointer_mut(at).unwrap() = odd;
        }
        value
    })
}

/// Documents, lists of them, lines of a watch, and text that is cut or is no JSON.
fn file() -> impl Strategy<Value = String> {
    let document = prop_oneof![
        4 => spoilt().prop_map(|value| value.to_string()),
        2 => prop::collection::vec(spoilt(), 0..4)
            .prop_map(|items| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()),
        2 => (prop::sample::select(&["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", ""][..]), spoilt())
            .prop_map(|(what, object)| json!({"type": what, "object": object}).to_string()),
        1 => odd().prop_map(|value| value.to_string()),
        1 => ".{0,30}",
        1 => Just("[".repeat(10_000)),
    ];
    (prop::collection::vec(document, 0..5), prop::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(
        |(parts, cut)| {
            let text = parts.join("\n");
            match cut.filter(|_| !text.is_empty()) {
                Some(at) => text[..text.floor_char_boundary(at.index(text.len()))].to_owned(),
                None => text,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_read_or_refused_with_a_reason(files in prop::collection::vec(file(), 1..3)) {
        let path = Path::new("events.json");
        let mut contents = Vec::new();
        for text in &files {
            match document::parse(path, text) {
                Ok(content) => contents.push(content),
                Err(error) => prop_assert!(error.to_string().contains("events.json"), "{error}"),
            }
        }
        let mut before = None;
        for record in Timeline::new("test", contents).records() {
            prop_assert!(before.is_none_or(|before| before <= record.at()), "log time goes back");
            before = Some(record.at());
        }
    }
}

/// `EPICENTER_FUZZ` is how many cases are tried.
fn cases() -> u32 {
    std::env::var("EPICENTER_FUZZ").map_or(128, |cases| cases.parse().unwrap())
}
