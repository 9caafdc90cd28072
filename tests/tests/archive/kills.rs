//! `epicenter archive run` is killed while it writes.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::{Codec, EnrichedEvent, Incident, IncidentChange};
use epicenter_runtime::metric;
use epicenter_tests::faults::Plan;
use epicenter_tests::process::{self, Signal};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::site::{CLUSTERS, LIMIT, Site, event};

/// Events in one commit to the log.
const TOGETHER: i64 = 500;
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn each_event_is_archived_once_whenever_the_archive_is_killed() {
    let plan = Plan::new(8, 50).unwrap();
    let mut random = StdRng::seed_from_u64(plan.seed);
    let site = Site::new();
    let mut archive = site.start(&[]);
    let mut written: BTreeMap<&str, i64> = BTreeMap::new();
    for _ in 0..plan.faults {
        let until = Instant::now() + Duration::from_millis(random.random_range(200..2500));
        while Instant::now() < until {
            let cluster = CLUSTERS[random.random_range(0..CLUSTERS.len())];
            let first = *written.get(cluster).unwrap_or(&0);
            site.write_events(cluster, first..first + TOGETHER);
            written.insert(cluster, first + TOGETHER);
            std::thread::sleep(PAUSE);
        }
        archive.signal(Signal::Kill).unwrap();
        archive.wait(LIMIT).unwrap();
        archive = site.start(&[]);
    }
    let change = |version: i64| {
        let incident = Incident { id: "epc-a".into(), cluster: "a".into(), version, ..Incident::default() };
        let change = IncidentChange { at: event("a", version).at, incident, ..IncidentChange::default() };
        (change.at, Codec::single_object().encode(&change).unwrap())
    };
    site.write(topics::INCIDENT_CHANGES.name, "a", (1..=40).map(change).collect());
    let last = event("b", written.get("b").copied().unwrap_or_default()).at;
    site.write(topics::EVENTS_ENRICHED.name, "b", vec![(last, b"no record".to_vec())]);
    let total: i64 = written.values().sum();
    let rows =
        |site: &Site| site.ask("events", "SELECT count(*) AS rows FROM archive").map(|found| found[0]["rows"].clone());
    let (before, began) = (rows(&site), Instant::now());
    site.until("events", total + 1, &mut archive);
    println!("{before:?} of {total} Events were archived at the last kill, the others within {:?}", began.elapsed());
    site.until("incident_changes", 40, &mut archive);
    let shown = site.shows("/metrics");
    for metric in metric::ALL.iter().filter(|metric| metric.name.starts_with("epicenter_archive")) {
        assert!(shown.contains(&format!("# TYPE {} ", metric.name)), "nobody feeds {}:\n{shown}", metric.name);
    }
    assert!(site.shows("/readyz").contains("200 OK"), "{}", site.shows("/readyz"));
    answers(&site, total + 1);
    archive.signal(Signal::Term).unwrap();
    assert!(archive.wait(LIMIT).unwrap().success(), "{}", archive.tail());

    let counted = site.ask(
        "events",
        "SELECT count(*) AS rows, count(DISTINCT (partition, \"offset\")) AS places, count(DISTINCT event_uid) AS events, \
         sum(occurrences)::BIGINT AS occurrences, count(error) AS raw, count(DISTINCT date) AS days FROM archive",
    );
    let occurrences: i64 =
        written.iter().flat_map(|(cluster, end)| (0..*end).map(|n| event(cluster, n).occurrences)).sum();
    let counted = counted.unwrap();
    let expected =
        json!({"rows": total + 1, "places": total + 1, "events": total, "occurrences": occurrences, "raw": 1});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&counted[0][name], value, "{name} of {counted} after {} kills", plan.faults);
    }
    let disorder = site.ask(
        "events",
        "SELECT count(*) AS rows FROM (SELECT time, lag(time) OVER (PARTITION BY filename ORDER BY file_row_number) AS before \
         FROM archive) WHERE time < before",
    );
    assert_eq!(disorder.unwrap()[0]["rows"], 0, "files are sorted by time");
    let (record, at) = (event("a", 7), "2026-05-28 00:03:30+00:00");
    let found = site.ask(
        "events",
        "SELECT cluster, \"time\", category, severity, name, record FROM archive WHERE event_uid = 'a-7'",
    );
    let found = &found.unwrap()[0];
    assert_eq!((&found["cluster"], &found["time"], &found["name"]), (&json!("a"), &json!(at), &json!("web-7")));
    assert_eq!(serde_json::from_str::<EnrichedEvent>(found["record"].as_str().unwrap()).unwrap(), record);
    let history = site.ask("incident_changes", "SELECT version FROM archive WHERE incident = 'epc-a' ORDER BY version");
    assert_eq!(history.unwrap(), (1..=40).map(|version| json!({"version": version})).collect::<serde_json::Value>());
    println!("{total} Events, each once, after {} kills", plan.faults);
    tidy(&site, total + 1);
}

/// The archive says the same over HTTP and on the command line.
fn answers(site: &Site, rows: i64) {
    let shown = site.shows("/api/v1/aggregate?from=2026-05-01&to=2030-01-01");
    assert!(shown.contains(&format!("\"events\":{rows},")), "{shown}");
    let ask = |arguments: &[&str]| process::output(&mut site.command(arguments), LIMIT).unwrap();
    let found = ask(&[
        "query",
        "events",
        "--from=2026-05-01",
        "--cluster=a",
        "--name=web-7",
        "--to=2026-05-28T00:04:00Z",
        "-o",
        "json",
    ]);
    let page: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(serde_json::from_value::<EnrichedEvent>(page["rows"][0]["record"].clone()).unwrap(), event("a", 7));
    assert_eq!((page["rows"].as_array().unwrap().len(), &page["next"]), (1, &json!(null)));
    let incidents = ask(&["query", "incidents", "--from=2026-05-01", "--incident=epc-a"]);
    assert!(incidents.lines().count() == 2 && incidents.contains("epc-a"), "{incidents}");
    let counted = ask(&["aggregate", "events", "--from=2026-05-01", "--to=2030-01-01"]);
    assert!(counted.lines().nth(1).is_some_and(|line| line.starts_with(&rows.to_string())), "{counted}");
    let counted = ask(&["query", "sql", "SELECT count(DISTINCT event_uid) AS events FROM events"]);
    assert_eq!(counted, format!("{{\"events\":{}}}\n", rows - 1));
}

/// Files are merged and rows are dropped by commands, beside which nothing is lost.
fn tidy(site: &Site, rows: i64) {
    let files = |site: &Site| {
        site.ask("events", "SELECT count(DISTINCT filename) AS files FROM archive").unwrap()[0]["files"]
            .as_i64()
            .unwrap()
    };
    let before = files(site);
    let said = process::output(&mut site.command(&["archive", "compact"]), LIMIT).unwrap();
    assert!(said.starts_with("events: "), "{said}");
    let counted = site.ask("events", "SELECT count(DISTINCT (partition, \"offset\")) AS places FROM archive").unwrap();
    assert!(files(site) < before, "{said}");
    assert_eq!(counted[0]["places"], rows);
    let rules = "archive: {retention: {days: 36500, rules: [{severity: [info, low], days: 1}]}}";
    let config = site.directory.path().join("epicenter.yaml");
    fs::write(&config, rules).unwrap();
    let config = format!("--config={}", config.display());
    let said = process::output(&mut site.command(&["archive", "retain", "--dry-run", &config]), LIMIT).unwrap();
    let old = site.ask("events", "SELECT count(*) AS rows FROM archive WHERE severity IN ('info', 'low')").unwrap();
    assert!(said.starts_with(&format!("events: {} rows would be deleted\n", old[0]["rows"])), "{said}");
    process::output(&mut site.command(&["archive", "retain", &config]), LIMIT).unwrap();
    let left = site.ask("events", "SELECT count(*) AS rows FROM archive").unwrap();
    assert_eq!(left[0]["rows"].as_i64().unwrap(), rows - old[0]["rows"].as_i64().unwrap());
}
