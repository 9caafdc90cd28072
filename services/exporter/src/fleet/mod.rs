//! Many clusters in one process: they come, change and go while it runs.

mod access;
mod origin;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use epicenter_runtime::{Backoff, Health as Parts, Metrics, with_causes};
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::claim::Claims;
use crate::cluster::{ExporterError, Log, run};
use crate::config::ExporterConfig;
use crate::farewell::farewell;
use crate::health::Health;
use access::Access;
pub use access::AccessError;
pub use origin::{Found, LABEL, Origin, OriginError};

/// The part of the process that looks for clusters.
const PART: &str = "clusters";
/// A client must be made by then: a kubeconfig may run a command for its credentials.
const CLIENT_DEADLINE: Duration = Duration::from_secs(30);

/// Where the clusters of one exporter process come from; when neither is set it is the one of `cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// A directory of kubeconfigs, each named after its cluster; its current context is read.
    pub directory: Option<std::path::PathBuf>,
    /// Read Secrets of the exporter's own namespace that have the label `epicenter.dev/cluster: NAME`.
    pub secrets: bool,
    /// ms between two looks.
    pub poll_ms: u64,
}

impl Default for FleetConfig {
    fn default() -> Self {
        // The kubelet brings a changed Secret into a volume after up to a minute; ten seconds add little to that.
        Self { directory: None, secrets: false, poll_ms: 10_000 }
    }
}

impl FleetConfig {
    /// There is a fleet, not one cluster.
    pub fn is_set(&self) -> bool {
        self.directory.is_some() || self.secrets
    }

    /// What is wrong with it: key and reason.
    pub fn problems(&self) -> Vec<(String, String)> {
        let wrong = self.poll_ms == 0;
        wrong.then(|| ("poll_ms".to_owned(), "must be at least 1".to_owned())).into_iter().collect()
    }
}

/// The exporters of a fleet.
pub struct Fleet {
    /// How each cluster is read; its name is that of its kubeconfig.
    pub exporter: ExporterConfig,
    /// Where the clusters come from, the first before the others.
    pub origins: Vec<Origin>,
    /// How often the origins are looked at.
    pub poll: Duration,
    /// Where the records go.
    pub log: Log,
    /// The process's health.
    pub parts: Parts,
    /// The process's metrics.
    pub metrics: Metrics,
}

/// A cluster that is read.
struct Member {
    place: String,
    fingerprint: u64,
    stop: CancellationToken,
    /// Cancelled when it was taken out, not only changed.
    leaves: CancellationToken,
}

/// What is read now.
#[derive(Default)]
struct Running {
    members: BTreeMap<String, Member>,
    names: BTreeMap<Id, String>,
    tasks: JoinSet<()>,
    claims: Claims,
    /// What is shown as unwell: kubeconfigs by place.
    unwell: BTreeSet<String>,
}

impl Fleet {
    /// Reads all clusters until `stop`. One that fails is tried again and leaves the others alone.
    ///
    /// # Errors
    /// A configuration that makes no sense.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ExporterError> {
        let exporter = ExporterConfig { cluster: "unnamed".to_owned(), ..self.exporter.clone() };
        exporter.check()?;
        let mut ticks = tokio::time::interval(self.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut found: Vec<Vec<Found>> = self.origins.iter().map(|_| Vec::new()).collect();
        let mut running = Running::default();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => match stop.run_until_cancelled(self.look(&mut found)).await {
                    Some(()) => true,
                    None => break,
                },
                Some(ended) = running.tasks.join_next_with_id() => self.ended(&mut running, ended),
            };
            if ended {
                self.reconcile(&found, &mut running);
            }
        }
        running.members.values().for_each(|member| member.stop.cancel());
        while running.tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Looks at every origin. One that cannot be looked at keeps what it had: a share that is away for a minute must not
    /// end a fleet.
    async fn look(&self, found: &mut [Vec<Found>]) {
        let mut problems = Vec::new();
        for (origin, found) in self.origins.iter().zip(found) {
            match origin.look().await {
                Ok(now) => *found = now,
                Err(error) => problems.push(format!("{origin}: {error}")),
            }
        }
        match problems.is_empty() {
            true => self.parts.well(PART),
            false => self.parts.unwell(PART, problems.join("; ")),
        }
    }

    /// Starts what is new, stops what is gone or has changed. What has changed is started when it has stopped.
    fn reconcile(&self, found: &[Vec<Found>], running: &mut Running) {
        let mut chosen: BTreeMap<&str, &Found> = BTreeMap::new();
        let mut unwell = BTreeMap::new();
        for found in found.iter().flatten() {
            let name = found.name.as_str();
            let reading = running.members.get(name).is_some_and(|member| member.place == found.place);
            match chosen.get(name).copied() {
                // Who has the name keeps it.
                Some(other) if reading => {
                    unwell.insert(other.place.clone(), taken(name, &found.place));
                    chosen.insert(name, found);
                }
                Some(other) => drop(unwell.insert(found.place.clone(), taken(name, &other.place))),
                None => drop(chosen.insert(name, found)),
            }
        }
        for (name, found) in &chosen {
            let access = match &found.access {
                Ok(access) => access,
                Err(error) => {
                    unwell.insert(found.place.clone(), error.to_string());
                    if !running.members.contains_key(*name) {
                        self.health(name).down();
                    }
                    continue;
                }
            };
            match running.members.get(*name) {
                Some(member) if member.fingerprint == access.fingerprint && member.place == found.place => {}
                Some(member) => member.stop.cancel(),
                None => self.start(found, access, running),
            }
        }
        for (name, member) in &running.members {
            if !chosen.contains_key(name.as_str()) && !member.stop.is_cancelled() {
                tracing::info!(cluster = name, place = member.place, "its kubeconfig is gone: no longer reading it");
                member.leaves.cancel();
                member.stop.cancel();
            }
        }
        let solved = running.unwell.iter().filter(|place| !unwell.contains_key(*place));
        solved.for_each(|place| self.parts.forget(place));
        unwell.iter().for_each(|(place, why)| self.parts.unwell(place, why));
        running.unwell = unwell.into_keys().collect();
    }

    fn start(&self, found: &Found, access: &Access, running: &mut Running) {
        let (name, place) = (found.name.clone(), found.place.clone());
        let (stop, leaves) = (CancellationToken::new(), CancellationToken::new());
        tracing::info!(cluster = name, place, url = %access.config.cluster_url, "reading it");
        let config = ExporterConfig { cluster: name.clone(), ..self.exporter.clone() };
        let member = Attempts {
            config,
            access: access.config.clone(),
            log: self.log.clone(),
            claims: running.claims.by(&place),
            place: place.clone(),
            health: self.health(&name),
            stop: stop.clone(),
            leaves: leaves.clone(),
        };
        let task = running.tasks.spawn(member.run());
        running.names.insert(task.id(), name.clone());
        running.members.insert(name, Member { place, fingerprint: access.fingerprint, stop, leaves });
    }

    /// A member's task has ended; says whether another may begin at once.
    fn ended(&self, running: &mut Running, ended: Result<(Id, ()), tokio::task::JoinError>) -> bool {
        let (id, panicked) = match &ended {
            Ok((id, ())) => (*id, false),
            Err(error) => (error.id(), true),
        };
        let Some(name) = running.names.remove(&id) else { return true };
        running.members.remove(&name);
        let health = self.health(&name);
        health.gone();
        if panicked {
            tracing::error!(cluster = name, "its exporter panicked: a bug, please report it; it begins again");
            health.down();
        }
        !panicked
    }

    fn health(&self, name: &str) -> Health {
        Health::new(name, self.parts.clone(), self.metrics.clone())
    }
}

fn taken(name: &str, by: &str) -> String {
    format!("it is left alone, since {by} names a cluster `{name}` too: give each cluster a name of its own")
}

/// One member: its exporter, tried again as often as it fails.
struct Attempts {
    config: ExporterConfig,
    access: kube::Config,
    log: Log,
    claims: Claims,
    place: String,
    health: Health,
    stop: CancellationToken,
    leaves: CancellationToken,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no client can be made of it: {}; renew the kubeconfig's credentials", with_causes(.0))]
    Client(#[from] kube::Error),
    #[error("a command that it runs for credentials has not ended within {CLIENT_DEADLINE:?}")]
    Deadline,
    #[error(transparent)]
    Exporter(#[from] ExporterError),
}

impl Attempts {
    async fn run(self) {
        let mut backoff = Backoff::new(self.config.retry_first_ms, self.config.retry_longest_ms);
        while let Some(outcome) = self.stop.run_until_cancelled(self.client()).await {
            let outcome = match outcome {
                Ok(client) => self.export(client).await,
                Err(error) => Err(error),
            };
            if self.stop.is_cancelled() {
                break;
            }
            let why = outcome.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
            self.health.cluster(Some(format!("{}: {why}", self.place)));
            if self.stop.run_until_cancelled(backoff.wait(None)).await.is_none() {
                break;
            }
        }
        if self.leaves.is_cancelled() {
            self.farewell().await;
        }
    }

    /// Writes the cluster's last record, so that nobody waits for it.
    async fn farewell(&self) {
        let (log, name) = (self.log.clone(), self.config.cluster.clone());
        let error = match tokio::task::spawn_blocking(move || farewell(&log, &name)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => ExporterError::Ended("farewell").to_string(),
        };
        let mend = "it will count as silent: `epicenter forget` takes it out";
        tracing::warn!(cluster = self.config.cluster, error, mend, "its last record could not be written");
    }

    async fn client(&self) -> Result<Client, AttemptError> {
        let access = self.access.clone();
        let made = tokio::task::spawn_blocking(move || crate::client(access));
        let made = tokio::time::timeout(CLIENT_DEADLINE, made).await.map_err(|_| AttemptError::Deadline)?;
        Ok(made.map_err(|_| ExporterError::Ended("client"))??)
    }

    async fn export(&self, client: Client) -> Result<(), AttemptError> {
        let (config, log, claims) = (self.config.clone(), self.log.clone(), self.claims.clone());
        Ok(run(config, client, log, claims, self.health.clone(), self.stop.clone()).await?)
    }
}
