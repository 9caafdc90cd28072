//! What is archived and what is not yet, as one.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use epicenter_archive::ask::{Archive, Filter};
use epicenter_bus::Stop;
use epicenter_model::{EnrichedEvent, Incident, IncidentChange, Severity, Timestamp};
use epicenter_runtime::{BatchSection, QuerySection};
use jiff::civil::Date;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::log::{DAY, Site, event, seed};

fn events(cluster: &str, numbers: std::ops::Range<i64>) -> Vec<EnrichedEvent> {
    numbers.map(|n| event(cluster, n, DAY + n * 60_000_000, Severity::Medium)).collect()
}

/// Both tables are there.
fn site() -> Site {
    let site = Site::new();
    let incident = Incident { id: "epc-aaaaaaaaaa".to_owned(), cluster: "a".to_owned(), ..Incident::default() };
    site.write_changes(&[IncidentChange { at: Timestamp::from_micros(DAY), incident, ..IncidentChange::default() }]);
    site
}

fn open(site: &Site) -> Archive {
    let archive = Archive::new(site.context.store.clone(), &QuerySection::default()).unwrap();
    archive.with_log(site.context.bus.clone(), site.context.codec.clone(), &site.context.config)
}

fn sql(site: &Site, archive: &Archive, query: &str) -> Value {
    let lines = site.runtime.block_on(async { archive.sql(query).await?.lines().await });
    serde_json::from_slice(&lines.unwrap().unwrap()).unwrap()
}

/// Rows, and those that are not the same as another.
fn count(site: &Site, archive: &Archive) -> (i64, i64) {
    let query = "SELECT count(*) AS n, count(DISTINCT concat_ws('/', \"cluster\", event_uid)) AS once FROM events";
    let row = sql(site, archive, query);
    (row["n"].as_i64().unwrap(), row["once"].as_i64().unwrap())
}

#[test]
fn the_newest_are_there_before_they_are_archived_and_after() {
    let site = site();
    site.write(0, &events("a", 0..20));
    site.archive(20);
    let archive = open(&site);
    assert_eq!(count(&site, &archive), (20, 20));
    site.write(0, &events("a", 20..30));
    site.write(1, &events("b", 0..15));
    site.heartbeat(1, "b", DAY + 3_600_000_000);
    let names = |limit: u32| {
        let mut filter = Filter::new(Timestamp::from_micros(DAY));
        filter.set("cluster", "a", filter.from).unwrap();
        let (mut after, mut names) = (None, Vec::new());
        loop {
            let limit = NonZeroU32::new(limit).unwrap();
            let page = site.runtime.block_on(archive.events(&filter, limit, after)).unwrap();
            names.extend(page.rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    };
    let expected: Vec<_> = (0..30).rev().map(|n| format!("web-{n}")).collect();
    assert_eq!((names(7), names(100)), (expected.clone(), expected.clone()));
    assert_eq!(count(&site, &archive), (45, 45));
    site.archive(45);
    assert_eq!(count(&site, &archive), (45, 45));
    assert_eq!(names(7), expected);
    assert_eq!(site.runtime.block_on(archive.missing()), None);
}

/// Whoever asks while the log is written, archived and merged finds what was written when he began, and nothing twice.
#[test]
fn each_event_counts_once_at_any_moment() {
    let rounds: u64 = std::env::var("EPICENTER_ASKS").map_or(40, |rounds| rounds.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed());
    let site = site();
    site.write(0, &events("a", 0..10));
    site.archive(10);
    let (written, begun, over, stop) = (AtomicI64::new(10), AtomicI64::new(10), AtomicBool::new(false), Stop::new());
    std::thread::scope(|scope| {
        let archiving = scope.spawn(|| epicenter_archive::run::<EnrichedEvent>(&site.context, &stop));
        let asking = scope.spawn(|| {
            let archive = open(&site);
            let mut asked = 0;
            while !over.load(Ordering::SeqCst) || asked < 5 {
                let least = written.load(Ordering::SeqCst);
                let (rows, once) = count(&site, &archive);
                let most = begun.load(Ordering::SeqCst);
                assert_eq!(rows, once, "some are there twice");
                assert!((least..=most).contains(&rows), "{rows} rows, and not from {least} to {most}");
                asked += 1;
            }
            asked
        });
        let merging = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let mut table = site.table();
                let done = site.runtime.block_on(table.compact(Date::constant(2027, 1, 1)));
                // The archive may have been quicker; then it is merged the next time.
                assert!(done.is_ok() || done.is_err_and(|error| error.is_retryable()));
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        });
        let mut next = [10, 0];
        for _ in 0..rounds {
            let cluster = random.random_range(0..2);
            let more = random.random_range(1..60);
            begun.fetch_add(more, Ordering::SeqCst);
            site.write(cluster as u32, &events(["a", "b"][cluster], next[cluster]..next[cluster] + more));
            next[cluster] += more;
            written.fetch_add(more, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(random.random_range(0..100)));
        }
        over.store(true, Ordering::SeqCst);
        merging.join().unwrap();
        println!("{} answers", asking.join().unwrap());
        stop.request();
        archiving.join().unwrap().unwrap();
    });
    let all = written.load(Ordering::SeqCst);
    assert_eq!(count(&site, &open(&site)), (all, all));
    site.archive(all as usize);
    assert_eq!((site.rows() as i64, count(&site, &open(&site))), (all, (all, all)));
}

#[test]
fn what_is_too_much_to_be_held_is_said() {
    let mut site = site();
    site.write(0, &events("a", 0..1));
    site.archive(1);
    site.context.config.batch = BatchSection { bytes: 64 * 1024, ..BatchSection::default() };
    site.write(0, &events("a", 1..6_000));
    let archive = open(&site);
    let (rows, once) = count(&site, &archive);
    assert!((2..6_000).contains(&rows) && rows == once, "{rows} {once}");
    let missing = site.runtime.block_on(archive.missing()).unwrap();
    assert!(missing.contains("the archive is behind, or does not run"), "{missing}");
    // From the oldest on, without a hole.
    let row = sql(&site, &archive, "SELECT max(\"offset\") AS last, count(DISTINCT \"offset\") AS n FROM events");
    assert_eq!(row["last"].as_i64().unwrap() + 1, row["n"].as_i64().unwrap());
    site.context.config.batch = BatchSection { seconds: 1, ..BatchSection::default() };
    site.archive(6_000);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(count(&site, &archive), (6_000, 6_000));
    assert_eq!(site.runtime.block_on(archive.missing()), None);
}

/// Files of one day and cluster that overlap in time, as after topics were created anew.
#[test]
fn files_that_overlap_are_answered_in_order() {
    let mut site = site();
    site.write(0, &events("a", 0..40));
    site.archive(40);
    let elsewhere = tempfile::tempdir().unwrap();
    site.context.bus = crate::log::open_log(elsewhere.path());
    let between: Vec<_> =
        (0..40).map(|n| event("a", 100 + n, DAY + n * 60_000_000 + 30_000_000, Severity::Low)).collect();
    site.write(0, &between);
    site.archive(80);
    let archive = open(&site);
    let limit = NonZeroU32::new(1000).unwrap();
    let page = site.runtime.block_on(archive.events(&Filter::new(Timestamp::from_micros(DAY)), limit, None)).unwrap();
    let times: Vec<_> = page.rows.iter().map(|row| row["time"].as_str().unwrap().to_owned()).collect();
    assert!(times.iter().rev().is_sorted(), "{times:?}");
    let uids: BTreeSet<_> = page.rows.iter().map(|row| row["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), 80);
}
