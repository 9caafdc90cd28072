//! Enriched records in, changes of incidents out.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;

use epicenter_bus::{Driver, Emit, Record, StoreId};
use epicenter_catalog::Catalog;
use epicenter_correlator::{Correlator, spec};
use epicenter_model::{
    Action, Codec, Command, Context, EnrichedEvent, EnrichedRecord, Event, Heartbeat, IncidentChange, Matcher,
    ObjectRef, Silence, Timestamp,
};
use epicenter_rules::RuleSet;
use expect_test::expect;
use proptest::prelude::*;

/// Class, reason and note of Events that a cluster in trouble has.
const TROUBLE: &[(&str, &str, &str)] = &[
    ("crash.back_off", "BackOff", "Back-off restarting failed container app in pod web-1_shop(9b)"),
    ("crash.oom_killed", "OOMKilled", "Container app was killed: out of memory (exit code 137)"),
    ("image.back_off", "BackOff", "Back-off pulling image \"registry.example.com/web:1\""),
    ("sched.insufficient_cpu", "FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu."),
    ("pod.ready", "Ready", "Pod is ready"),
];

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_795_435_200_000 + second * 1000)
}

fn correlator() -> Correlator {
    Correlator::new(Codec::single_object(), RuleSet::builtin().causal)
}

fn record(offset: usize, enriched: &EnrichedRecord) -> Record {
    Record {
        topic: "events.enriched",
        offset: offset as i64,
        timestamp: enriched.at().as_millis(),
        payload: Some(enriched.encode(&Codec::single_object()).unwrap().into()),
        ..Record::default()
    }
}

fn trouble(cluster: &str, second: i64, what: usize, pod: usize, version: usize) -> EnrichedRecord {
    let (class, reason, note) = TROUBLE[what % TROUBLE.len()];
    let known = Catalog::builtin().classes().get(class).unwrap();
    let deployment = ObjectRef { api_version: "apps/v1".to_owned(), ..ObjectRef::named("Deployment", "shop", "web") };
    EnrichedRecord::Event(Box::new(EnrichedEvent {
        cluster: cluster.to_owned(),
        cluster_uid: format!("uid-{cluster}"),
        at: at(second),
        occurred_at: at(second),
        occurrences: 1,
        class: class.to_owned(),
        category: known.category,
        severity: known.severity,
        role: known.role,
        context: Context { owners: vec![deployment], node: "node-1".to_owned(), ..Context::default() },
        event: Event {
            uid: format!("{class}-{pod}"),
            namespace: "shop".to_owned(),
            name: format!("web-{pod}.{what}"),
            resource_version: version.to_string(),
            regarding: ObjectRef {
                api_version: "v1".to_owned(),
                uid: format!("pod-{pod}"),
                ..ObjectRef::named("Pod", "shop", &format!("web-{pod}"))
            },
            reason: reason.to_owned(),
            note: note.to_owned(),
            event_type: "Warning".to_owned(),
            component: "kubelet".to_owned(),
            count: Some(1),
            last_at: Some(at(second)),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }))
}

fn beat(cluster: &str, second: i64) -> EnrichedRecord {
    let cluster_uid = format!("uid-{cluster}");
    EnrichedRecord::Heartbeat(Heartbeat {
        cluster: cluster.to_owned(),
        cluster_uid,
        at: at(second),
        healthy: true,
        last: false,
    })
}

fn show(emit: &Emit) -> String {
    let change: IncidentChange = Codec::single_object().decode(emit.payload.as_ref().unwrap()).unwrap();
    assert_eq!(emit.key, format!("{}/{}", change.incident.cluster, change.incident.id).into_bytes());
    assert_eq!(emit.topic, "incident.changes");
    format!("{:?} v{} {}", change.transition, change.incident.version, change.incident.title)
}

#[test]
fn opens_and_resolves_an_incident_on_its_own_topic() {
    let spec = spec();
    let mut driver = Driver::new(&spec, correlator());
    let mut records = vec![beat("prod", 0)];
    records.extend((0..5).map(|n| trouble("prod", 10 + n, 1, 1, n as usize)));
    records.extend((4..2000).map(|n| beat("prod", n * 5)));
    let mut lines = Vec::new();
    for (offset, enriched) in records.iter().enumerate() {
        let emits = driver.feed(&record(offset, enriched)).unwrap();
        lines.extend(emits.iter().filter(|emit| emit.topic != "fleet.signals").map(show));
    }
    let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
    expect![[r#"
        Opened v1 Pod web-1 runs out of memory: 1 pod of Deployment shop/web affected
        Resolved v6 Pod web-1 runs out of memory: 1 pod of Deployment shop/web affected"#]]
    .assert_eq(&format!("{first}\n{last}"));
}

#[test]
fn names_what_it_cannot_read() {
    let spec = spec();
    let mut driver = Driver::new(&spec, correlator());
    let good = record(0, &trouble("prod", 10, 1, 1, 1));
    let cut = good.payload.as_ref().map(|payload| payload.slice(..payload.len() / 2));
    let mut errors = String::new();
    for payload in [None, cut, record(0, &beat("", 1)).payload, record(0, &beat("fleet", 1)).payload] {
        errors += &format!("{}\n", driver.feed(&Record { payload, ..good.clone() }).unwrap_err());
    }
    expect![[r#"
        a record of events.enriched has no payload: its producer is broken
        enriched-event is malformed: Failed to read bytes: failed to fill whole buffer
        "" is no name of a cluster: name it in the exporter's configuration
        `fleet` stands for all clusters together: give this one another name in the exporter's configuration
    "#]]
    .assert_eq(&errors);
    assert!(driver.state().is_empty(), "rejected records leave nothing");
}

/// Objects and Events of two clusters have the same names, and even the same uids: neither sees anything of the other.
#[test]
fn clusters_with_the_same_names_stay_apart() {
    let script = |cluster: &str, late: i64| -> Vec<EnrichedRecord> {
        let failures = (0..12).map(|n| trouble(cluster, late + 10 * n, n as usize % 4, n as usize % 3, n as usize));
        failures.chain((0..200).map(|n| beat(cluster, late + 120 + 5 * n))).collect()
    };
    let (prod, eu) = (script("prod", 0), script("prod-eu", 3));
    let mut both: Vec<_> = prod.iter().chain(&eu).cloned().collect();
    both.sort_by_key(EnrichedRecord::at);
    let changes = |records: &[EnrichedRecord], cluster: &str| -> Vec<IncidentChange> {
        let emits = outcome(records, &[]).0.into_iter().filter(|emit| emit.topic == "incident.changes");
        let changes =
            emits.map(|emit| Codec::single_object().decode::<IncidentChange>(&emit.payload.unwrap()).unwrap());
        changes.filter(|change| change.incident.cluster == cluster).collect()
    };
    let (ours, theirs) = (changes(&both, "prod"), changes(&both, "prod-eu"));
    assert_eq!((&ours, &theirs), (&changes(&prod, "prod"), &changes(&eu, "prod-eu")));
    assert!(ours.len() > 10 && ours.len() == theirs.len(), "{} and {}", ours.len(), theirs.len());
    let ids = |changes: &[IncidentChange]| changes.iter().map(|it| it.incident.id.clone()).collect::<BTreeSet<_>>();
    assert!(ids(&ours).is_disjoint(&ids(&theirs)), "an id names one incident in all the world");
}

fn said(second: i64, action: Action) -> EnrichedRecord {
    EnrichedRecord::Command(Box::new(Command {
        cluster: "prod".to_owned(),
        at: at(second),
        id: format!("c{second}"),
        by: "anna".to_owned(),
        given_at: at(second),
        why: String::new(),
        action,
    }))
}

/// Silences are a table for all to read, without those that are over.
#[test]
fn publishes_silences_and_refuses_what_cannot_be_done() {
    let spec = spec();
    let mut driver = Driver::new(&spec, correlator());
    let silence = |ends| Action::Silence { matcher: Matcher::default(), starts_at: at(10), ends_at: at(ends) };
    let table = |driver: &Driver<'_, Correlator>| -> Vec<(String, Silence)> {
        let rows = driver.state().scan(StoreId(1), b"").map(|(key, value)| {
            (String::from_utf8(key.to_vec()).unwrap(), Codec::single_object().decode(&value).unwrap())
        });
        rows.collect()
    };
    let feed = |driver: &mut Driver<'_, Correlator>, enriched: EnrichedRecord| {
        driver.feed(&record(0, &enriched)).map(|emits| emits.len()).map_err(|reject| reject.to_string())
    };
    let unknown = feed(&mut driver, said(1, silence(100))).unwrap_err();
    assert!(unknown.starts_with("command c1 of anna (silence): nothing was heard of cluster prod yet"), "{unknown}");
    feed(&mut driver, beat("prod", 10)).unwrap();
    assert_eq!(feed(&mut driver, said(20, silence(100))), Ok(0));
    assert_eq!(feed(&mut driver, said(21, silence(300))), Ok(0));
    let listed = table(&driver);
    assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["prod/c20", "prod/c21"]);
    assert_eq!((listed[0].1.by.as_str(), listed[0].1.ends_at), ("anna", at(100)));
    let mut driver = driver.restart(correlator());
    feed(&mut driver, beat("prod", 100)).unwrap();
    assert_eq!(table(&driver).len(), 1);
    let refused = feed(&mut driver, said(101, Action::Unsilence { silence: "c20".into() })).unwrap_err();
    assert!(refused.contains("cluster prod has no silence c20"), "{refused}");
    feed(&mut driver, said(102, Action::Unsilence { silence: "c21".into() })).unwrap();
    assert!(table(&driver).is_empty());
}

type Outcome = (Vec<Emit>, Vec<(Vec<u8>, Vec<u8>)>);

fn outcome(records: &[EnrichedRecord], restarts: &[bool]) -> Outcome {
    let spec = spec();
    let mut driver = Driver::new(&spec, correlator());
    let mut emits = Vec::new();
    for (offset, enriched) in records.iter().enumerate() {
        if restarts.get(offset).copied().unwrap_or_default() {
            driver = driver.restart(correlator());
        }
        emits.extend(driver.feed(&record(offset, enriched)).unwrap());
    }
    let rows = driver.state().scan(StoreId(0), b"").map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    (emits, rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gives_the_same_bytes_however_often_it_is_restarted(
        choices in prop::collection::vec(
            (prop_oneof![0..5_i64, 60..700_i64], 0..8_usize, 0..4_usize, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut now = 0;
        let mut records = Vec::new();
        for (version, (gap, what, pod, second_cluster, _)) in choices.iter().enumerate() {
            now += gap;
            let cluster = if *second_cluster { "prod-eu" } else { "prod" };
            records.push(match what {
                0..5 => trouble(cluster, now, *what, *pod, version),
                _ => beat(cluster, now),
            });
        }
        let restarts: Vec<bool> = choices.iter().map(|choice| choice.4).collect();
        prop_assert_eq!(outcome(&records, &restarts), outcome(&records, &[]));
    }
}
