//! What simpler means make of the same Events: those that the catalogue calls a cause or a symptom, with their context.

use std::collections::BTreeMap;

use epicenter_model::{EnrichedEvent, Entity, ObjectRef, Role, Severity};

use super::score::{Guess, Root};

type Baseline = fn(&[EnrichedEvent]) -> Vec<Guess>;

/// All of them.
pub const ALL: [(&str, Baseline); 9] = [
    ("B0: each Event", |events| keyed(events, i64::MAX, |event| event.event.uid.clone(), first)),
    ("B1: object and reason, 5 min", |events| keyed(events, 300, object_and_reason, first)),
    ("B2: top owner, 15 min", |events| keyed(events, 900, |event| event_top(event).to_string(), top)),
    ("B3: namespace and reason, 5 min", |events| keyed(events, 300, namespace_and_reason, first)),
    ("B4: time, gaps of 5 min", |events| keyed(events, 300, |_| String::new(), first)),
    ("B5: connected topology, 15 min, earliest", |events| connected(events, 900, first)),
    ("B6: top owner, 5 s", |events| keyed(events, 5, |event| event_top(event).to_string(), top)),
    ("B7: connected, earliest Warning", |events| connected(events, 900, first_warning)),
    ("B8: connected, most frequent", |events| connected(events, 900, most_frequent)),
];

fn symptoms(events: &[EnrichedEvent]) -> impl Iterator<Item = &EnrichedEvent> {
    let bad =
        |event: &&EnrichedEvent| matches!(event.role, Role::Cause | Role::Symptom) && event.severity >= Severity::Low;
    events.iter().filter(bad)
}

fn event_top(event: &EnrichedEvent) -> &ObjectRef {
    event.context.owners.last().unwrap_or(&event.event.regarding)
}

fn object_and_reason(event: &EnrichedEvent) -> String {
    format!("{} {}", event.event.regarding, event.event.reason)
}

fn namespace_and_reason(event: &EnrichedEvent) -> String {
    format!("{} {}", event.event.regarding.namespace, event.event.reason)
}

type Pick = fn(&[&EnrichedEvent]) -> Root;

fn root(event: &EnrichedEvent, object: &ObjectRef) -> Root {
    Root { class: event.class.clone(), object: ObjectRef { uid: String::new(), ..object.clone() } }
}

fn first(group: &[&EnrichedEvent]) -> Root {
    let earliest = group.iter().min_by_key(|event| event.occurred_at);
    earliest.map(|event| root(event, &event.event.regarding)).unwrap_or_default()
}

fn top(group: &[&EnrichedEvent]) -> Root {
    let earliest = group.iter().min_by_key(|event| event.occurred_at);
    earliest.map(|event| root(event, event_top(event))).unwrap_or_default()
}

fn first_warning(group: &[&EnrichedEvent]) -> Root {
    let warnings: Vec<&EnrichedEvent> =
        group.iter().copied().filter(|event| event.event.event_type == "Warning").collect();
    if warnings.is_empty() { first(group) } else { first(&warnings) }
}

fn most_frequent(group: &[&EnrichedEvent]) -> Root {
    let mut counts: BTreeMap<String, (i64, &EnrichedEvent)> = BTreeMap::new();
    for event in group {
        counts.entry(event.event.regarding.to_string()).or_insert((0, event)).0 += event.occurrences;
    }
    let most = counts.into_values().max_by_key(|(count, _)| *count);
    most.map(|(_, event)| root(event, &event.event.regarding)).unwrap_or_default()
}

fn guess(number: usize, group: &[&EnrichedEvent], pick: Pick) -> Guess {
    let mut members: Vec<String> = group.iter().map(|event| event.event.uid.clone()).collect();
    members.sort();
    members.dedup();
    Guess { id: number.to_string(), members, roots: vec![pick(group)], observed: true, loud: true, ..Guess::default() }
}

/// One group per key, until nothing comes for so long.
fn keyed(events: &[EnrichedEvent], gap_s: i64, key: impl Fn(&EnrichedEvent) -> String, pick: Pick) -> Vec<Guess> {
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&EnrichedEvent>> = Vec::new();
    for event in symptoms(events) {
        let key = key(event);
        let last = open.get(&key).copied().filter(|group| {
            let newest = groups[*group].last().map_or(event.at, |newest| newest.at);
            event.at.millis_since(newest) <= gap_s.saturating_mul(1000)
        });
        match last {
            Some(group) => groups[group].push(event),
            None => {
                open.insert(key, groups.len());
                groups.push(vec![event]);
            }
        }
    }
    groups.iter().enumerate().map(|(number, group)| guess(number, group, pick)).collect()
}

/// All that is linked, however, within the time.
fn connected(events: &[EnrichedEvent], within_s: i64, pick: Pick) -> Vec<Guess> {
    let events: Vec<&EnrichedEvent> = symptoms(events).collect();
    let mut above: Vec<usize> = (0..events.len()).collect();
    fn find(above: &mut [usize], mut at: usize) -> usize {
        while above[at] != at {
            above[at] = above[above[at]];
            at = above[at];
        }
        at
    }
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    for (number, event) in events.iter().enumerate() {
        let named = |Entity { kind, namespace, name }: &Entity| ObjectRef::named(kind, namespace, name);
        let mut objects: Vec<ObjectRef> = event.entities.iter().map(named).collect();
        objects.push(event.event.regarding.clone());
        objects.extend(event.context.owners.iter().cloned());
        if !event.context.node.is_empty() {
            objects.push(ObjectRef::named("Node", "", &event.context.node));
        }
        for claim in &event.context.claims {
            objects.push(ObjectRef::named("PersistentVolumeClaim", &event.event.regarding.namespace, claim));
        }
        for object in objects {
            let known = newest.insert(object.to_string(), number);
            if let Some(known) = known.filter(|known| event.at.millis_since(events[*known].at) <= within_s * 1000) {
                let (one, other) = (find(&mut above, known), find(&mut above, number));
                above[other] = one;
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<&EnrichedEvent>> = BTreeMap::new();
    for (number, event) in events.iter().enumerate() {
        groups.entry(find(&mut above, number)).or_default().push(event);
    }
    groups.into_values().enumerate().map(|(number, group)| guess(number, &group, pick)).collect()
}
