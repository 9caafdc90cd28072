//! The table of objects, as a step sees it.

use epicenter_bus::{Reject, Step};
use epicenter_model::{Codec, ObjectFacts, ObjectRef, Timestamp};

use crate::cluster::{Cluster, Link};
use crate::state::OBJECTS;

/// The objects of one cluster at one moment.
pub(crate) struct Objects<'t, 'b> {
    /// Reads facts.
    pub codec: &'t Codec,
    /// The cluster's name.
    pub cluster: &'t str,
    /// Its indexes and memo.
    pub memory: &'t mut Cluster,
    /// The state.
    pub step: &'t Step<'b>,
    /// Log time.
    pub now: Timestamp,
}

impl Objects<'_, '_> {
    /// The facts of the object of that key, also for a while after its deletion.
    pub(crate) fn facts(&self, key: &str) -> Result<Option<ObjectFacts>, Reject> {
        if self.memory.is_gone(key, self.now) {
            return Ok(None);
        }
        let Some(bytes) = self.step.get(OBJECTS, [self.cluster, "/", key].concat().as_bytes()) else { return Ok(None) };
        self.codec.decode(bytes).map(Some).map_err(|error| Reject(format!("objects: {}/{key}: {error}", self.cluster)))
    }

    /// What joins need of the object of that key.
    pub(crate) fn link(&mut self, key: &str) -> Result<Option<&Link>, Reject> {
        if self.memory.is_gone(key, self.now) {
            return Ok(None);
        }
        if self.memory.link(key).is_none() {
            let link = self.facts(key)?.map(link);
            self.memory.memoise(key, link);
        }
        Ok(self.memory.link(key).and_then(Option::as_ref))
    }
}

fn link(facts: ObjectFacts) -> Link {
    let labels = if facts.object.kind == "Namespace" { facts.labels } else { Default::default() };
    Link { uid: facts.object.uid, owner: facts.owner, zone: facts.zone, volume: facts.volume, labels }
}

/// The key of an object within its cluster: `group/kind/namespace/name`.
pub(crate) fn key(object: &ObjectRef) -> String {
    // A node has no namespace, whatever an Event's writer thinks.
    let namespace = if object.kind == "Node" { "" } else { &object.namespace };
    [group(object), &object.kind, namespace, &object.name].join("/")
}

/// The beginning of the keys of all objects of a kind.
pub(crate) fn prefix(api_version: &str, kind: &str) -> String {
    let object = ObjectRef { api_version: api_version.to_owned(), ..ObjectRef::named(kind, "", "") };
    [group(&object), kind, ""].join("/")
}

/// The group that an object lives in today. Old writers leave it out, or name the one that it was in until 1.16.
fn group(object: &ObjectRef) -> &str {
    match (object.group(), object.kind.as_str()) {
        ("" | "extensions", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => "apps",
        ("" | "extensions", "Job" | "CronJob") => "batch",
        ("" | "extensions", "HorizontalPodAutoscaler") => "autoscaling",
        (group, _) => group,
    }
}

/// The reference and the facts are about one object, not about two that had the same name one after the other.
pub(crate) fn is_same(reference: &ObjectRef, uid: &str) -> bool {
    // Writers of Events put a node's name, or nothing, where its uid belongs.
    reference.kind == "Node" || reference.uid.is_empty() || uid.is_empty() || reference.uid == uid
}
