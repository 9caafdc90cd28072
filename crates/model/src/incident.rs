//! The incident document, and the changes that build it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meaning::names;
use crate::{Category, Note, ObjectRef, Recurrence, Severity, Silenced, Timestamp};

/// An incident: some Events, the one cause that explains them, and what it comes to.
///
/// The same fields in Avro, in JSON and in the custom resource's status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Incident {
    /// `epc-` and ten base32 characters; see [`crate::incident_id`].
    pub id: String,
    /// Counts the changes, from 1.
    pub version: i64,
    /// The cluster's name.
    pub cluster: String,
    /// Where it is in its life.
    pub state: IncidentState,
    /// When [`IncidentState::Merged`]: the incident that took its members over.
    pub merged_into: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub category: Category,
    /// One line.
    pub title: String,
    /// The most likely root.
    pub cause: Cause,
    /// Two to seven sentences.
    pub explanation: Vec<String>,
    /// What it touches.
    pub impact: Impact,
    /// How much was heard of it.
    pub events: EventCounts,
    /// Log time of the first member.
    pub opened_at: Timestamp,
    /// Log time of the newest member.
    pub last_event_at: Timestamp,
    /// Log time of its end.
    pub resolved_at: Option<Timestamp>,
    /// Earlier incidents of the same fingerprint.
    pub recurrence: Recurrence,
    /// The Events in it, in order of arrival; in a change only those that are new or different.
    pub members: Vec<Member>,
    /// Members that were left out of this document.
    pub truncated: i64,
    /// So far it concerns only what was there before Epicenter was installed: no reason to alert. Set by
    /// [`Incident::apply`] from the change.
    pub backfill: bool,
    /// Somebody looks after it: who, since when, and why.
    pub acknowledged: Option<Note>,
    /// Nobody is told of it now.
    pub silenced: Option<Silenced>,
    /// What people did to it and said of it, the oldest first; the newest 20.
    pub notes: Vec<Note>,
}

/// Where an incident is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentState {
    /// Going on.
    #[default]
    Open,
    /// Over.
    Resolved,
    /// Part of another incident.
    Merged,
}
names!(IncidentState or Open { Open => "open", Resolved => "resolved", Merged => "merged" });

/// The most likely root, and what else it could be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cause {
    /// Its class, such as `node.not_ready`.
    pub class: String,
    /// The object to look at.
    pub object: ObjectRef,
    /// An Event or a status shows it; otherwise it is inferred.
    pub observed: bool,
    /// 0 to 1.
    pub confidence: f64,
    /// The best three, this one first.
    pub candidates: Vec<Candidate>,
}

/// A possible root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate {
    /// Its class.
    pub class: String,
    /// The object.
    pub object: ObjectRef,
    /// An Event or a status shows it.
    pub observed: bool,
    /// 0 to 1.
    pub confidence: f64,
}

/// What an incident touches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Impact {
    /// Pods.
    pub pods: i64,
    /// Nodes.
    pub nodes: i64,
    /// Workloads: the tops of owner chains.
    pub workload_count: i64,
    /// At most 20 of them.
    pub workloads: Vec<ObjectRef>,
    /// Namespaces, in order of name, at most 20.
    pub namespaces: Vec<String>,
}

/// How much was heard of an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventCounts {
    /// Event objects.
    pub objects: i64,
    /// Occurrences.
    pub occurrences: i64,
    /// Event objects by reason.
    pub by_reason: BTreeMap<String, i64>,
}

/// An Event in an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    /// The Event's uid.
    pub event_uid: String,
    /// The Event's namespace.
    pub namespace: String,
    /// The Event's name.
    pub name: String,
    /// The Event's reason.
    pub reason: String,
    /// The object it is about.
    pub regarding: MemberObject,
    /// `root`, `cause`, `symptom`, `change` or `recovery`; in a change also `moved`: it is no longer in this incident.
    pub role: String,
    /// Occurrences.
    pub occurrences: i64,
    /// Why it belongs here; the root has none.
    pub because: Option<Because>,
}

/// The object that a member is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberObject {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Why a member belongs to its incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Because {
    /// The causal rule.
    pub rule: String,
    /// The uid of the Event that explains it.
    pub parent: String,
    /// From that one's time to this one's, ms, by the emitters' clocks.
    pub lag_ms: i64,
    /// 0 to 1.
    pub score: f64,
}

/// What happened to an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transition {
    /// It began.
    Opened,
    /// It goes on and looks different.
    #[default]
    Updated,
    /// It is over.
    Resolved,
    /// It came back within its reopen window.
    Reopened,
    /// Another incident took it over.
    Merged,
}
names!(Transition or Updated {
    Opened => "opened", Updated => "updated", Resolved => "resolved", Reopened => "reopened", Merged => "merged",
});

/// One record of `incident.changes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentChange {
    /// Log time.
    pub at: Timestamp,
    /// What happened.
    pub transition: Transition,
    /// Version of the engine that decided it.
    pub engine: String,
    /// Hash of the rules by which it decided.
    pub rules: String,
    /// It concerns only what was there before Epicenter was installed: no reason to alert.
    pub backfill: bool,
    /// The incident as it is now; of its members only those that are new or different.
    pub incident: Incident,
}

impl Member {
    /// The role of what was in an incident, until somebody said that it belongs to another.
    pub const MOVED: &str = "moved";

    /// It is no longer in this incident.
    pub fn is_moved(&self) -> bool {
        self.role == Self::MOVED
    }
}

impl Incident {
    /// Whether something in `namespace` is affected by it, or its cause.
    pub fn touches(&self, namespace: &str) -> bool {
        self.cause.object.namespace == namespace || self.impact.namespaces.iter().any(|it| it == namespace)
    }

    /// Takes `change` over: the whole head, and its members merged by Event uid. Keeps at most `limit` members and
    /// counts the rest in [`Incident::truncated`]. A change that is not newer does nothing and gives `false`.
    pub fn apply(&mut self, change: &IncidentChange, limit: usize) -> bool {
        if change.incident.version <= self.version {
            return false;
        }
        let mut members = std::mem::take(&mut self.members);
        for member in &change.incident.members {
            match members.iter().position(|known| known.event_uid == member.event_uid) {
                Some(index) if member.is_moved() => _ = members.remove(index),
                None if member.is_moved() => {}
                Some(index) => members[index] = member.clone(),
                None if members.len() < limit => members.push(member.clone()),
                None if member.role == "root" => {
                    members.pop();
                    members.insert(0, member.clone());
                }
                None => {}
            }
        }
        *self = Incident { members, ..change.incident.clone() };
        self.backfill = change.backfill;
        self.truncated = (self.events.objects - self.members.len() as i64).max(0);
        true
    }
}
