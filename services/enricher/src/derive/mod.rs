//! Events that Kubernetes does not write: what it only notes in an object's status.
//!
//! Pure: compares an object's facts with the ones before. Its component is [`crate::COMPONENT`]; what the reasons mean
//! stands in the catalogue (`derived.yaml`).

mod node;
mod pod;
mod workload;

use data_encoding::HEXLOWER;
use epicenter_model::{Condition, Event, ObjectFacts, ObjectRef, Timestamp};
use sha2::{Digest, Sha256};

use crate::COMPONENT;

/// Something that an object's status says, and did not say before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Finding {
    /// The Event's reason.
    pub reason: String,
    /// Its note.
    pub note: String,
    /// Something is wrong.
    pub warning: bool,
    /// The container concerned; empty for the whole object.
    pub container: String,
    /// When it happened, by the clock of the component that noted it.
    pub occurred: Option<Timestamp>,
    /// Tells it from other findings of that reason about that object.
    pub mark: String,
}

/// What is new between `old` and `new` facts of one object. `listed`: the new ones came with a list; then, of an object
/// that was not known, everything that lasts is new.
pub(crate) fn derive(old: Option<&ObjectFacts>, new: &ObjectFacts, listed: bool) -> Vec<Finding> {
    match new.object.kind.as_str() {
        "Pod" => pod::derive(old, new),
        "Node" => node::derive(old, new, listed),
        "Deployment" | "StatefulSet" | "DaemonSet" => workload::derive(old, new),
        "Job" => workload::derive_job(old, new),
        _ => Vec::new(),
    }
}

impl Finding {
    /// The Event that says so about the object of these facts, at log time `at`.
    pub(crate) fn event(self, facts: &ObjectFacts, at: Timestamp) -> Event {
        let object = &facts.object;
        let uid = uid(object, &self.container, &self.mark, &self.reason);
        let namespace = if object.namespace.is_empty() { "default" } else { &object.namespace };
        let field_path =
            if self.container.is_empty() { String::new() } else { format!("spec.containers{{{}}}", self.container) };
        Event {
            namespace: namespace.to_owned(),
            name: format!("{}.{}", object.name, &uid[..16]),
            uid,
            resource_version: facts.resource_version.clone(),
            regarding: object.clone(),
            field_path,
            reason: self.reason,
            note: self.note,
            event_type: if self.warning { "Warning" } else { "Normal" }.to_owned(),
            component: COMPONENT.to_owned(),
            event_at: Some(self.occurred.unwrap_or(at)),
            ..Event::default()
        }
    }
}

/// The first 128 bits of SHA-256 over the object's uid (or, without one, its name), container, mark and reason, in hex.
fn uid(object: &ObjectRef, container: &str, mark: &str, reason: &str) -> String {
    let named = if object.uid.is_empty() { object.to_string() } else { object.uid.clone() };
    let digest = Sha256::digest([&named, container, mark, reason].join("\0"));
    HEXLOWER.encode(&digest[..16])
}

fn condition<'f>(facts: &'f ObjectFacts, condition_type: &str) -> Option<&'f Condition> {
    facts.conditions.iter().find(|condition| condition.condition_type == condition_type)
}

/// A finding about a condition.
fn noted(reason: &str, warning: bool, condition: &Condition, facts: &ObjectFacts) -> Finding {
    let note = if condition.message.is_empty() { &condition.reason } else { &condition.message };
    Finding {
        reason: reason.to_owned(),
        note: note.clone(),
        warning,
        container: String::new(),
        occurred: condition.since,
        mark: mark(condition.since, facts),
    }
}

/// A time tells two findings apart; without one the version of the object does.
fn mark(since: Option<Timestamp>, facts: &ObjectFacts) -> String {
    since.map_or_else(|| facts.resource_version.clone(), |since| since.as_micros().to_string())
}
