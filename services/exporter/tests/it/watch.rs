//! One cluster: lists, watches, and everything that ends them.

use std::collections::BTreeSet;

use epicenter_exporter::project::Kind;
use epicenter_exporter::{ExporterConfig, WatchState};
use epicenter_model::RawRecord;

use crate::fake::{Answer, Fake, LISTED, Site, event, first, installed, list, pod, refused, sent, status};

#[tokio::test(flavor = "multi_thread")]
async fn lists_what_is_there_as_backfill_then_watches_then_goes_on_after_a_restart() {
    let fake = Fake::start(|ask| match ask.verb {
        "watch" => Answer::Open(vec![
            sent("ADDED", &event("d", 11)),
            sent("MODIFIED", &event("a", 12)),
            sent("DELETED", &event("b", 13)),
            sent(
                "ADDED",
                r#"{"metadata":{"name":"own","resourceVersion":"14"},"reportingComponent":"epicenter.dev/sink"}"#,
            ),
        ]),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake.clone(), &[]);
    site.start();
    let told = [LISTED.as_slice(), &["event d@11 epoch 0", "event a@12 epoch 0"]].concat();
    site.expect(&told).await;
    site.until("the position", |site| site.position("events").is_some_and(|row| row.resource_version == "14")).await;
    assert_eq!(fake.asked("watch")[0].version(), "10");
    assert!(site.shows("epicenter_watch_up{cluster=\"c\",resource=\"events\"} 1"));
    for metric in ["epicenter_watch_last_seen_timestamp_seconds", "epicenter_exporter_ack_lag_seconds"] {
        assert!(site.metrics.text().contains(&format!("\n{metric}{{cluster=\"c\"")), "{metric}");
    }
    site.stop().await;

    fake.answer(|ask| match ask.verb {
        "watch" => Answer::Open(vec![sent("ADDED", &event("e", 15))]),
        _ => first(ask),
    });
    site.start();
    site.expect(&[told.as_slice(), &["event e@15 epoch 0"]].concat()).await;
    assert_eq!(fake.asked("check")[0].version(), "14");
    assert_eq!(fake.asked("watch")[0].version(), "14");
    assert!(fake.asked("list").is_empty());
    site.stop().await;

    let times: Vec<_> = site.records().iter().map(RawRecord::at).collect();
    assert!(times.is_sorted(), "log time goes back");
}

/// The watch ends as `ending` says; then a list brings only what is newer than the position, and a gap is recorded.
async fn check_gap(ending: fn() -> Answer, reason: &str) {
    let fake = Fake::start(first).await;
    let mut site = installed(&fake).await;
    fake.answer(move |ask| match (ask.verb, ask.version()) {
        ("watch", "10") => ending(),
        ("list", _) => list(20, "", &[event("a", 3), event("b", 12), event("f", 15)]),
        _ => first(ask),
    });
    site.start();
    let gap = format!("gap events 10 to 20: {reason}");
    site.expect(&[LISTED.as_slice(), &["event b@12 epoch 0", "event f@15 epoch 0", &gap]].concat()).await;
    site.until("the watch", |site| site.fake.asked("watch").iter().any(|ask| ask.version() == "20")).await;
    site.stop().await;
    assert_eq!(site.position("events").unwrap().resource_version, "20");
}

#[tokio::test(flavor = "multi_thread")]
async fn relists_when_the_stream_says_gone() {
    check_gap(|| Answer::Open(vec![sent("ERROR", &status(410, "Expired", ""))]), "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relists_when_the_status_says_gone() {
    check_gap(|| refused(410, "Gone", ""), "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relists_when_the_watch_closes_at_once_without_a_word() {
    check_gap(|| Answer::Ended(Vec::new()), "closed_empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_a_new_epoch_when_the_cluster_was_restored() {
    restored(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_is_new_after_a_restore_by_the_clusters_own_clock() {
    restored(600_000).await;
    restored(-600_000).await;
}

/// The cluster is restored from a snapshot; its clock is `ahead` of the exporter's, ms.
async fn restored(ahead: i64) {
    let fake = Fake::start(first).await;
    fake.ahead(ahead);
    let mut site = installed(&fake).await;
    let now = epicenter_runtime::now().plus_millis(ahead);
    let at =
        |ms: i64, name, version| event(name, version).replace("2026-11-23T11:00:00Z", &now.plus_millis(ms).to_string());
    let (before, after) = (at(-60_000, "a", 3), at(60_000, "b", 4));
    fake.answer(move |ask| match (ask.verb, ask.version()) {
        ("check", "10") => refused(504, "Timeout", "ResourceVersionTooLarge"),
        ("list", _) => list(6, "", &[before.clone(), after.clone()]),
        _ => first(ask),
    });
    site.start();
    let told = ["event a@3 epoch 1 backfill", "event b@4 epoch 1", "gap events 10 to 6: restored"];
    site.expect(&[LISTED.as_slice(), &told].concat()).await;
    site.stop().await;
    let position = site.position("events").unwrap();
    assert_eq!((position.resource_version.as_str(), position.epoch), ("6", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_a_list_again_whose_page_is_gone_and_repeats_nothing() {
    let fake = Fake::start(|ask| match (ask.verb, ask.token(), ask.nth) {
        ("list", "", 0) => list(10, "two", &[event("a", 3), event("b", 7)]),
        ("list", "two", _) => refused(410, "Expired", ""),
        ("list", "", _) => list(20, "", &[event("a", 15), event("b", 7), event("c", 5)]),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake, &[]);
    site.start();
    let told = ["event a@3 epoch 0 backfill", "event b@7 epoch 0 backfill", "event a@15 epoch 0 backfill", LISTED[2]];
    site.expect(&told).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_with_the_first_list_after_a_restart_amid_it() {
    let fake = Fake::start(|ask| match (ask.verb, ask.token()) {
        ("list", "two") => Answer::Silence,
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake.clone(), &[]);
    site.start();
    site.expect(&LISTED[..2]).await;
    site.stop().await;
    fake.answer(first);
    site.start();
    site.expect(&LISTED).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_what_it_cannot_read_into_dead_letter_and_goes_on() {
    let fake = Fake::start(|ask| match ask.verb {
        "watch" => Answer::Open(vec![
            "not json".to_owned(),
            sent("ADDED", r#"{"metadata":{"name":"x","resourceVersion":"11"},"count":"many"}"#),
            sent("ADDED", &event("long", 12).replace("BackOff", &"B".repeat(5000))),
            sent("FOO", r#"{"metadata":{"resourceVersion":"13"}}"#),
            sent("ADDED", &event("d", 14)),
        ]),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake, &[]);
    site.start();
    site.expect(&[LISTED.as_slice(), &["event d@14 epoch 0"]].concat()).await;
    site.stop().await;
    let letters = site.dead_letters();
    let errors: Vec<&str> = letters.iter().map(|letter| letter.error.as_str()).collect();
    let expected = ["malformed at `.`", "malformed at `count`", "the line has 5", "type `FOO`"];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!((letters[0].topic.as_str(), letters[0].offset), ("watch/c/events", -1));
    assert_eq!(letters[0].payload, b"not json");
    assert_eq!(site.health.snapshot().dead_letters, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_changes_of_objects_and_sweeps_after_a_list() {
    let fake = Fake::start(|ask| match (ask.resource.as_str(), ask.verb, ask.version()) {
        ("pods", "list", _) if ask.nth == 0 => list(30, "", &[pod("a", 1, "Running"), pod("b", 2, "Running")]),
        ("pods", "list", _) => list(50, "", &[pod("a", 31, "Failed")]),
        ("pods", "watch", "30") => Answer::Ended(vec![
            sent("MODIFIED", &pod("a", 31, "Failed")),
            sent("MODIFIED", &pod("a", 32, "Failed")),
            sent("DELETED", &pod("b", 33, "Running")),
            sent("BOOKMARK", r#"{"metadata":{"resourceVersion":"40"}}"#),
        ]),
        ("pods", "watch", "40") => Answer::Open(vec![sent("ERROR", &status(410, "Expired", ""))]),
        ("events", "watch", _) => Answer::Open(vec![sent("ADDED", &event("d", 11))]),
        ("events", "list", _) => list(10, "", &[]),
        (_, "watch", _) => Answer::Open(Vec::new()),
        _ => list(60, "", &[]),
    })
    .await;
    let mut site = Site::new(fake, &[Kind::Pod]);
    site.start();
    let pods = [
        "Pod a@1 listed",
        "Pod b@2 listed",
        "swept Pod",
        "Pod a@31 changed",
        "Pod b@33 deleted",
        "Pod a@31 listed",
        "swept Pod",
    ];
    site.until("all records", |site| site.told().len() == pods.len() + 1).await;
    let mut told = site.told();
    let at = told.iter().position(|record| record == "event d@11 epoch 0").unwrap();
    assert!(at > 2, "objects come first: {told:?}");
    told.remove(at);
    assert_eq!(told, pods);
    let records = site.records();
    let sweeps: Vec<_> = records
        .iter()
        .filter_map(|record| if let RawRecord::Swept(swept) = record { Some(swept) } else { None })
        .collect();
    let deleted = records.iter().find(|record| matches!(record, RawRecord::Object(object) if object.deleted)).unwrap();
    assert!(sweeps[0].since < deleted.at() && deleted.at() < sweeps[1].since, "a list sweeps what came before it");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_without_what_the_api_server_does_not_have_or_allow() {
    let fake = Fake::start(|ask| match ask.resource.as_str() {
        "horizontalpodautoscalers" => refused(404, "NotFound", ""),
        "nodes" => refused(403, "Forbidden", ""),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake.clone(), &[Kind::Node, Kind::HorizontalPodAutoscaler]);
    site.start();
    site.expect(&LISTED).await;
    let healthy = |record: &RawRecord| matches!(record, RawRecord::Heartbeat(beat) if beat.healthy);
    site.until("a healthy heartbeat", |site| site.records().iter().any(healthy)).await;
    let watches = site.health.snapshot().watches;
    assert!(matches!(watches["nodes"], WatchState::Unavailable(_)), "{watches:?}");
    assert!(matches!(watches["horizontalpodautoscalers"], WatchState::Unavailable(_)), "{watches:?}");
    site.until("another try", |_| fake.asked("list").iter().filter(|ask| ask.resource == "nodes").count() > 2).await;
    site.stop().await;
}

/// As large as etcd takes an object: an Event is too large for a record, of a pod little is kept.
#[tokio::test(flavor = "multi_thread")]
async fn takes_objects_as_large_as_an_api_server_has_them() {
    const BYTES: usize = 1_500_000;
    let large = |name: &str, version| event(name, version).replace("BackOff", &"x".repeat(BYTES));
    let listed = list(10, "", &[event("a", 3), large("aa", 4), event("b", 7)]);
    let Answer::Json(_, listed) = listed else { panic!("a list is JSON") };
    let fake = Fake::start(move |ask| match (ask.resource.as_str(), ask.verb, ask.version()) {
        ("events", "list", _) => Answer::Json(200, listed.clone()),
        ("events", "watch", "10") => {
            Answer::Open(vec![sent("ADDED", &large("watched", 11)), sent("ADDED", &event("c", 12))])
        }
        ("pods", "list", _) => {
            let spec = format!(r#""spec":{{"schedulerName":"{}"}},"status""#, "x".repeat(BYTES));
            list(30, "", &[pod("p", 1, "Running").replace(r#""status""#, &spec)])
        }
        (_, "watch", _) => Answer::Open(Vec::new()),
        _ => list(60, "", &[]),
    })
    .await;
    let mut site = Site::new(fake, &[Kind::Pod]);
    site.config.max_object_bytes = ExporterConfig::default().max_object_bytes;
    site.start();
    site.expect(&[
        "Pod p@1 listed",
        "swept Pod",
        "event a@3 epoch 0 backfill",
        "event b@7 epoch 0 backfill",
        "event c@12 epoch 0",
    ])
    .await;
    site.until("the position", |site| {
        site.position("events").is_some_and(|position| position.resource_version == "12")
    })
    .await;
    let letters = site.dead_letters();
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert!(letter.error.contains("events.raw takes") && letter.error.contains("shorten"), "{}", letter.error);
        assert!(letter.payload.len() >= 1_000_000, "{} bytes", letter.payload.len());
    }
    site.stop().await;
}

/// After an API server's restart its watch cache begins with the present: a watch from a bookmark before it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_starts_again_is_a_gap_only_when_an_object_changed_meanwhile() {
    let meanwhile = [
        (vec![pod("a", 1, "Running"), pod("b", 2, "Running")], None),
        (vec![pod("a", 1, "Running"), pod("b", 45, "Failed")], Some("gap pods 40 to 50: expired")),
        (vec![pod("a", 1, "Running")], Some("gap pods 40 to 50: expired")),
        (
            vec![pod("a", 1, "Running"), pod("b", 2, "Running"), pod("c", 41, "Pending")],
            Some("gap pods 40 to 50: expired"),
        ),
    ];
    for (pods, gap) in meanwhile {
        let fake = Fake::start(move |ask| match (ask.resource.as_str(), ask.verb, ask.version()) {
            ("pods", "list", _) if ask.nth == 0 => list(30, "", &[pod("a", 1, "Running"), pod("b", 2, "Running")]),
            ("pods", "list", _) => list(50, "", &pods),
            ("pods", "watch", "30") => {
                Answer::Ended(vec![sent("BOOKMARK", r#"{"metadata":{"resourceVersion":"40"}}"#)])
            }
            ("pods", "watch", "40") => Answer::Open(vec![sent("ERROR", &status(410, "Expired", ""))]),
            ("events", "list", _) => list(10, "", &[]),
            (_, "watch", _) => Answer::Open(Vec::new()),
            _ => list(60, "", &[]),
        })
        .await;
        let mut site = Site::new(fake, &[Kind::Pod]);
        site.start();
        let swept = |site: &Site| site.told().iter().filter(|told| *told == "swept Pod").count();
        site.until("the second list", |site| swept(site) == 2).await;
        let told = site.told();
        assert_eq!(told.iter().find(|told| told.starts_with("gap")).map(String::as_str), gap, "{told:?}");
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_that_it_is_not_healthy_while_events_cannot_be_watched() {
    let fake = Fake::start(|ask| match ask.verb {
        "watch" => refused(500, "InternalError", ""),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake, &[]);
    site.start();
    let failing = |site: &Site| matches!(site.health.snapshot().watches.get("events"), Some(WatchState::Failing(_)));
    site.until("a failing watch", failing).await;
    let beats = |site: &Site| site.records().iter().filter(|r| matches!(r, RawRecord::Heartbeat(_))).count();
    let before = beats(&site);
    site.until("more heartbeats", |site| beats(site) > before + 3).await;
    assert!(!site.records().iter().any(|record| matches!(record, RawRecord::Heartbeat(beat) if beat.healthy)));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_again_from_its_position_when_it_is_fenced() {
    let fake = Fake::start(|ask| match (ask.verb, ask.version()) {
        ("watch", "10") => Answer::Open(vec![sent("ADDED", &event("d", 11))]),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake, &[]);
    site.start();
    let told = [LISTED.as_slice(), &["event d@11 epoch 0"]].concat();
    site.expect(&told).await;
    drop(site.bus.source("exporter.cluster-1", 0, b"c/").unwrap());
    site.until("a restart", |site| site.health.snapshot().restarts == 1).await;
    site.until("its watch", |site| site.fake.asked("watch").iter().any(|ask| ask.version() == "11")).await;
    site.expect(&told).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_wait_forever_for_an_api_server_that_does_not_answer() {
    let fake = Fake::start(|ask| match (ask.verb, ask.nth) {
        ("list" | "watch", 0) => Answer::Silence,
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake, &[]);
    site.config.request_timeout_ms = 300;
    site.start();
    site.expect(&LISTED).await;
    site.until("a watch", |site| site.health.is_healthy()).await;
    site.stop().await;
}

/// Stopped and killed in turn, wherever it stands: each version once, none missing.
#[tokio::test(flavor = "multi_thread")]
async fn records_each_version_once_however_often_it_is_restarted() {
    const EVENTS: u64 = 2_000;
    let fake = Fake::start(|ask| {
        let from: u64 = ask.version().parse().unwrap_or(0);
        match ask.verb {
            "watch" => Answer::Open(
                (from + 1..=EVENTS.min(from + 300)).map(|n| sent("ADDED", &event(&format!("e{n}"), n))).collect(),
            ),
            "list" => list(1, "", &[event("e1", 1)]),
            _ => list(EVENTS, "", &[]),
        }
    })
    .await;
    let mut site = Site::new(fake, &[]);
    let mut goal = 100;
    for round in 0.. {
        if goal >= EVENTS as usize {
            break;
        }
        site.start();
        site.until("progress", |site| site.told().len() >= goal.min(EVENTS as usize)).await;
        if round % 2 == 0 {
            site.stop().await
        } else {
            site.kill().await
        }
        goal = site.told().len() + 100;
    }
    site.start();
    site.until("the end", |site| site.told().len() >= EVENTS as usize).await;
    site.stop().await;
    let told = site.told();
    let distinct: BTreeSet<_> = told.iter().map(|record| record.replace(" backfill", "")).collect();
    assert_eq!((told.len(), distinct.len()), (EVENTS as usize, EVENTS as usize));
}
