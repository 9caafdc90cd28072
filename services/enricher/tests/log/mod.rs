//! A cluster's raw log for tests: what to feed, and how to show what comes of it.
// Each test uses its part of it.
#![allow(dead_code)]

use epicenter_bus::{Driver, Emit, Record};
use epicenter_enricher::Enricher;
use epicenter_model::{
    Codec, Condition, ContainerFacts, Context, EnrichedRecord, Event, Heartbeat, ObjectChange, ObjectFacts, ObjectRef,
    RawEvent, RawRecord, Swept, Timestamp,
};
use epicenter_rules::RuleSet;

/// Log time at second `second` of the test.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_795_435_200_000 + second * 1000)
}

pub fn enricher() -> Enricher {
    Enricher::new(Codec::single_object(), RuleSet::builtin().classifier)
}

/// An enricher with a file of rules.
pub fn enricher_with(rules: &str) -> Enricher {
    Enricher::new(Codec::single_object(), RuleSet::read(&[("mine.yaml", rules)]).unwrap().classifier)
}

pub fn record(offset: usize, raw: &RawRecord) -> Record {
    Record {
        topic: "events.raw",
        offset: offset as i64,
        timestamp: raw.at().as_millis(),
        key: raw.key().into(),
        payload: Some(raw.encode(&Codec::single_object()).unwrap().into()),
        ..Record::default()
    }
}

pub fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.to_owned(),
        uid: format!("uid-{kind}-{name}"),
        ..ObjectRef::named(kind, namespace, name)
    }
}

pub fn pod(name: &str) -> ObjectRef {
    object("v1", "Pod", "shop", name)
}

/// A kubelet's BackOff about `regarding`, with its own name and uid per object.
pub fn event(second: i64, version: i64, count: i64, regarding: ObjectRef) -> RawEvent {
    let event = Event {
        uid: format!("event-{}", regarding.name),
        namespace: regarding.namespace.clone(),
        name: format!("{}.1", regarding.name),
        resource_version: version.to_string(),
        regarding,
        reason: "BackOff".to_owned(),
        note: "Back-off restarting failed container app in pod web-1_shop(9b)".to_owned(),
        event_type: "Warning".to_owned(),
        component: "kubelet".to_owned(),
        count: Some(count),
        last_at: Some(at(second)),
        ..Event::default()
    };
    let (cluster, cluster_uid) = ("prod".to_owned(), "uid-prod".to_owned());
    RawEvent { cluster, cluster_uid, at: at(second), epoch: 1, backfill: false, event }
}

pub fn happened(second: i64, version: i64, count: i64, name: &str) -> RawRecord {
    RawRecord::Event(Box::new(event(second, version, count, pod(name))))
}

pub fn change(second: i64, facts: ObjectFacts) -> ObjectChange {
    let (cluster, cluster_uid) = ("prod".to_owned(), "uid-prod".to_owned());
    ObjectChange { cluster, cluster_uid, at: at(second), deleted: false, listed: false, facts }
}

pub fn changed(second: i64, facts: ObjectFacts) -> RawRecord {
    RawRecord::Object(Box::new(change(second, facts)))
}

pub fn listed(second: i64, facts: ObjectFacts) -> RawRecord {
    RawRecord::Object(Box::new(ObjectChange { listed: true, ..change(second, facts) }))
}

pub fn deleted(second: i64, facts: ObjectFacts) -> RawRecord {
    RawRecord::Object(Box::new(ObjectChange { deleted: true, ..change(second, facts) }))
}

pub fn swept(second: i64, api_version: &str, kind: &str, since: i64) -> RawRecord {
    RawRecord::Swept(Swept {
        cluster: "prod".to_owned(),
        at: at(second),
        kind: kind.to_owned(),
        api_version: api_version.to_owned(),
        namespace: String::new(),
        since: at(since),
    })
}

pub fn beat(second: i64) -> RawRecord {
    let (cluster, cluster_uid) = ("prod".to_owned(), "uid-prod".to_owned());
    RawRecord::Heartbeat(Heartbeat { cluster, cluster_uid, at: at(second), healthy: true, last: false })
}

/// Facts of a pod of Deployment `web` on `node-1`.
pub fn pod_facts(name: &str) -> ObjectFacts {
    ObjectFacts {
        object: pod(name),
        owner: Some(object("apps/v1", "ReplicaSet", "shop", "web-5d")),
        node: "node-1".to_owned(),
        images: vec!["registry.example.com/web:1".to_owned()],
        claims: vec!["data".to_owned()],
        config_maps: vec!["web".to_owned()],
        secrets: vec!["db".to_owned()],
        ..ObjectFacts::default()
    }
}

/// What pods of [`pod_facts`] refer to.
pub fn surroundings(second: i64) -> Vec<RawRecord> {
    let facts = |object| ObjectFacts { object, ..ObjectFacts::default() };
    let replica_set = facts(object("apps/v1", "ReplicaSet", "shop", "web-5d"));
    let node = ObjectFacts { zone: "eu-1a".to_owned(), ..facts(object("v1", "Node", "", "node-1")) };
    let claim = facts(object("v1", "PersistentVolumeClaim", "shop", "data"));
    let labels = [("team".to_owned(), "checkout".to_owned())].into();
    vec![
        changed(second, facts(object("apps/v1", "Deployment", "shop", "web"))),
        changed(second, ObjectFacts { owner: Some(object("apps/v1", "Deployment", "shop", "web")), ..replica_set }),
        changed(second, node),
        changed(second, ObjectFacts { volume: "pv-7".to_owned(), ..claim }),
        changed(second, ObjectFacts { labels, ..facts(object("v1", "Namespace", "", "shop")) }),
    ]
}

pub fn condition(condition_type: &str, status: &str, second: i64) -> Condition {
    Condition {
        condition_type: condition_type.to_owned(),
        status: status.to_owned(),
        reason: format!("Because{status}"),
        message: format!("it is {status}"),
        since: Some(at(second)),
    }
}

pub fn container(waiting: &str, restarts: i64, terminated: &str, code: i64, finished: i64) -> ContainerFacts {
    let ended = !terminated.is_empty();
    ContainerFacts {
        name: "app".to_owned(),
        restarts,
        waiting: waiting.to_owned(),
        terminated: terminated.to_owned(),
        exit_code: ended.then_some(code),
        finished_at: ended.then(|| at(finished)),
        ..ContainerFacts::default()
    }
}

/// Feeds `records` to a new enricher, and gives what it emits for each; a rejection is a line too.
pub fn run(records: &[RawRecord]) -> Vec<String> {
    let spec = epicenter_enricher::spec();
    let mut driver = Driver::new(&spec, enricher());
    let mut lines = Vec::new();
    for (offset, raw) in records.iter().enumerate() {
        match driver.feed(&record(offset, raw)) {
            Ok(emits) => lines.extend(emits.iter().filter_map(show)),
            Err(reject) => lines.push(format!("rejected: {reject}")),
        }
    }
    lines
}

/// A record on events.enriched in a line. Heartbeats are left out.
pub fn show(emit: &Emit) -> Option<String> {
    match EnrichedRecord::decode(&Codec::single_object(), emit.payload.as_ref().unwrap()).unwrap() {
        EnrichedRecord::Event(it) => {
            let mut line = format!("{} {} {} x{}", second(it.at), it.class, it.event.regarding, it.occurrences);
            if it.derived {
                line += &format!(" derived {} at {}: {}", it.event.reason, second(it.occurred_at), it.event.note);
            }
            if it.backfill {
                line += " backfill";
            }
            Some(line + &stands(&it.context))
        }
        EnrichedRecord::Context(it) => Some(format!("{} context {}{}", second(it.at), it.object, stands(&it.context))),
        EnrichedRecord::Heartbeat(_) => None,
        EnrichedRecord::Command(it) => Some(format!("{} {} {} by {}", second(it.at), it.id, it.action.name(), it.by)),
    }
}

fn second(instant: Timestamp) -> i64 {
    instant.millis_since(at(0)) / 1000
}

fn stands(context: &Context) -> String {
    let owners: Vec<String> = context.owners.iter().map(|owner| owner.name.clone()).collect();
    let mut line = String::new();
    for (name, value) in [
        ("owners", owners.join(">")),
        ("node", context.node.clone()),
        ("zone", context.zone.clone()),
        ("images", context.images.join(",")),
        ("claims", context.claims.join(",")),
        ("volumes", context.volumes.join(",")),
        ("config", context.config_maps.join(",")),
        ("secrets", context.secrets.join(",")),
        ("labels", context.namespace_labels.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        ("deleting", if context.deleting { "yes".to_owned() } else { String::new() }),
    ] {
        if !value.is_empty() {
            line += &format!(" {name}={value}");
        }
    }
    line
}
