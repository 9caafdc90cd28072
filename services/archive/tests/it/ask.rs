//! What an archive answers, and what it does not.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use epicenter_archive::ArchiveError;
use epicenter_archive::ask::{Aggregate, Archive, Filter, Group, Of, Page, Row};
use epicenter_model::{
    Cause, Incident, IncidentChange, IncidentState, Member, ObjectRef, Severity, Timestamp, Transition,
};
use epicenter_runtime::{Access, QuerySection, TokenConfig};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::log::{DAY, Site, event};

const A_DAY: i64 = 86_400_000_000;
/// A week after the first Event.
pub const NOW: Timestamp = Timestamp::from_micros(DAY + 7 * A_DAY);

/// Three days of two clusters, an Event each minute of their first hours, and three incidents.
pub fn site() -> Site {
    let site = Site::new();
    for (partition, cluster) in [(0, "a"), (1, "b")] {
        let events = (0..3).flat_map(|day| {
            (0..20).map(move |n| {
                let number = day * 20 + n;
                let severity = if number % 5 == 0 { Severity::Critical } else { Severity::Info };
                event(cluster, number, DAY + day * A_DAY + n * 60_000_000, severity)
            })
        });
        site.write(partition, &events.collect::<Vec<_>>());
    }
    site.archive(120);
    let change = |id: &str, version: i64, minute: i64, members: &[i64]| {
        let at = |minute: i64| Timestamp::from_micros(DAY + minute * 60_000_000);
        let resolved = version == 3;
        let members = members.iter().map(|n| Member { event_uid: format!("uid-{n}"), ..Member::default() }).collect();
        let incident = Incident {
            id: id.to_owned(),
            cluster: "a".to_owned(),
            version,
            title: format!("Registry of {id} is away"),
            state: if resolved { IncidentState::Resolved } else { IncidentState::Open },
            severity: Severity::High,
            cause: Cause { object: ObjectRef::named("Pod", "shop", "web-1"), ..Cause::default() },
            opened_at: at(0),
            last_event_at: at(minute),
            resolved_at: resolved.then(|| at(minute)),
            members,
            ..Incident::default()
        };
        IncidentChange { at: at(minute), transition: Transition::Updated, incident, ..IncidentChange::default() }
    };
    site.write_changes(&[
        change("epc-aaaaaaaaaa", 1, 0, &[0, 1]),
        change("epc-bbbbbbbbbb", 1, 1, &[2]),
        change("epc-aaaaaaaaaa", 2, 5, &[5]),
        change("epc-aaaaaaaaaa", 3, 10, &[]),
        change("epc-cccccccccc", 1, 2000, &[]),
    ]);
    site
}

pub fn open(site: &Site, limits: QuerySection) -> Archive {
    Archive::new(site.context.store.clone(), &limits).unwrap()
}

fn filter(asked: &[(&str, &str)]) -> Filter {
    let mut filter = Filter::new(NOW);
    for (key, value) in asked {
        assert!(filter.set(key, value, NOW).unwrap(), "{key}");
    }
    filter
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn names(page: &Page, column: &str) -> Vec<String> {
    page.rows.iter().map(|row| row[column].as_str().unwrap().to_owned()).collect()
}

#[test]
fn finds_events_by_what_they_are() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let check = |asked: &[(&str, &str)], expected: usize| {
        let found = site.runtime.block_on(archive.events(&filter(asked), number(1000), None)).unwrap();
        assert_eq!((found.rows.len(), found.next), (expected, None), "{asked:?}");
        found
    };
    check(&[], 120);
    check(&[("cluster", "a")], 60);
    check(&[("cluster", "a,b"), ("severity", "critical")], 24);
    check(&[("from", "2026-11-21"), ("to", "2026-11-22")], 40);
    check(&[("from", "2026-11-20T00:05:00Z"), ("to", "2026-11-20T00:06:00Z")], 2);
    check(&[("name", "web-3,web-4"), ("kind", "Pod"), ("namespace", "shop"), ("reason", "Unhealthy")], 4);
    check(&[("category", "node")], 0);
    check(&[("class", "probe.unhealthy"), ("text", "IT'S \"503\"")], 120);
    check(&[("text", "' OR TRUE --")], 0);
    check(&[("cluster", "a"), ("incident", "epc-aaaaaaaaaa")], 3);
    check(&[("incident", "epc-nonesuch00")], 0);
    check(&[("to", "2026-11-01")], 0);
    let found = check(&[("cluster", "a"), ("name", "web-7")], 1);
    let expected = event("a", 7, DAY + 7 * 60_000_000, Severity::Info);
    assert_eq!(found.rows[0]["record"], serde_json::to_value(&expected).unwrap());
    assert_eq!(found.rows[0]["time"], "2026-11-20T00:07:00Z");
}

#[test]
fn pages_hold_each_row_once_the_newest_first() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = site.runtime.block_on(archive.events(&filter(&[]), number(7), after)).unwrap();
        assert!(page.rows.len() == 7 || page.next.is_none());
        seen.extend(page.rows.iter().map(|row| (row["time"].clone(), row["partition"].clone(), row["offset"].clone())));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 120);
    let order = |row: &(Value, Value, Value)| (row.0.as_str().unwrap().to_owned(), -row.1.as_i64().unwrap());
    assert!(seen.windows(2).all(|two| order(&two[0]) >= order(&two[1])), "{seen:?}");
    seen.sort_by_key(|row| (row.1.as_i64(), row.2.as_i64()));
    seen.dedup();
    assert_eq!(seen.len(), 120);
}

#[test]
fn an_incident_is_put_together_of_its_changes() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let ask =
        |id: &str, most: usize, access: &Access| site.runtime.block_on(archive.incident(id, most, access)).unwrap();
    let whole = ask("epc-aaaaaaaaaa", 10, &Access::whole()).unwrap();
    let members: Vec<_> = whole.members.iter().map(|member| member.event_uid.as_str()).collect();
    assert_eq!(
        (whole.version, whole.state, &members[..]),
        (3, IncidentState::Resolved, &["uid-0", "uid-1", "uid-5"][..])
    );
    assert_eq!(ask("epc-aaaaaaaaaa", 2, &Access::whole()).unwrap().members.len(), 2);
    for other in ["epc-aaaaaaaaa", "epc-nonesuch00", "' OR TRUE --"] {
        assert_eq!(ask(other, 10, &Access::whole()), None, "{other}");
    }
    let of =
        |namespace: &str| Access::of(&TokenConfig { namespaces: vec![namespace.into()], ..TokenConfig::default() });
    assert!(ask("epc-aaaaaaaaaa", 10, &of("shop")).is_some() && ask("epc-aaaaaaaaaa", 10, &of("bank")).is_none());
}

#[test]
fn incidents_are_as_they_were_at_the_end_of_the_time() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let check = |asked: &[(&str, &str)], expected: &[(&str, i64, &str)]| {
        let page = site.runtime.block_on(archive.incidents(&filter(asked), number(10), None)).unwrap();
        let found = page.rows.iter().map(|row| {
            (row["incident"].as_str().unwrap(), row["version"].as_i64().unwrap(), row["state"].as_str().unwrap())
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{asked:?}");
    };
    let (a, b, c) = ("epc-aaaaaaaaaa", "epc-bbbbbbbbbb", "epc-cccccccccc");
    check(&[], &[(c, 1, "open"), (a, 3, "resolved"), (b, 1, "open")]);
    check(&[("to", "2026-11-20T00:06:00Z")], &[(a, 2, "open"), (b, 1, "open")]);
    check(&[("incident", "epc-a,epc-b"), ("severity", "high")], &[(a, 3, "resolved"), (b, 1, "open")]);
    check(&[("text", "registry of EPC-B")], &[(b, 1, "open")]);
    check(&[("severity", "low")], &[]);
    let first = site.runtime.block_on(archive.incidents(&filter(&[]), number(2), None)).unwrap();
    assert_eq!(names(&first, "incident"), [c, a]);
    let second = site.runtime.block_on(archive.incidents(&filter(&[]), number(2), first.next)).unwrap();
    assert_eq!((names(&second, "incident"), second.next), (vec![b.to_owned()], None));
}

#[test]
fn counts_by_groups_and_stretches() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let ask = |of: Of, by: &[Group], every: Option<u32>, asked: &[(&str, &str)]| {
        let how = Aggregate { of, by: by.to_vec(), every: every.map(number), limit: number(10) };
        let rows = site.runtime.block_on(archive.aggregate(&filter(asked), &how, NOW)).unwrap();
        let columns = how.columns();
        assert!(rows.iter().all(|row: &Row| row.keys().all(|key| columns.contains(&key.as_str()))), "{rows:?}");
        Value::from_iter(rows)
    };
    assert_eq!(
        ask(Of::Events, &[Group::Severity], None, &[("cluster", "a")]),
        json!([
            {"severity": "info", "events": 48, "occurrences": 96, "per_hour": 96.0 / 168.0, "objects": 48},
            {"severity": "critical", "events": 12, "occurrences": 24, "per_hour": 24.0 / 168.0, "objects": 12},
        ])
    );
    assert_eq!(
        ask(Of::Events, &[Group::Cluster], Some(86_400), &[("to", "2026-11-21")]),
        json!([
            {"since": "2026-11-20T00:00:00Z", "cluster": "a", "events": 20, "occurrences": 39, "per_hour": 39.0 / 24.0, "objects": 20},
            {"since": "2026-11-20T00:00:00Z", "cluster": "b", "events": 20, "occurrences": 39, "per_hour": 39.0 / 24.0, "objects": 20},
        ])
    );
    assert_eq!(ask(Of::Events, &[], None, &[("incident", "epc-aaaaaaaaaa"), ("cluster", "a")])[0]["events"], 3);
    let incidents = ask(Of::Incidents, &[Group::State], None, &[]);
    let expected = json!([
        {"state": "open", "incidents": 2, "open": 2, "occurrences": 0, "per_hour": 2.0 / 168.0,
         "active_p50": 60_030.0, "active_p95": 120_000.0},
        {"state": "resolved", "incidents": 1, "open": 0, "occurrences": 0, "per_hour": 1.0 / 168.0,
         "active_p50": 600.0, "active_p95": 600.0, "resolved_p50": 600.0, "resolved_p95": 600.0},
    ]);
    assert_eq!(incidents, expected);
    let how = Aggregate { of: Of::Incidents, by: vec![Group::Reason], every: None, limit: number(1) };
    let wrong = site.runtime.block_on(archive.aggregate(&filter(&[]), &how, NOW)).unwrap_err();
    assert_eq!(wrong.to_string(), "by: `reason` is no column of incidents");
}

async fn answer(archive: &Archive, query: &str) -> Result<Vec<Value>, ArchiveError> {
    let mut answer = archive.sql(query).await?;
    let mut lines = Vec::new();
    while let Some(more) = answer.lines().await? {
        lines.extend(more);
    }
    let lines = String::from_utf8(lines).unwrap();
    Ok(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn sql(site: &Site, archive: &Archive, query: &str) -> Result<Vec<Value>, ArchiveError> {
    site.runtime.block_on(answer(archive, query))
}

#[test]
fn sql_reads_and_does_nothing_else() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let ask = |query: &str| sql(&site, &archive, query);
    assert_eq!(
        ask("SELECT \"cluster\", count(*) AS n FROM events GROUP BY 1 ORDER BY 1").unwrap(),
        [json!({"cluster": "a", "n": 60}), json!({"cluster": "b", "n": 60})]
    );
    assert_eq!(ask("SELECT max(version) AS v FROM incident_changes").unwrap(), [json!({"v": 3})]);
    assert!(ask("DESCRIBE events").unwrap().iter().any(|row| row["column_name"] == "occurrences"));
    assert_eq!(ask("SELECT name FROM events WHERE FALSE").unwrap(), [] as [Value; 0]);
    let before = files(&site);
    for query in [
        "DROP TABLE events",
        "INSERT INTO events SELECT * FROM events",
        "DELETE FROM events",
        "UPDATE events SET name = 'x'",
        "CREATE TABLE mine AS SELECT * FROM events",
        "CREATE VIEW mine AS SELECT * FROM events",
        "CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION '/etc/passwd'",
        "COPY events TO '/tmp/stolen.csv'",
        "COPY (SELECT 1) TO '/tmp/stolen.csv' STORED AS CSV",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM generate_series(1, 1000000000000)",
        "SELECT repeat('x', 1000000000)",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT 1; SELECT 2",
        "SELECT nonesuch FROM events",
        "no SQL at all",
        "",
    ] {
        let error = ask(query).unwrap_err();
        assert!(matches!(error, ArchiveError::Malformed(_)), "{query}: {error}");
        assert!(error.to_string().contains("Ask one SELECT of the tables"), "{query}: {error}");
    }
    assert_eq!(files(&site), before);
}

/// Every file of the archive, and its size.
fn files(site: &Site) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    let mut folders = vec![site.directory.path().join("archive")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => folders.push(entry.path()),
                metadata => drop(all.insert(entry.path(), metadata.len())),
            }
        }
    }
    all
}

#[test]
fn a_question_without_end_ends() {
    let site = site();
    let many = "FROM events a, events b, events c, events d, events e, events f";
    let impatient = open(&site, QuerySection { seconds: 3, ..QuerySection::default() });
    // More of them than are answered at a time, and than there are threads for.
    let query = format!("SELECT count(*) {many} WHERE a.name < b.name");
    for answer in site.runtime.block_on(join_all((0..6).map(|_| answer(&impatient, &query)))) {
        let error = answer.unwrap_err();
        assert!(matches!(error, ArchiveError::TooLong { seconds: 3 }), "{error}");
    }
    // They have ended, and not only for those who asked.
    assert_eq!(sql(&site, &impatient, "SELECT count(*) AS n FROM events").unwrap(), [json!({"n": 120})]);
    let narrow = open(&site, QuerySection { seconds: 60, memory: 4 << 20 });
    let sorted = format!("SELECT a.record, b.record {many} ORDER BY c.record");
    let error = sql(&site, &narrow, &sorted).unwrap_err();
    assert!(matches!(error, ArchiveError::TooMuch { mebibytes: 4 }), "{error}");
    assert!(error.to_string().contains("raise archive.query.memory"), "{error}");
    // Who comes after is answered.
    assert_eq!(sql(&site, &narrow, "SELECT count(*) AS n FROM events").unwrap(), [json!({"n": 120})]);
    // As deep as it may be, and deeper.
    let long = |terms: usize| format!("SELECT {} AS n", vec!["1"; terms].join("+"));
    assert_eq!(sql(&site, &narrow, &long(298)).unwrap(), [json!({"n": 298})]);
    for query in [long(100_000), format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000))] {
        let error = sql(&site, &narrow, &query).unwrap_err();
        assert!(error.to_string().contains("operators, brackets and words of SQL"), "{error}");
    }
}

#[test]
fn reads_no_more_files_than_it_must() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let explain = |condition: &str| {
        let query = format!("EXPLAIN ANALYZE VERBOSE SELECT record FROM events WHERE {condition}");
        sql(&site, &archive, &query)
            .unwrap()
            .iter()
            .map(|row| row["plan"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    let days = |plan: &str| ["2026-11-20", "2026-11-21", "2026-11-22"].map(|day| plan.contains(&format!("date={day}")));
    assert_eq!(days(&explain("TRUE")), [true; 3]);
    assert_eq!(days(&explain("date = '2026-11-21'")), [false, true, false]);
    let plan = explain("date >= '2026-11-21' AND time >= '2026-11-22T00:05:00Z'");
    assert_eq!(days(&plan), [false, false, true], "{plan}");
}

/// A week with an incident each day, of which two Events are members.
fn week() -> Site {
    let site = Site::new();
    let at = |day: i64, minute: i64| Timestamp::from_micros(DAY + day * A_DAY + minute * 60_000_000);
    let events = (0..7).flat_map(|day| (0..20).map(move |n| (day * 20 + n, at(day, n))));
    let events: Vec<_> = events.map(|(n, at)| event("a", n, at.as_micros(), Severity::Low)).collect();
    site.write(0, &events);
    site.archive(140);
    let change = |day: i64, version: i64, member: i64| {
        let ended = version == 2;
        let at = at(day, member);
        let uid = format!("uid-{}", day * 20 + member);
        let incident = Incident {
            id: format!("epc-{day:010}"),
            cluster: "a".to_owned(),
            version,
            state: if ended { IncidentState::Resolved } else { IncidentState::Open },
            opened_at: Timestamp::from_micros(DAY + day * A_DAY),
            last_event_at: at,
            resolved_at: ended.then_some(at),
            members: vec![Member { event_uid: uid, ..Member::default() }],
            ..Incident::default()
        };
        IncidentChange { at, transition: Transition::Updated, incident, ..IncidentChange::default() }
    };
    let changes = (0..7).flat_map(|day| [change(day, 1, 0), change(day, 2, 10)]);
    site.write_changes(&changes.collect::<Vec<_>>());
    site
}

/// Breaks the files of these days, by their number: whoever reads them, fails.
fn spoil(site: &Site, table: &str, days: impl IntoIterator<Item = i64>) {
    for day in days {
        let folder = format!("archive/{table}/date=2026-11-{}/cluster=a", 20 + day);
        for file in std::fs::read_dir(site.directory.path().join(folder)).unwrap() {
            std::fs::write(file.unwrap().path(), "spoiled").unwrap();
        }
    }
}

#[test]
fn an_incident_leaves_files_closed_of_days_that_it_was_not_in() {
    let site = week();
    // Of Events the day before an incident is read, too; of changes all that is newer.
    spoil(&site, "events", [0, 1, 2, 5, 6]);
    spoil(&site, "incident_changes", [0, 1, 2, 3]);
    let archive = open(&site, QuerySection::default());
    let (id, other) = ("epc-0000000004", "epc-0000000001");
    let events = |asked: &[(&str, &str)]| site.runtime.block_on(archive.events(&filter(asked), number(10), None));
    let found = events(&[("incident", id)]).unwrap();
    assert_eq!(names(&found, "name"), ["web-90", "web-80"]);
    let incident = |id: &str| site.runtime.block_on(archive.incident(id, 10, &Access::whole()));
    let whole = incident(id).unwrap().unwrap();
    assert_eq!((whole.version, whole.members.len()), (2, 2));
    let asked = filter(&[("incident", id)]);
    let page = site.runtime.block_on(archive.incidents(&asked, number(10), None)).unwrap();
    assert_eq!((names(&page, "state"), page.next), (vec!["resolved".to_owned()], None));
    let how = Aggregate { of: Of::Events, by: vec![Group::Name], every: None, limit: number(10) };
    assert_eq!(site.runtime.block_on(archive.aggregate(&asked, &how, NOW)).unwrap().len(), 2);
    // Others are in files that are spoiled.
    for error in [events(&[]).unwrap_err(), events(&[("incident", other)]).unwrap_err(), incident(other).unwrap_err()] {
        assert!(matches!(error, ArchiveError::Unreadable { .. }), "{error}");
    }
}

#[test]
fn what_is_broken_or_foreign_in_the_store_is_said_or_left_alone() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let folder = site.directory.path().join("archive/events/date=2026-11-20/cluster=a");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&file, folder.join("foreign.parquet")).unwrap();
    std::fs::write(folder.join("another.parquet"), "no Parquet").unwrap();
    let of = |asked: &[(&str, &str)]| site.runtime.block_on(archive.events(&filter(asked), number(1000), None));
    assert_eq!(of(&[]).unwrap().rows.len(), 120, "Delta's log names its files");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let again = open(&site, QuerySection::default());
    let of = |asked: &[(&str, &str)]| site.runtime.block_on(again.events(&filter(asked), number(1000), None));
    assert_eq!(of(&[("from", "2026-11-21")]).unwrap().rows.len(), 80);
    let error = of(&[]).unwrap_err();
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name) && error.to_string().contains("Restore the file"), "{error}");
}

#[test]
fn where_nothing_was_archived_that_is_said() {
    let site = Site::new();
    let error = sql(&site, &open(&site, QuerySection::default()), "SELECT 1").unwrap_err();
    assert!(matches!(error, ArchiveError::Absent { table: "events" }), "{error}");
}
