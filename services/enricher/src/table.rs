//! The table of objects, as a step sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_bus::{Reject, Step};
use epicenter_model::{Codec, Context, ObjectFacts, ObjectRef, Timestamp};

use crate::cluster::{Cluster, Standing};
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
        self.codec.decode(&bytes).map(Some).map_err(|error| Reject(format!("objects: {}/{key}: {error}", self.cluster)))
    }

    /// What joins need of the object of that key.
    pub(crate) fn standing(&mut self, key: &str) -> Result<Option<Arc<Standing>>, Reject> {
        if self.memory.is_gone(key, self.now) {
            return Ok(None);
        }
        if let Some(known) = self.memory.standing(key) {
            return Ok(known);
        }
        let standing = self.facts(key)?.map(|facts| Arc::new(standing(facts)));
        self.memory.memoise(key, standing.clone());
        Ok(standing)
    }
}

fn standing(facts: ObjectFacts) -> Standing {
    let ObjectFacts { object, owner, target, labels, node, volume, zone, images, claims, config_maps, secrets, .. } =
        facts;
    let deleting = facts.deleting_at.is_some();
    let unplaced = object.kind == "Pod" && node.is_empty();
    let mut context = Context { node, zone, images, claims, config_maps, secrets, deleting, ..Context::default() };
    let mut namespace_labels = BTreeMap::new();
    match object.kind.as_str() {
        "PersistentVolumeClaim" => context.claims = vec![object.name],
        "PersistentVolume" => context.volumes = vec![object.name],
        "Namespace" => namespace_labels = labels,
        _ => {}
    }
    // An autoscaler has no owner; what it scales is what suffers with it.
    Standing { uid: object.uid, owner: owner.or(target), unplaced, volume, labels: namespace_labels, context }
}

/// The key of an object within its cluster: `group/kind/namespace/name`.
pub(crate) fn key(object: &ObjectRef) -> String {
    // A node has no namespace, whatever an Event's writer thinks.
    let namespace = if object.kind == "Node" { "" } else { &object.namespace };
    [group(object), &object.kind, namespace, &object.name].join("/")
}

/// The beginning of the keys of all objects of a kind, of one namespace or of all (an empty one).
pub(crate) fn prefix(api_version: &str, kind: &str, namespace: &str) -> String {
    let object = ObjectRef { api_version: api_version.to_owned(), ..ObjectRef::named(kind, "", "") };
    let of_kind = [group(&object), kind, ""].join("/");
    if namespace.is_empty() { of_kind } else { [&of_kind, namespace, "/"].concat() }
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
