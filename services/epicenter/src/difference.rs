//! What other rules make of the same recording.

use std::collections::BTreeMap;

use epicenter_model::{EnrichedEvent, Incident};
use serde::Serialize;

use crate::pipeline::Outcome;

/// What would change.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Events that would be dropped, by reason and meaning.
    pub dropped: Vec<Events>,
    /// Events that would mean something else.
    pub changed: Vec<Events>,
    /// Incidents that would vanish.
    pub vanish: Vec<Told>,
    /// Incidents that would appear.
    pub appear: Vec<Told>,
    /// Incidents that would be told otherwise: as it is, and as it would be.
    pub change: Vec<(Told, Told)>,
}

/// Some Events that have a reason and a meaning in common.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Their reason.
    pub reason: String,
    /// What they mean.
    pub before: Meaning,
    /// What they would mean; absent when they would be dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Meaning>,
    /// How many there are.
    pub count: usize,
}

/// What an Event means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Meaning {
    /// Class.
    pub class: String,
    /// Category.
    pub category: &'static str,
    /// Severity.
    pub severity: &'static str,
    /// Role.
    pub role: &'static str,
}

/// What is told of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// How bad it is.
    pub severity: &'static str,
    /// Where it is in its life.
    pub state: &'static str,
    /// The class of its root.
    pub class: String,
    /// The object to blame.
    pub object: String,
    /// Its title.
    pub title: String,
    /// How many Events are in it.
    pub events: i64,
}

impl Difference {
    /// Between two outcomes of the same recording; both must have their Events.
    pub fn between(before: &Outcome, after: &Outcome) -> Self {
        let mut found = Self::default();
        let events = |outcome: &Outcome| -> BTreeMap<String, (String, Meaning)> {
            outcome.events.iter().map(|event| (key(event), (event.event.reason.clone(), meaning(event)))).collect()
        };
        let mut later = events(after);
        let mut groups: BTreeMap<(String, Meaning, Option<Meaning>), usize> = BTreeMap::new();
        for (key, (reason, meaning)) in events(before) {
            let other = later.remove(&key).map(|(_, other)| other);
            if other.as_ref() != Some(&meaning) {
                *groups.entry((reason, meaning, other)).or_default() += 1;
            }
        }
        for ((reason, before, after), count) in groups {
            let list = if after.is_none() { &mut found.dropped } else { &mut found.changed };
            list.push(Events { reason, before, after, count });
        }
        let incidents = |outcome: &Outcome| -> BTreeMap<String, Told> {
            outcome.incidents.iter().map(|incident| (incident.id.clone(), told(incident))).collect()
        };
        let mut later = incidents(after);
        for (id, told) in incidents(before) {
            match later.remove(&id) {
                None => found.vanish.push(told),
                Some(other) if other != told => found.change.push((told, other)),
                Some(_) => {}
            }
        }
        found.appear = later.into_values().collect();
        found
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn key(event: &EnrichedEvent) -> String {
    format!("{}/{}/{}", event.event.uid, event.event.resource_version, event.event.total())
}

fn meaning(event: &EnrichedEvent) -> Meaning {
    Meaning {
        class: event.class.clone(),
        category: event.category.name(),
        severity: event.severity.name(),
        role: event.role.name(),
    }
}

fn told(incident: &Incident) -> Told {
    Told {
        id: incident.id.clone(),
        severity: incident.severity.name(),
        state: incident.state.name(),
        class: incident.cause.class.clone(),
        object: incident.cause.object.to_string(),
        title: incident.title.clone(),
        events: incident.events.objects,
    }
}
