//! Every record is in the table once, whatever happens on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_bus::Stop;
use epicenter_model::{EnrichedEvent, Severity, Timestamp};
use object_store::local::LocalFileSystem;

use crate::flaky::Flaky;
use crate::log::{DAY, Site, emit, event, seed};

fn events(cluster: &str, numbers: std::ops::Range<i64>) -> Vec<EnrichedEvent> {
    numbers.map(|n| event(cluster, n, DAY + n * 1_000_000, Severity::Medium)).collect()
}

/// A site whose store fails so many times.
fn failing(times: u32) -> Site {
    Site::over(Arc::new(Flaky::new(Arc::new(LocalFileSystem::new()), seed(), times)))
}

#[test]
fn what_is_archived_is_the_whole_record_in_columns_and_as_json() {
    let site = Site::new();
    site.write(0, &events("a", 0..3));
    site.heartbeat(0, "a", DAY + 5_000_000);
    site.write(1, &events("b:1", 3..4));
    let at = Timestamp::from_micros(DAY + 86_400_000_000);
    site.emit(1, &[emit("b:1/shop", at, Some("no Avro".into())), emit("", at, None)]);
    site.archive(6);

    let shown = site.query("SELECT \"date\", \"cluster\", time, occurred_at, namespace, kind, name, uid, reason, type FROM events WHERE \"offset\" = 0 ORDER BY \"cluster\"");
    let row = |cluster: &str, n: i64| {
        let rest =
            ["shop", "Pod", &format!("web-{n}"), &format!("pod-uid-{n}"), "Unhealthy", "Warning"].map(str::to_owned);
        let first =
            ["2026-11-20", cluster, &format!("2026-11-20T00:00:0{n}Z"), &format!("2026-11-20T00:00:0{}Z", n - 1)]
                .map(str::to_owned);
        [first.to_vec(), rest.to_vec()].concat()
    };
    let mut first = row("a", 0);
    first[3] = "2026-11-19T23:59:59Z".to_owned();
    assert_eq!(shown, [first, row("b:1", 3)]);
    let shown = site.query("SELECT category, severity, class, role, component, node, workload, occurrences, event_uid, message, error FROM events WHERE name = 'web-3'");
    let expected = [
        "probe",
        "medium",
        "probe.unhealthy",
        "noise",
        "kubelet",
        "n1",
        "",
        "1",
        "uid-3",
        "Readiness probe failed: it's \"503\"",
        "",
    ];
    assert_eq!(shown, [expected]);
    let json = &site.query("SELECT record FROM events WHERE name = 'web-3'")[0][0];
    assert_eq!(serde_json::from_str::<EnrichedEvent>(json).unwrap(), events("b:1", 3..4)[0]);
    let raw = site.query(
        "SELECT \"date\", \"cluster\", error, raw, record FROM events WHERE error IS NOT NULL ORDER BY \"offset\"",
    );
    let text = "7 bytes that begin with 6E6F2041 are neither single-object Avro (C3 01) nor Confluent-framed (00): the producer wrote something else to this topic";
    assert_eq!(raw[0], ["2026-11-21", "b:1", text, "6e6f204176726f", ""]);
    assert_eq!((raw[1][1].as_str(), raw.len()), ("unknown", 2));
    assert!(
        site.context.metrics.text().contains("epicenter_archived_records_total{table=\"events\",outcome=\"raw\"} 2\n")
    );
}

#[test]
fn what_is_dated_after_tomorrow_is_under_tomorrow() {
    let site = Site::new();
    let decades = 9_000 * 86_400_000_000;
    let ahead: Vec<_> = (0..30).map(|n| event("a", n, DAY + decades + n * 86_400_000_000, Severity::Low)).collect();
    site.write(0, &ahead);
    site.archive(30);
    let found = site.query("SELECT count(DISTINCT \"date\") < 3, max(time) < now() + INTERVAL '2 days' FROM events");
    assert_eq!(found, [["true", "true"]]);
    let json = &site.query("SELECT record FROM events WHERE name = 'web-29'")[0][0];
    assert_eq!(serde_json::from_str::<EnrichedEvent>(json).unwrap(), ahead[29]);
}

#[test]
fn goes_on_where_the_table_is() {
    let site = Site::new();
    for round in 0..3 {
        site.write(0, &events("a", round * 40..round * 40 + 40));
        site.archive(usize::try_from(round * 40 + 40).unwrap());
    }
    assert_eq!(site.times(), (0..120).map(|offset| ((0, offset), 1)).collect::<BTreeMap<_, _>>());
}

#[test]
fn a_store_that_fails_loses_and_repeats_nothing() {
    let site = failing(6);
    let mut numbers = 0..;
    for _ in 0..20 {
        let n: i64 = numbers.nth(29).unwrap();
        site.write(0, &events("a", n - 29..n + 1));
        site.write(1, &events("b", n - 29..n + 1));
    }
    site.run(|| site.rows() >= 1200).unwrap();
    let once: BTreeMap<_, _> =
        (0..2).flat_map(|partition| (0..600).map(move |offset| ((partition, offset), 1))).collect();
    // What was read last may have met a failure when the archive stopped.
    site.archive(1200);
    assert_eq!(site.times(), once);
    let metrics = site.context.metrics.text();
    assert!(metrics.contains("epicenter_archive_failures_total{table=\"events\"}"), "nothing failed:\n{metrics}");
    assert!(site.context.health.is_ready(), "{:?}", site.context.health.report());
}

#[test]
fn files_of_more_clusters_than_are_open_at_a_time_have_all_rows_once() {
    const CLUSTERS: i64 = 20;
    const EACH: i64 = 600;
    let mut site = failing(3);
    site.context.config.batch.rows = usize::try_from(CLUSTERS * EACH * 2 / 3).unwrap();
    for n in 0..EACH / 20 {
        for cluster in 0..CLUSTERS {
            site.write(0, &events(&format!("c{cluster}"), n * 20..n * 20 + 20));
        }
    }
    site.archive(usize::try_from(CLUSTERS * EACH).unwrap());
    assert_eq!(site.times(), (0..CLUSTERS * EACH).map(|offset| ((0, offset), 1)).collect::<BTreeMap<_, _>>());
    let each = site.query("SELECT DISTINCT count(*) FROM events GROUP BY \"cluster\"");
    assert_eq!(each, [[EACH.to_string()]]);
}

#[test]
fn two_processes_at_once_repeat_nothing() {
    let site = Site::new();
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| epicenter_archive::run::<EnrichedEvent>(&site.context, &stop));
        scope.spawn(|| {
            for n in 0..20 {
                site.write(n % 2, &events("a", n as i64 * 40..n as i64 * 40 + 40));
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        site.archive(800);
        stop.request();
        second.join().unwrap().unwrap();
    });
    let once = (0..2).flat_map(|partition| (0..400).map(move |offset| ((partition, offset), 1)));
    assert_eq!(site.times(), once.collect::<BTreeMap<_, _>>());
}

#[test]
fn a_log_that_begins_anew_is_archived_from_its_beginning() {
    let mut site = Site::new();
    site.write(0, &events("a", 0..10));
    site.archive(10);
    let elsewhere = tempfile::tempdir().unwrap();
    site.context.bus = crate::log::open_log(elsewhere.path());
    site.write(0, &events("a", 0..5));
    site.archive(15);
}

#[test]
fn another_ones_table_is_left_alone() {
    let site = Site::new();
    let url = site.url().join("events/").unwrap();
    std::fs::create_dir_all(url.to_file_path().unwrap()).unwrap();
    site.runtime.block_on(async {
        let table = deltalake::DeltaTable::try_from_url(url).await.unwrap();
        table.create().with_column("cluster", deltalake::kernel::DataType::STRING, true, None).await.unwrap();
    });
    let error = site.run(|| false).unwrap_err();
    assert!(
        error.to_string().contains("has no column date of type date: it is the table of something else"),
        "{error}"
    );
}
