//! The enricher in memory, on one core: bytes in, bytes out, state and all, without a log.

use std::time::Instant;

use epicenter_bus::{Driver, Record};
use epicenter_enricher::{Enricher, spec};
use epicenter_model::{
    Codec, ContainerFacts, Event, ObjectChange, ObjectFacts, ObjectRef, RawEvent, RawRecord, Timestamp,
};
use epicenter_rules::RuleSet;

use crate::report::{Report, median, thousands};

const PODS: u64 = 2_000;
const EVENTS: u64 = 200_000;
const ROUNDS: usize = 5;
const BEGAN: i64 = 1_795_435_684_036;

/// Measures, and adds the table.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    let codec = Codec::single_object();
    let encode = |offset: usize, raw: &RawRecord| -> anyhow::Result<Record> {
        Ok(Record {
            topic: "events.raw",
            offset: offset as i64,
            timestamp: raw.at().as_millis(),
            key: raw.key().into(),
            payload: Some(raw.encode(&codec)?.into()),
            ..Record::default()
        })
    };
    let objects = surroundings().into_iter().chain((0..PODS).flat_map(|n| [owner(n), pod(n)])).enumerate();
    let objects = objects.map(|(n, raw)| encode(n, &raw)).collect::<anyhow::Result<Vec<_>>>()?;
    let events = (0..EVENTS).map(|n| encode(n as usize, &event(n))).collect::<anyhow::Result<Vec<_>>>()?;
    let spec = spec();
    let mut rates = vec![];
    for round in 0..ROUNDS {
        let mut driver = Driver::new(&spec, Enricher::new(Codec::single_object(), RuleSet::builtin().classifier));
        for record in &objects {
            driver.feed(record)?;
        }
        let began = Instant::now();
        let mut emitted = 0;
        for record in &events {
            emitted += driver.feed(record)?.len();
        }
        rates.push(EVENTS as f64 / began.elapsed().as_secs_f64());
        anyhow::ensure!(emitted as u64 == EVENTS, "{emitted} records of {EVENTS} events");
        println!("round {round}: {}/s", thousands(rates[round]));
    }
    let body = format!(
        "{EVENTS} Events of {PODS} pods with owners, nodes and images: Avro in, occurrences, classification, join, Avro out; \
         medians of {ROUNDS} rounds.\n\n| | events/s on one core |\n|---|---|\n| enricher | {} |",
        thousands(median(rates))
    );
    report.section("Enricher", &body);
    Ok(())
}

fn reference(api_version: &str, kind: &str, name: String) -> ObjectRef {
    let uid = format!("{kind}-{name}");
    ObjectRef { api_version: api_version.to_owned(), kind: kind.to_owned(), namespace: "shop".to_owned(), name, uid }
}

fn change(at: i64, facts: ObjectFacts) -> RawRecord {
    RawRecord::Object(Box::new(ObjectChange {
        cluster: "bench".to_owned(),
        cluster_uid: "uid".to_owned(),
        at: Timestamp::from_millis(at),
        facts,
        ..ObjectChange::default()
    }))
}

/// What pods stand in: their namespace, nodes and Deployments.
fn surroundings() -> Vec<RawRecord> {
    let namespace = ObjectRef { namespace: String::new(), ..reference("v1", "Namespace", "shop".to_owned()) };
    let nodes = (0..50).map(|n| ObjectRef { namespace: String::new(), ..reference("v1", "Node", format!("node-{n}")) });
    let deployments = (0..PODS.div_ceil(30)).map(|n| reference("apps/v1", "Deployment", format!("web-{n}")));
    let all = std::iter::once(namespace).chain(nodes).chain(deployments);
    all.map(|object| change(BEGAN, ObjectFacts { object, zone: "eu-1a".to_owned(), ..ObjectFacts::default() }))
        .collect()
}

fn owner(n: u64) -> RawRecord {
    let object = reference("apps/v1", "ReplicaSet", format!("web-{}", n / 3));
    let owner = Some(reference("apps/v1", "Deployment", format!("web-{}", n / 30)));
    change(BEGAN, ObjectFacts { object, owner, ..ObjectFacts::default() })
}

fn pod(n: u64) -> RawRecord {
    let container = ContainerFacts { name: "app".to_owned(), ready: true, ..ContainerFacts::default() };
    let facts = ObjectFacts {
        object: reference("v1", "Pod", format!("web-{}-{n}", n / 3)),
        resource_version: "1".to_owned(),
        owner: Some(reference("apps/v1", "ReplicaSet", format!("web-{}", n / 3))),
        node: format!("node-{}", n % 50),
        phase: "Running".to_owned(),
        images: vec!["registry.example.com/shop/web:1.2.3".to_owned()],
        config_maps: vec!["web".to_owned()],
        containers: vec![container],
        ..ObjectFacts::default()
    };
    change(BEGAN, facts)
}

/// The mix of a cluster in trouble: crash loops, probes, pulls, scheduling, and repeats of the same Event.
fn event(n: u64) -> RawRecord {
    let pod = n % PODS;
    let (reason, note, component, event_type) = match n % 5 {
        0 => ("BackOff", "Back-off restarting failed container app in pod web_shop(uid)", "kubelet", "Warning"),
        1 => ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", "kubelet", "Warning"),
        2 => ("Pulling", "Pulling image \"registry.example.com/shop/web:1.2.3\"", "kubelet", "Normal"),
        3 => (
            "FailedScheduling",
            "0/50 nodes are available: 3 node(s) had untolerated taint(s), 47 Insufficient cpu. preemption: 0/50 nodes are \
             available: 50 No preemption victims found for incoming pod.",
            "default-scheduler",
            "Warning",
        ),
        _ => ("Started", "Container started", "kubelet", "Normal"),
    };
    let at = Timestamp::from_millis(BEGAN + n as i64);
    let round = (n / PODS) as i64;
    let event = Event {
        uid: format!("event-{pod}-{}", n % 5),
        namespace: "shop".to_owned(),
        name: format!("web-{}-{pod}.{}", pod / 3, n % 5),
        resource_version: n.to_string(),
        created_at: Some(at),
        regarding: reference("v1", "Pod", format!("web-{}-{pod}", pod / 3)),
        field_path: "spec.containers{app}".to_owned(),
        reason: reason.to_owned(),
        note: note.to_owned(),
        event_type: event_type.to_owned(),
        component: component.to_owned(),
        host: format!("node-{}", pod % 50),
        count: Some(round + 1),
        first_at: Some(Timestamp::from_millis(BEGAN)),
        last_at: Some(at),
        ..Event::default()
    };
    let (cluster, cluster_uid) = ("bench".to_owned(), "uid".to_owned());
    RawRecord::Event(Box::new(RawEvent { cluster, cluster_uid, at, epoch: 0, backfill: false, event }))
}
