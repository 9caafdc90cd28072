//! What rules of one's own do to Events: what goes on, and what is counted.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod log;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use epicenter_bus::Driver;
use epicenter_model::RawRecord;
use log::*;

/// Feeds records to an enricher with `rules`; what goes on, and how often each rule had which outcome.
#[track_caller]
fn check(rules: &str, records: &[RawRecord], expected: &[&str], counts: &[(&str, u64)]) {
    let counted = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let counter = Arc::clone(&counted);
    let count = move |rule: &str, outcome: &str| {
        *counter.lock().unwrap().entry(format!("{rule} {outcome}")).or_default() += 1;
    };
    let spec = epicenter_enricher::spec();
    let mut driver = Driver::new(&spec, enricher_with(rules).counted(count));
    let mut lines = Vec::new();
    for (offset, raw) in records.iter().enumerate() {
        lines.extend(driver.feed(&record(offset, raw)).unwrap().iter().filter_map(show));
    }
    assert_eq!(lines, expected);
    let expected: BTreeMap<String, u64> = counts.iter().map(|(what, times)| ((*what).to_owned(), *times)).collect();
    assert_eq!(*counted.lock().unwrap(), expected);
}

#[test]
fn what_a_rule_drops_goes_no_further_and_is_counted() {
    let rules = "events: [{id: mine, when: 'event.regarding.name == \"web-1\"', then: drop}]";
    let records = [happened(10, 1, 1, "web-1"), happened(11, 1, 1, "web-2"), happened(12, 2, 5, "web-1")];
    check(rules, &records, &["11 crash.back_off Pod shop/web-2 x1"], &[("mine drop", 2)]);
}

#[test]
fn what_a_rule_sets_goes_on_in_its_own_class() {
    let rules = "events: [{id: mine, classes: [crash.back_off], then: {class: probe.readiness}}]";
    check(rules, &[happened(10, 1, 1, "web-1")], &["10 probe.readiness Pod shop/web-1 x1"], &[("mine set", 1)]);
}

#[test]
fn a_condition_that_fails_leaves_the_meaning_and_is_counted() {
    let rules = "events: [{id: mine, when: 'event.labels.team == \"a\"', then: drop}]";
    let records = [happened(10, 1, 1, "web-1"), happened(11, 2, 2, "web-1")];
    let expected = ["10 crash.back_off Pod shop/web-1 x1", "11 crash.back_off Pod shop/web-1 x1"];
    check(rules, &records, &expected, &[("mine failed", 2)]);
}
