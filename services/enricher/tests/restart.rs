//! Nothing depends on when the process was restarted; the format of the private rows is pinned.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod log;

use std::fmt::Write as _;

use epicenter_bus::{Driver, Emit, StoreId};
use epicenter_model::{ObjectFacts, RawRecord};
use expect_test::expect_file;
use log::*;
use proptest::prelude::*;

const OBJECTS: StoreId = StoreId(0);
const STATE: StoreId = StoreId(1);

/// All that `records` lead to: what is emitted, and the rows that are left. `restarts`: before which records the
/// process is started anew.
fn outcome(records: &[RawRecord], restarts: &[bool]) -> (Vec<Emit>, Vec<(Vec<u8>, Vec<u8>)>) {
    let spec = epicenter_enricher::spec();
    let mut driver = Driver::new(&spec, enricher());
    let mut emits = Vec::new();
    for (offset, raw) in records.iter().enumerate() {
        if restarts.get(offset).copied().unwrap_or_default() {
            driver = driver.restart(enricher());
        }
        emits.extend(driver.feed(&record(offset, raw)).unwrap_or_default());
    }
    let rows = [OBJECTS, STATE].into_iter().flat_map(|store| {
        let entries = driver.state().scan(store, b"");
        entries.map(|(key, value)| (key.into_owned(), value.into_owned())).collect::<Vec<_>>()
    });
    (emits, rows.collect())
}

/// A record `gap` seconds after the one before.
fn any_record() -> impl Strategy<Value = (i64, u8, u8, i64)> {
    (prop_oneof![0..3_i64, 20..70_i64, 800..1000_i64, 3000..8000_i64], 0..9_u8, 0..3_u8, 1..6_i64)
}

fn log_of(choices: &[(i64, u8, u8, i64)]) -> Vec<RawRecord> {
    let mut now = 0;
    let mut records = Vec::new();
    for (version, (gap, what, which, number)) in choices.iter().enumerate() {
        now += gap;
        let name = format!("web-{which}");
        let state =
            if number % 2 == 0 { container("", *number, "OOMKilled", 137, now) } else { container("", 0, "", 0, 0) };
        let facts = ObjectFacts { containers: vec![state], ..pod_facts(&name) };
        match what {
            0 | 1 => records.push(happened(now, version as i64, *number, &name)),
            2 => records.push(changed(now, facts)),
            3 => records.push(changed(now, ObjectFacts { node: String::new(), ..facts })),
            4 => records.push(deleted(now, facts)),
            5 => records.extend(surroundings(now)),
            6 => records.push(swept(now, "v1", "Pod", now - number * 10)),
            7 => records.push(listed(now, facts)),
            _ => records.push(beat(now)),
        }
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gives_the_same_bytes_however_often_it_is_restarted(
        choices in prop::collection::vec(any_record(), 1..60),
        restarts in prop::collection::vec(any::<bool>(), 60..400),
    ) {
        let records = log_of(&choices);
        prop_assert_eq!(outcome(&records, &restarts), outcome(&records, &[]));
    }

    #[test]
    fn keeps_nothing_of_what_is_long_over(choices in prop::collection::vec(any_record(), 1..60)) {
        let mut records = log_of(&choices);
        let end = records.last().map_or(0, |raw| raw.at().millis_since(at(0)) / 1000);
        records.extend([swept(end + 1, "v1", "Pod", end + 1), beat(end + 7201)]);
        let (_, rows) = outcome(&records, &[]);
        let left: Vec<String> = rows.iter().map(|(key, _)| key.escape_ascii().to_string()).collect();
        prop_assert!(left.iter().all(|key| !key.contains("/Pod/") && !key.contains("\\x00e") && !key.contains("\\x00w")), "{left:?}");
    }
}

#[test]
fn keeps_clusters_apart_whose_names_begin_alike() {
    let of = |cluster: &str, raw: RawRecord| match raw {
        RawRecord::Object(mut change) => {
            change.cluster = cluster.to_owned();
            RawRecord::Object(change)
        }
        raw => raw,
    };
    let records = [
        of("prod", changed(1, pod_facts("web-1"))),
        of("prod/eu", changed(2, pod_facts("web-1"))),
        of("prod", deleted(3, pod_facts("web-1"))),
        beat(1000),
    ];
    let (_, rows) = outcome(&records, &[true; 4]);
    let objects: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).filter(|key| !key.contains(&0)).collect();
    assert_eq!(objects, [b"prod/eu//Pod/shop/web-1"]);
}

#[test]
fn pins_the_format_of_its_rows() {
    let (_, rows) = outcome(
        &[happened(10, 1, 3, "web-1"), changed(200, pod_facts("web-2")), deleted(201, pod_facts("web-2"))],
        &[],
    );
    let mut text = String::new();
    for (key, value) in rows.iter().filter(|(key, _)| key.contains(&0)) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    expect_file!["golden/state-v1.txt"].assert_eq(&text);
}
