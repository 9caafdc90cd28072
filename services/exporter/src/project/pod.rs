//! What a pod, or the template of one, refers to, and how its containers fare.

use epicenter_model::{ContainerFacts, Timestamp};
use serde::Deserialize;

use super::object::cut;

/// A pod's `spec`, or that of a template.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    volumes: Option<Vec<Volume>>,
    init_containers: Option<Vec<Container>>,
    containers: Option<Vec<Container>>,
    image_pull_secrets: Option<Vec<Local>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: Option<String>,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<serde::de::IgnoredAny>,
    config_map: Option<Local>,
    secret: Option<Local>,
    projected: Option<Projected>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_name: Option<String>,
}

#[derive(Deserialize)]
struct Projected {
    sources: Option<Vec<Projection>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Projection {
    config_map: Option<Local>,
    secret: Option<Local>,
}

/// A name in the pod's own namespace. A volume calls it `secretName`.
#[derive(Deserialize)]
struct Local {
    #[serde(alias = "secretName")]
    name: Option<String>,
    optional: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    image: Option<String>,
    env: Option<Vec<Env>>,
    env_from: Option<Vec<EnvFrom>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    value_from: Option<EnvSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvSource {
    config_map_key_ref: Option<Local>,
    secret_key_ref: Option<Local>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvFrom {
    config_map_ref: Option<Local>,
    secret_ref: Option<Local>,
}

/// What a pod cannot start without.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) images: Vec<String>,
    pub(super) claims: Vec<String>,
    pub(super) config_maps: Vec<String>,
    pub(super) secrets: Vec<String>,
}

impl Needs {
    fn configured(&mut self, config_map: Option<Local>, secret: Option<Local>) {
        // What is optional does not keep a pod from starting.
        let needed = |local: Option<Local>| local.filter(|local| local.optional != Some(true))?.name;
        insert(&mut self.config_maps, needed(config_map));
        insert(&mut self.secrets, needed(secret));
    }
}

fn insert(names: &mut Vec<String>, name: Option<String>) {
    if let Some(name) = name.filter(|name| !name.is_empty() && !names.contains(name)) {
        names.push(name);
    }
}

impl PodSpec {
    /// What it refers to, each name once, in the order of the spec.
    pub(super) fn needs(self, pod: &str) -> Needs {
        let mut needs = Needs::default();
        for volume in self.volumes.into_iter().flatten() {
            insert(&mut needs.claims, volume.persistent_volume_claim.and_then(|claim| claim.claim_name));
            if volume.ephemeral.is_some() {
                // The ephemeral volume controller names the claim so.
                insert(&mut needs.claims, volume.name.map(|volume| format!("{pod}-{volume}")));
            }
            needs.configured(volume.config_map, volume.secret);
            for source in volume.projected.and_then(|projected| projected.sources).into_iter().flatten() {
                needs.configured(source.config_map, source.secret);
            }
        }
        for container in self.init_containers.into_iter().flatten().chain(self.containers.into_iter().flatten()) {
            insert(&mut needs.images, container.image);
            for source in container.env.into_iter().flatten().filter_map(|env| env.value_from) {
                needs.configured(source.config_map_key_ref, source.secret_key_ref);
            }
            for source in container.env_from.into_iter().flatten() {
                needs.configured(source.config_map_ref, source.secret_ref);
            }
        }
        for secret in self.image_pull_secrets.into_iter().flatten() {
            needs.configured(None, Some(secret));
        }
        needs
    }
}

/// A row of `status.containerStatuses`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    name: Option<String>,
    ready: Option<bool>,
    restart_count: Option<i64>,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

#[derive(Default, Deserialize)]
struct ContainerState {
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Default, Deserialize)]
struct Waiting {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    reason: Option<String>,
    exit_code: Option<i64>,
    finished_at: Option<Timestamp>,
}

impl From<ContainerStatus> for ContainerFacts {
    fn from(wire: ContainerStatus) -> Self {
        let state = wire.state.unwrap_or_default();
        let waiting = state.waiting.unwrap_or_default();
        let end = state.terminated.or(wire.last_state.unwrap_or_default().terminated).unwrap_or_default();
        Self {
            name: wire.name.unwrap_or_default(),
            ready: wire.ready.unwrap_or_default(),
            restarts: wire.restart_count.unwrap_or_default(),
            waiting: waiting.reason.unwrap_or_default(),
            waiting_message: cut(waiting.message.unwrap_or_default()),
            terminated: end.reason.unwrap_or_default(),
            exit_code: end.exit_code,
            finished_at: end.finished_at,
        }
    }
}
