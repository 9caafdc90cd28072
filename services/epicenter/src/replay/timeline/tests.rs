use std::path::Path;

use super::*;
use crate::replay::document;

/// `name@first-last*count` about `second`, core/v1.
fn event(name: &str, version: u32, first: &str, last: &str, count: i64) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"{name}","uid":"u-{name}","resourceVersion":"{version}"}},
        "count":{count},"firstTimestamp":"2026-01-01T{first}Z","lastTimestamp":"2026-01-01T{last}Z"}}"#
    )
}

fn pod(name: &str, version: u32, at: &str) -> String {
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}",
        "managedFields":[{{"time":"2026-01-01T{at}Z"}}]}},"status":{{"phase":"Failed"}}}}"#
    )
}

fn list(items: &[String]) -> String {
    format!(r#"{{"kind":"List","apiVersion":"v1","items":[{}]}}"#, items.join(","))
}

fn watch(messages: &[(&str, String)]) -> String {
    messages.iter().map(|(of, object)| format!("{{\"type\":\"{of}\",\"object\":{object}}}\n")).collect()
}

fn timeline(files: &[String]) -> Timeline {
    let contents = files.iter().map(|text| document::parse(Path::new("f"), text).unwrap()).collect();
    Timeline::new("c", contents)
}

fn shown(record: &RawRecord) -> Option<String> {
    let at = &record.at().to_string()[11..19];
    match record {
        RawRecord::Event(event) => Some(format!("{at} {} {}x", event.event.name, event.event.total())),
        RawRecord::Object(change) => {
            let listed = if change.listed { "?" } else { "" };
            let deleted = if change.deleted { " gone" } else { "" };
            Some(format!("{at} {}{listed} {}{deleted}", change.facts.object.name, change.facts.phase))
        }
        _ => None,
    }
}

#[track_caller]
fn check(files: &[String], expected: &[&str]) {
    let records: Vec<_> = timeline(files).records().collect();
    assert_eq!(records.iter().filter_map(shown).collect::<Vec<_>>(), expected);
    assert!(records.windows(2).all(|pair| pair[0].at() <= pair[1].at()), "time goes back");
}

#[test]
fn sorts_lists_and_tells_first_and_last_occurrence() {
    let (a, b) = (event("a", 1, "10:00:05", "10:00:05", 1), event("b", 2, "10:00:01", "10:00:09", 7));
    let expected = ["10:00:01 b 1x", "10:00:05 a 1x", "10:00:09 b 7x"];
    check(&[list(&[a.clone(), b.clone()])], &expected);
    check(&[list(&[b.clone(), a.clone()])], &expected);
    check(&[list(std::slice::from_ref(&b)), list(&[a.clone(), a, b])], &expected);
}

#[test]
fn sets_all_occurrences_right_when_a_clock_is_slow() {
    let slow = event("a", 1, "10:00:00", "10:00:09", 7).replacen(
        "\"resourceVersion\"",
        "\"creationTimestamp\":\"2026-01-01T10:05:00Z\",\"resourceVersion\"",
        1,
    );
    check(&[list(&[slow])], &["10:05:00 a 1x", "10:05:09 a 7x"]);
}

#[test]
fn spreads_what_went_on_all_the_time() {
    // Eleven minutes, every ten seconds or so; then three times in two hours, and twice in a second.
    let goes_on = event("a", 4, "10:00:00", "10:11:00", 67);
    let now_and_then = event("b", 5, "11:00:00", "13:00:00", 3);
    let at_once = event("c", 6, "14:00:00", "14:00:01", 9);
    let expected = [
        "10:00:00 a 1x",
        "10:03:40 a 23x",
        "10:07:20 a 45x",
        "10:11:00 a 67x",
        "11:00:00 b 1x",
        "13:00:00 b 3x",
        "14:00:00 c 1x",
        "14:00:01 c 9x",
    ];
    check(&[list(&[goes_on, now_and_then, at_once])], &expected);
    // However long and however often.
    let endless = event("a", 4, "10:00:00", "10:11:00", i64::MAX).replacen("2026-01-01T10:00", "1970-01-01T10:00", 1);
    let records: Vec<_> = timeline(&[list(&[endless])]).records().filter_map(|record| shown(&record)).collect();
    assert_eq!(records.len(), 1_002);
}

#[test]
fn keeps_the_order_of_a_stream_and_lets_its_time_not_go_back() {
    let messages = [
        ("ADDED", event("a", 1, "10:00:05", "10:00:05", 1)),
        ("MODIFIED", event("a", 2, "10:00:05", "10:00:08", 2)),
        ("ADDED", event("b", 3, "10:00:02", "10:00:02", 1)),
        ("DELETED", event("a", 4, "10:00:05", "10:00:08", 2)),
    ];
    check(&[watch(&messages)], &["10:00:05 a 1x", "10:00:08 a 2x", "10:00:08 b 1x"]);
}

#[test]
fn sorts_the_list_that_precedes_a_watch() {
    let messages = [
        ("ADDED", event("a", 5, "10:00:05", "10:00:05", 1)),
        ("ADDED", event("b", 3, "10:00:03", "10:00:03", 1)),
        ("ADDED", event("c", 6, "10:00:06", "10:00:06", 1)),
    ];
    check(&[watch(&messages)], &["10:00:03 b 1x", "10:00:05 a 1x", "10:00:06 c 1x"]);
}

#[test]
fn leaves_to_a_stream_what_it_knows() {
    let stream = watch(&[
        ("ADDED", event("a", 1, "10:00:01", "10:00:01", 1)),
        ("MODIFIED", event("a", 2, "10:00:01", "10:00:03", 2)),
    ]);
    let dump = list(&[event("a", 2, "10:00:01", "10:00:03", 2), event("b", 3, "10:00:02", "10:00:02", 1)]);
    check(&[stream, dump], &["10:00:01 a 1x", "10:00:02 b 1x", "10:00:03 a 2x"]);
}

#[test]
fn gives_objects_as_context_first_and_their_status_in_its_time() {
    let events = list(&[event("a", 5, "10:00:00", "10:00:00", 1), event("b", 9, "10:00:09", "10:00:09", 1)]);
    let objects = list(&[pod("p", 7, "10:00:05")]);
    check(&[events, objects], &["10:00:00 p? ", "10:00:00 a 1x", "10:00:05 p Failed", "10:00:09 b 1x"]);
}

#[test]
fn merges_streams_by_time_and_version() {
    let events = watch(&[("ADDED", event("a", 4, "10:00:05", "10:00:05", 1))]);
    let pods = watch(&[
        ("ADDED", pod("p", 3, "10:00:05")),
        ("MODIFIED", pod("p", 5, "10:00:05")),
        ("DELETED", pod("p", 6, "10:00:06")),
    ]);
    let expected = ["10:00:05 p Failed", "10:00:05 a 1x", "10:00:05 p Failed", "10:00:06 p Failed gone"];
    check(&[events.clone(), pods.clone()], &expected);
    check(&[pods, events], &expected);
}

#[test]
fn tells_what_has_no_time_at_the_end() {
    let timeless = r#"{"kind":"Event","apiVersion":"v1","metadata":{"name":"x","uid":"x"},"firstTimestamp":null,"eventTime":null}"#;
    let items = [timeless.to_owned(), event("a", 5, "10:00:07", "10:00:07", 1)];
    check(&[list(&items)], &["10:00:07 a 1x", "10:00:07 x 1x"]);
}

#[test]
fn beats_through_silence_and_jumps_over_a_long_one() {
    let items = [
        event("a", 1, "00:00:00", "00:00:00", 1),
        event("b", 2, "00:00:12", "00:00:12", 1),
        event("c", 3, "09:00:00", "09:00:00", 1),
    ];
    let records: Vec<_> = timeline(&[list(&items)]).records().collect();
    let offsets: Vec<i64> = records.iter().map(|record| record.at().millis_since(records[0].at()) / 1000).collect();
    let beats = usize::try_from(LONGEST_SILENCE / BEAT).unwrap();
    assert_eq!(offsets[..6], [0, 5, 10, 12, 15, 20]);
    // a, two beats, b; the longest silence, counted from the beat at 10 s; the jump, c.
    assert_eq!(offsets[3 + beats..][..4], [7210, 9 * 3600, 9 * 3600, 9 * 3600 + 5]);
    let aftermath = usize::try_from(AFTERMATH / BEAT).unwrap();
    assert_eq!(records.len(), 3 + 2 + beats + 1 + aftermath);
    assert_eq!(*offsets.last().unwrap(), 9 * 3600 + AFTERMATH / 1000);
}
