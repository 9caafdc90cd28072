//! Scenarios as text: one record a line, and what the incidents look like in the end.
#![allow(dead_code)]

use std::collections::BTreeMap;

use epicenter_correlate::{ClassInfo, Classes, ClusterState, Effects, Rules, apply};
use epicenter_model::{
    Category, Context, EnrichedEvent, EnrichedRecord, Entity, Event, Heartbeat, Incident, ObjectRef, Role, Severity,
    Timestamp,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Class {
    title: String,
    category: Category,
    severity: Severity,
    role: Role,
    #[serde(default)]
    recovers: Vec<String>,
    #[serde(default = "quiet")]
    quiet_ms: i64,
    #[serde(default)]
    explain: String,
    #[serde(default = "kubectl")]
    kubectl: String,
}

fn quiet() -> i64 {
    600_000
}

fn kubectl() -> String {
    "kubectl describe {kind} {name} -n {namespace}".to_owned()
}

/// The catalogue's classes: data only, no dependency on its code.
pub fn classes() -> Classes {
    let text = include_str!("../../../catalog/data/classes.yaml");
    let classes: BTreeMap<String, Class> = serde_saphyr::from_str(text).unwrap();
    let info = |(class, c): (String, Class)| ClassInfo {
        class,
        category: c.category,
        severity: c.severity,
        role: c.role,
        title: c.title,
        explain: c.explain,
        kubectl: c.kubectl,
        recovers: c.recovers,
        quiet_ms: c.quiet_ms,
    };
    classes.into_iter().map(info).collect()
}

pub fn rules() -> Rules {
    Rules::builtin(classes())
}

/// Seconds after 2026-01-01T10:00:00Z.
pub fn at(seconds: f64) -> Timestamp {
    let start: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
    start.plus_millis((seconds * 1000.0) as i64)
}

/// `Kind/namespace/name`, or `Kind/name` for what has no namespace.
pub fn object(text: &str) -> ObjectRef {
    match text.split('/').collect::<Vec<_>>()[..] {
        [kind, namespace, name] => ObjectRef { uid: format!("uid-{text}"), ..ObjectRef::named(kind, namespace, name) },
        [kind, name] => ObjectRef::named(kind, "", name),
        _ => panic!("{text} is no object"),
    }
}

fn entity(text: &str) -> Entity {
    let object = object(text);
    Entity { kind: object.kind, namespace: object.namespace, name: object.name }
}

/// `SECONDS CLASS OBJECT key=value…`: an Event.
fn event(line: &str, number: usize, classes: &Classes) -> EnrichedEvent {
    let mut words = line.split_whitespace();
    let time: f64 = words.next().unwrap().parse().unwrap_or_else(|_| panic!("no time: {line}"));
    let class = words.next().unwrap_or_else(|| panic!("no class: {line}"));
    let info = classes.get(class).unwrap_or_else(|| panic!("no class `{class}`: {line}"));
    let regarding = object(words.next().unwrap_or_else(|| panic!("no object: {line}")));
    let mut event = EnrichedEvent {
        cluster: "test".to_owned(),
        cluster_uid: "cluster".to_owned(),
        at: at(time),
        occurred_at: at(time),
        occurrences: 1,
        class: class.to_owned(),
        category: info.category,
        severity: info.severity,
        role: info.role,
        event: Event {
            uid: format!("e{number}"),
            namespace: regarding.namespace.clone(),
            name: format!("{}.{number}", regarding.name),
            reason: class.to_owned(),
            regarding,
            count: Some(1),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match key {
            "owners" => event.context = Context { owners: list().iter().map(|o| object(o)).collect(), ..event.context },
            "node" => event.context.node = value.to_owned(),
            "zone" => event.context.zone = value.to_owned(),
            "claims" => event.context.claims = list(),
            "images" => event.context.images = list(),
            "deleting" => event.context.deleting = true,
            "backfill" => event.backfill = true,
            "text" => event.entities = list().iter().map(|o| entity(o)).collect(),
            "related" => event.event.related = Some(object(value)),
            "uid" => event.event.uid = value.to_owned(),
            "count" => event.event.count = Some(value.parse().unwrap()),
            "occurred" => event.occurred_at = at(value.parse().unwrap()),
            _ => panic!("no key `{key}`: {line}"),
        }
    }
    event
}

/// The records of a scenario: Events, with a heartbeat every 5 s between them, and `beat SECONDS` for more of those.
pub fn records(text: &str) -> Vec<EnrichedRecord> {
    records_of(&classes(), text)
}

/// As [`records`], with classes of one's own.
pub fn records_of(classes: &Classes, text: &str) -> Vec<EnrichedRecord> {
    let mut records = Vec::new();
    let mut beaten = 0.0;
    let mut beat = |until: f64, records: &mut Vec<EnrichedRecord>| {
        while beaten + 5.0 < until {
            beaten += 5.0;
            records.push(EnrichedRecord::Heartbeat(Heartbeat {
                cluster: "test".to_owned(),
                cluster_uid: "cluster".to_owned(),
                at: at(beaten),
                healthy: true,
            }));
        }
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(until) = line.strip_prefix("beat ") {
            beat(until.trim().parse().unwrap(), &mut records);
            continue;
        }
        let (times, rest) = line.split_once(char::is_whitespace).unwrap();
        // `0..10 …{}…`: the line for each number, at the same time.
        let (time, range) = times.split_once('*').map_or((times, None), |(time, n)| (time, Some(n)));
        let count: usize = range.map_or(1, |n| n.parse().unwrap());
        for copy in 0..count {
            let text = format!("{time} {}", rest.replace("{}", &copy.to_string()));
            let event = event(&text, number * 1000 + copy, classes);
            beat(event.at.millis_since(at(0.0)) as f64 / 1000.0, &mut records);
            records.push(EnrichedRecord::Event(Box::new(event)));
        }
    }
    records
}

/// All effects of `records`.
pub fn run(rules: &Rules, records: &[EnrichedRecord]) -> Effects {
    let mut state = ClusterState::new("test");
    let mut effects = Effects::default();
    records.iter().for_each(|record| apply(rules, &mut state, record, &mut effects));
    effects
}

/// The incidents that `effects` build, in the order of their opening.
pub fn incidents(effects: &Effects) -> Vec<Incident> {
    let mut incidents: Vec<Incident> = Vec::new();
    for change in &effects.changes {
        let index = incidents.iter().position(|known| known.id == change.incident.id).unwrap_or_else(|| {
            incidents.push(Incident::default());
            incidents.len() - 1
        });
        assert!(
            incidents[index].apply(change, 100_000),
            "version {} of {}",
            change.incident.version,
            change.incident.id
        );
    }
    incidents
}

/// One line for each incident that was not merged.
pub fn summary(incidents: &[Incident]) -> String {
    let line = |incident: &Incident| {
        let cause = &incident.cause;
        let seen = if cause.observed { "" } else { " (inferred)" };
        format!(
            "{} {} {} {}{seen}: {} events, {} pods, {} workloads\n",
            incident.state,
            incident.severity,
            cause.class,
            cause.object,
            incident.events.objects,
            incident.impact.pods,
            incident.impact.workload_count
        )
    };
    incidents.iter().filter(|incident| incident.merged_into.is_none()).map(line).collect()
}

/// All that is told of incidents, for a failed test.
pub fn told(incidents: &[Incident]) -> String {
    let mut text = String::new();
    for incident in incidents {
        text += &format!("{} v{} {} {}\n", incident.id, incident.version, incident.state, incident.title);
        for sentence in &incident.explanation {
            text += &format!("    {sentence}\n");
        }
        for candidate in &incident.cause.candidates {
            text += &format!("    ? {:.3} {} {}\n", candidate.confidence, candidate.class, candidate.object);
        }
        for member in incident.members.iter().take(12) {
            let because = member
                .because
                .as_ref()
                .map(|b| format!("{} of {} lag {} ms score {}", b.rule, b.parent, b.lag_ms, b.score));
            let object = &member.regarding;
            text += &format!(
                "    {} {} {}/{} {} {}\n",
                member.event_uid,
                member.role,
                object.namespace,
                object.name,
                member.reason,
                because.unwrap_or_default()
            );
        }
    }
    text
}
