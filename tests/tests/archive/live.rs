//! What is archived and what is not yet, as one: over HTTP, and on the command line, which reads tables and log itself.

use std::time::{Duration, Instant};

use epicenter_tests::process::{self, Signal};
use serde_json::Value;

use crate::site::{CLUSTERS, LIMIT, Site};

const ALL: &str = "/api/v1/aggregate?from=2026-05-01&to=2030-01-01";

/// Events that the archive counts, and what it says that it misses.
fn counted(site: &Site) -> (i64, Value) {
    let shown = site.shows(ALL);
    let body = shown.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {shown}"));
    (answer["rows"][0]["events"].as_i64().unwrap_or_else(|| panic!("{shown}")), answer["missing"].clone())
}

/// The archive counts `all` Events, when there were `before` until a moment ago: who wrote them knows it a moment before readers do.
#[track_caller]
fn counts(site: &Site, before: i64, all: i64) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (events, missing) = counted(site);
        assert!(missing.is_null() && (before..=all).contains(&events), "{events} of {all}: {missing}");
        if events == all {
            return;
        }
        assert!(Instant::now() < deadline, "{events} of {all}");
    }
}

#[test]
fn each_event_counts_once_before_while_and_after_it_is_archived() {
    let mut site = Site::new();
    let mut archive = site.start(&[]);
    site.write_events("a", 0..100);
    site.until("events", 100, &mut archive);
    let (mut written, mut answers) = ([100, 0], 0);
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        for (cluster, next) in CLUSTERS.iter().zip(&mut written) {
            site.write_events(cluster, *next..*next + 300);
            *next += 300;
        }
        // It is written, so it is there; also while it is committed, and files are merged.
        let all = written.iter().sum();
        counts(&site, all - 600, all);
        answers += 1;
        if answers == 5 {
            process::output(&mut site.command(&["archive", "compact"]), LIMIT).unwrap();
        }
        if answers % 4 == 0 {
            archive.kill().unwrap();
            archive = site.start(&[]);
            archive.until(LIMIT, |_| epicenter_tests::ports::answers(site.admin())).unwrap();
        }
    }
    let all: i64 = written.iter().sum();
    let query = "SELECT count(*) AS n, count(DISTINCT concat_ws('/', \"cluster\", event_uid)) AS once FROM events";
    let said = process::output(&mut site.command(&["query", "sql", query]), LIMIT).unwrap();
    assert_eq!(said, format!("{{\"n\":{all},\"once\":{all}}}\n"), "on the command line");
    // One that is stopped writes what it has read by then, which need not be all.
    site.until("events", all, &mut archive);
    archive.signal(Signal::Term).unwrap();
    assert!(archive.wait(LIMIT).unwrap().success(), "{}", archive.tail());
    assert_eq!(site.ask("events", "SELECT count(*) AS n FROM archive").unwrap()[0]["n"], all);

    // Nothing of it is archived: the brokers know it, until they are away.
    let mut archive =
        site.start(&[("EPICENTER_ARCHIVE__BATCH__SECONDS", "3600"), ("EPICENTER_ARCHIVE__BATCH__ROWS", "1000000")]);
    archive.until(LIMIT, |_| epicenter_tests::ports::answers(site.admin())).unwrap();
    site.write_events("b", written[1]..written[1] + 40);
    counts(&site, all, all + 40);
    let (_, metrics) = epicenter_tests::http::get(site.admin(), "/metrics").unwrap();
    assert!(metrics.contains("# TYPE epicenter_question_seconds "), "nobody feeds it:\n{metrics}");
    site.kafka.end(Signal::Kill).unwrap();
    let deadline = Instant::now() + LIMIT;
    let missing = loop {
        let (events, missing) = counted(&site);
        // What was read before is known; a process that begins has only what is archived.
        assert_eq!(events, all + 40);
        if let Value::String(missing) = missing {
            break missing;
        }
        assert!(Instant::now() < deadline, "{}", archive.tail());
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(
        missing.starts_with("what is newer than the archive is not in it, or not all of it: the brokers do not answer"),
        "{missing}"
    );
    let said = site.command(&["query", "sql", query]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("{{\"n\":{all},\"once\":{all}}}\n"));
    assert!(String::from_utf8_lossy(&said.stderr).contains("what is newer than the archive"), "{said:?}");
    archive.kill().unwrap();
}
