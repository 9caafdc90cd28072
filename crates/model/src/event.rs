//! A Kubernetes Event, whichever of the two API groups it was read from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ObjectRef, Timestamp};

/// Two readings of one clock differ by this, as they have whole seconds.
const FAST_MS: i64 = 2_000;
/// How long client-go tries to write an Event: twelve times, ten seconds apart, and some more.
const TRIES_MS: i64 = 150_000;
/// API servers keep Events longer than this.
const EXPIRES_MS: i64 = 1_800_000;

/// One version of a Kubernetes Event. core/v1 and events.k8s.io/v1 are two views of one stored object
/// (kubernetes/kubernetes `pkg/registry/core/event`); the names here are those of events.k8s.io/v1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`. An Event that is written again after it expired keeps its name and gets a new uid.
    pub name: String,
    /// `metadata.resourceVersion`; (uid, resourceVersion) names one write.
    pub resource_version: String,
    /// `metadata.creationTimestamp`, the API server's clock.
    pub created_at: Option<Timestamp>,
    /// The object it is about (`regarding`, `involvedObject`).
    pub regarding: ObjectRef,
    /// The part of that object, such as `spec.containers{app}`; empty for all of it.
    pub field_path: String,
    /// A second object (`related`).
    pub related: Option<ObjectRef>,
    /// `reason`.
    pub reason: String,
    /// `note` (`message`).
    pub note: String,
    /// `type`: `Normal`, `Warning`, or whatever an old client wrote. Not a severity.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `action`.
    pub action: String,
    /// Who reported it (`reportingController`, else `source.component`).
    pub component: String,
    /// Which instance (`reportingInstance`).
    pub instance: String,
    /// `source.host`: for a kubelet the node's name.
    pub host: String,
    /// `count` (`deprecatedCount`), absent or 0 in new-style Events.
    pub count: Option<i64>,
    /// `firstTimestamp`, emitter's clock, 1 s.
    pub first_at: Option<Timestamp>,
    /// `lastTimestamp`, emitter's clock, 1 s.
    pub last_at: Option<Timestamp>,
    /// `eventTime`, emitter's clock, 1 µs.
    pub event_at: Option<Timestamp>,
    /// `series.count`.
    pub series_count: Option<i64>,
    /// `series.lastObservedTime`, emitter's clock.
    pub series_last_at: Option<Timestamp>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`; evictions name the offending containers here.
    pub annotations: BTreeMap<String, String>,
}

impl Event {
    /// How often it has happened until this version, at least 1.
    pub fn total(&self) -> i64 {
        self.series_count.or(self.count).map_or(1, |count| count.max(1))
    }

    /// When its newest occurrence happened, by the emitter's clock where that is sound; `None` when it carries no time at all.
    pub fn occurred_at(&self) -> Option<Timestamp> {
        let at = self.series_last_at.or(self.last_at).or(self.event_at).or(self.created_at)?;
        Some(at.plus_millis(self.slow_ms()))
    }

    /// When its first occurrence happened, likewise.
    pub fn began_at(&self) -> Option<Timestamp> {
        let at = self.first_at.or(self.event_at).or(self.created_at).or(self.last_at)?;
        Some(at.plus_millis(self.slow_ms()))
    }

    /// By how much the emitter's clock is slow, ms; negative when it is fast, and 0 when it may be right.
    ///
    /// The API server notes by its own clock when it took the first occurrence. That is not before it happened, and not
    /// long after: client-go tries for two minutes. After half an hour it can be a new Event that goes on counting for one
    /// that has expired (client-go `tools/record/event.go`).
    fn slow_ms(&self) -> i64 {
        let Some((taken, began)) = self.created_at.zip(self.first_at.or(self.event_at)) else { return 0 };
        let slow = taken.millis_since(began);
        if (-FAST_MS..=TRIES_MS).contains(&slow) || slow > EXPIRES_MS { 0 } else { slow }
    }

    /// The container that [`Event::field_path`] names: `app` of `spec.containers{app}`.
    pub fn container(&self) -> Option<&str> {
        let (_, rest) = self.field_path.split_once('{')?;
        rest.strip_suffix('}').filter(|name| !name.is_empty())
    }

    /// The node that emitted it, when a kubelet did.
    pub fn kubelet_node(&self) -> Option<&str> {
        let host = if self.host.is_empty() { &self.instance } else { &self.host };
        (self.component == "kubelet" && !host.is_empty()).then_some(host)
    }
}
