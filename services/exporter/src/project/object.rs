//! Objects of all kinds: a field that a kind does not have stays empty.

use epicenter_model::{Condition, ObjectFacts, ObjectRef, Timestamp};
use serde::Deserialize;

use super::meta::{Meta, Reference};
use super::pod::{ContainerStatus, PodSpec};
use super::{Kind, ProjectError};

/// Longest text of a condition or a waiting container that is kept, bytes. A runtime's error can be as long as it likes,
/// and the facts of one object must fit into one state value (64 KiB).
const MAX_TEXT: usize = 1024;

/// An object whose spec is read as `S`.
#[derive(Deserialize)]
pub(super) struct Wire<S> {
    metadata: Option<Meta>,
    spec: Option<S>,
    status: Option<Status>,
}

/// The `spec` of everything but pods.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    unschedulable: Option<bool>,
    replicas: Option<i64>,
    parallelism: Option<i64>,
    template: Option<Template>,
    job_template: Option<JobTemplate>,
    volume_name: Option<String>,
    storage_class_name: Option<String>,
    csi: Option<Csi>,
    scale_target_ref: Option<Reference>,
}

#[derive(Deserialize)]
struct Template {
    spec: Option<PodSpec>,
}

#[derive(Deserialize)]
struct JobTemplate {
    spec: Option<JobSpec>,
}

#[derive(Deserialize)]
struct JobSpec {
    template: Option<Template>,
}

#[derive(Deserialize)]
struct Csi {
    driver: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    conditions: Option<Vec<ConditionWire>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    ready_replicas: Option<i64>,
    /// DaemonSet.
    number_ready: Option<i64>,
    /// DaemonSet.
    desired_number_scheduled: Option<i64>,
    /// Job.
    ready: Option<i64>,
    /// StatefulSet.
    update_revision: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionWire {
    r#type: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<Timestamp>,
}

impl From<ConditionWire> for Condition {
    fn from(wire: ConditionWire) -> Self {
        Self {
            condition_type: wire.r#type.unwrap_or_default(),
            status: wire.status.unwrap_or_default(),
            reason: wire.reason.unwrap_or_default(),
            message: cut(wire.message.unwrap_or_default()),
            since: wire.last_transition_time,
        }
    }
}

/// `text`, no longer than [`MAX_TEXT`].
pub(super) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// The facts of a pod.
pub(super) fn pod(wire: Wire<PodSpec>) -> Result<ObjectFacts, ProjectError> {
    let mut spec = wire.spec.unwrap_or_default();
    let node = spec.node_name.take().unwrap_or_default();
    let facts = common(Kind::Pod, wire.metadata, wire.status)?;
    Ok(ObjectFacts { node, ..needing(facts, spec) })
}

/// The facts of an object of any other kind.
pub(super) fn other(kind: Kind, wire: Wire<Spec>) -> Result<ObjectFacts, ProjectError> {
    let spec = wire.spec.unwrap_or_default();
    let facts = common(kind, wire.metadata, wire.status)?;
    let template = spec.template.or_else(|| spec.job_template?.spec?.template);
    let target = spec
        .scale_target_ref
        .map(|target| ObjectRef { namespace: facts.object.namespace.clone(), ..ObjectRef::from(target) });
    let facts = ObjectFacts {
        unschedulable: spec.unschedulable.unwrap_or_default(),
        replicas: spec.replicas.or(spec.parallelism).or(facts.replicas),
        volume: spec.volume_name.unwrap_or_default(),
        storage_class: spec.storage_class_name.unwrap_or_default(),
        driver: spec.csi.and_then(|csi| csi.driver).unwrap_or_default(),
        target,
        ..facts
    };
    Ok(match template.and_then(|template| template.spec) {
        Some(template) => needing(facts, template),
        None => facts,
    })
}

fn needing(facts: ObjectFacts, spec: PodSpec) -> ObjectFacts {
    let needs = spec.needs(&facts.object.name);
    ObjectFacts {
        images: needs.images,
        claims: needs.claims,
        config_maps: needs.config_maps,
        secrets: needs.secrets,
        ..facts
    }
}

fn common(kind: Kind, meta: Option<Meta>, status: Option<Status>) -> Result<ObjectFacts, ProjectError> {
    let mut meta = meta.unwrap_or_default();
    let status = status.unwrap_or_default();
    let owner = meta.controller();
    let labels = meta.labels.unwrap_or_default();
    let annotations = meta.annotations.unwrap_or_default();
    let name = meta.name.filter(|name| !name.is_empty()).ok_or(ProjectError::Nameless { kind: kind.name() })?;
    let zone = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]
        .into_iter()
        .find_map(|label| labels.get(label));
    let containers = [status.init_container_statuses, status.container_statuses];
    Ok(ObjectFacts {
        zone: zone.filter(|_| kind == Kind::Node).cloned().unwrap_or_default(),
        labels,
        revision: annotations
            .get("deployment.kubernetes.io/revision")
            .cloned()
            .or(status.update_revision)
            .unwrap_or_default(),
        owner,
        object: ObjectRef {
            api_version: kind.api_version().to_owned(),
            kind: kind.name().to_owned(),
            namespace: meta.namespace.unwrap_or_default(),
            name,
            uid: meta.uid.unwrap_or_default(),
        },
        resource_version: meta.resource_version.unwrap_or_default(),
        created_at: meta.creation_timestamp,
        deleting_at: meta.deletion_timestamp,
        phase: status.phase.unwrap_or_default(),
        reason: status.reason.unwrap_or_default(),
        conditions: status.conditions.into_iter().flatten().map(Into::into).collect(),
        containers: containers.into_iter().flatten().flatten().map(Into::into).collect(),
        replicas: status.desired_number_scheduled,
        ready_replicas: status.ready_replicas.or(status.number_ready).or(status.ready),
        ..ObjectFacts::default()
    })
}
