//! What is kept of a Kubernetes object: enough to say where a pod ran, who owns it and how it fares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ObjectRef, Timestamp};

/// The projection of an object. Specs and managedFields are never built in memory.
///
/// A field that does not concern the object's kind is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectFacts {
    /// The object.
    pub object: ObjectRef,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: somebody asked for its deletion.
    pub deleting_at: Option<Timestamp>,
    /// The controlling owner; its namespace is the object's.
    pub owner: Option<ObjectRef>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Pod: `spec.nodeName`.
    pub node: String,
    /// `status.phase`.
    pub phase: String,
    /// `status.reason`, such as a pod's `Evicted`.
    pub reason: String,
    /// Pod and workloads: the images of their containers.
    pub images: Vec<String>,
    /// Pod: names of its PersistentVolumeClaims.
    pub claims: Vec<String>,
    /// Pod: ConfigMaps that it needs, by name.
    pub config_maps: Vec<String>,
    /// Pod: Secrets that it needs, by name. Their contents are never read.
    pub secrets: Vec<String>,
    /// Claim: the PersistentVolume it is bound to.
    pub volume: String,
    /// Claim and volume: the StorageClass.
    pub storage_class: String,
    /// Volume: the CSI driver.
    pub driver: String,
    /// Autoscaler: what it scales.
    pub target: Option<ObjectRef>,
    /// Node: `topology.kubernetes.io/zone`.
    pub zone: String,
    /// Node: `spec.unschedulable`, as `kubectl cordon` sets it.
    pub unschedulable: bool,
    /// Workload: the revision of its pod template (`deployment.kubernetes.io/revision`).
    pub revision: String,
    /// Workload: replicas that are wanted.
    pub replicas: Option<i64>,
    /// Workload: replicas that are ready.
    pub ready_replicas: Option<i64>,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
    /// Pod: containers, init containers first.
    pub containers: Vec<ContainerFacts>,
}

/// A row of `status.conditions`, without the heartbeat times that would change it every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `type`, such as `Ready`.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
    /// `lastTransitionTime`.
    pub since: Option<Timestamp>,
}

/// How a container of a pod fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerFacts {
    /// Name.
    pub name: String,
    /// Passing its readiness probe.
    pub ready: bool,
    /// `restartCount`.
    pub restarts: i64,
    /// `state.waiting.reason`, such as `CrashLoopBackOff`.
    pub waiting: String,
    /// `state.waiting.message`.
    pub waiting_message: String,
    /// `reason` of its newest end (`state.terminated`, else `lastState.terminated`), such as `OOMKilled`.
    pub terminated: String,
    /// `exitCode` of that end.
    pub exit_code: Option<i64>,
    /// `finishedAt` of that end.
    pub finished_at: Option<Timestamp>,
}
