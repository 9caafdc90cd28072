//! Which of several exporters of a cluster reads it: the one that holds a Lease in that cluster.
//!
//! What keeps records from being written twice is the fencing of the log. The Lease only keeps two exporters from fencing
//! each other in turn. So a holder that cannot renew it goes on: it stops when it sees that another one has it, or when it
//! is fenced.

use std::time::Duration;

use epicenter_runtime::{Backoff, with_causes};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::ExporterConfig;
use crate::health::Health;

/// A Lease in the cluster that is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseConfig {
    /// Read the cluster only while holding the Lease: for when there is more than one exporter of it.
    pub enabled: bool,
    /// Its namespace; empty for the pod's own, or that of the kubeconfig's context.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// s after which a Lease that is not renewed can be taken by another. 15, as Kubernetes' own controllers.
    pub duration_s: u32,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        let name = "epicenter-exporter".to_owned();
        Self { enabled: false, namespace: String::new(), name, duration_s: 15 }
    }
}

impl LeaseConfig {
    /// What is wrong with it: key and reason.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.name.is_empty() {
            problems.push(("name".to_owned(), "must be a name, such as epicenter-exporter".to_owned()));
        }
        if self.duration_s < RENEWALS {
            problems.push(("duration_s".to_owned(), format!("must be at least {RENEWALS}")));
        }
        problems
    }
}

/// A Lease is renewed so often within its duration.
const RENEWALS: u32 = 3;

/// Why the Lease could not be asked for.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("{}", with_causes(.0))]
    Api(#[from] kube::Error),
    #[error("no answer within {0:?}")]
    Deadline(Duration),
}

impl LeaseError {
    fn is(&self, code: u16) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == code)
    }

    /// What, and how to mend it.
    fn explained(&self, election: &Election) -> String {
        let mend = match self {
            error if error.is(403) => "; grant get, create and update on leases there to the exporter's account",
            error if error.is(404) => "; create the namespace, or set exporter.lease.namespace",
            _ => "",
        };
        format!("Lease {}/{}: {self}{mend}", election.namespace, election.name)
    }
}

/// Who has the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Mine,
    /// Another one, by that name.
    Other(String),
}

/// One exporter's part in the choice.
pub(crate) struct Election {
    api: Api<Lease>,
    namespace: String,
    name: String,
    /// By which others know this exporter.
    identity: String,
    duration: Duration,
    deadline: Duration,
    backoff: Backoff,
    health: Health,
    seen: Option<Seen>,
}

/// A state of the Lease, and when it was first seen: other clocks do not matter.
struct Seen {
    spec: LeaseSpec,
    at: Instant,
}

impl Election {
    /// The election for the cluster of `client`, when there is to be one.
    pub(crate) fn new(config: &ExporterConfig, client: Client, health: Health) -> Option<Self> {
        let LeaseConfig { enabled, namespace, name, duration_s } = &config.lease;
        let namespace = if namespace.is_empty() { client.default_namespace() } else { namespace }.to_owned();
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "exporter".to_owned());
        enabled.then(|| Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            name: name.clone(),
            identity: format!("{host}_{:016x}", rand::random::<u64>()),
            duration: Duration::from_secs((*duration_s).into()),
            deadline: config.request_timeout(),
            backoff: Backoff::new(config.retry_first_ms, config.retry_longest_ms),
            health,
            seen: None,
        })
    }

    /// Waits until this exporter has the Lease.
    pub(crate) async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(Standing::Mine) => {
                    self.health.leading();
                    self.backoff.reset();
                    return;
                }
                Ok(Standing::Other(holder)) => {
                    self.health.standby(&holder);
                    self.backoff.reset();
                    tokio::time::sleep(self.period()).await;
                }
                // Somebody else wrote it at the same time.
                Err(error) if error.is(409) => self.backoff.wait(None).await,
                Err(error) => {
                    self.health.cluster(Some(error.explained(self)));
                    self.backoff.wait(None).await;
                }
            }
        }
    }

    /// Renews the Lease until another exporter has it; gives that one's name.
    pub(crate) async fn keep(&mut self) -> String {
        loop {
            tokio::time::sleep(self.period()).await;
            match self.attempt().await {
                Ok(Standing::Mine) => {}
                Ok(Standing::Other(holder)) => return holder,
                Err(error) => tracing::debug!(error = error.explained(self), "the Lease is not renewed"),
            }
        }
    }

    /// Lets another exporter have it at once.
    pub(crate) async fn release(&mut self) {
        let released = async {
            let lease = self.get().await?;
            let Some(mut lease) = lease.filter(|lease| holder(lease) == self.identity) else { return Ok(()) };
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = None;
            }
            self.in_time(self.api.replace(&self.name, &PostParams::default(), &lease)).await.map(drop)
        };
        if let Err(error) = released.await {
            tracing::warn!(error = error.explained(self), "not released: another exporter waits until it expires");
        }
        self.seen = None;
    }

    /// Between two requests; jittered, so that those who wait do not ask together.
    fn period(&self) -> Duration {
        (self.duration / RENEWALS).mul_f64(rand::random_range(0.8..=1.0))
    }

    /// Looks at the Lease, and takes or renews it unless another one has it.
    async fn attempt(&mut self) -> Result<Standing, LeaseError> {
        let found = self.get().await?;
        let spec = found.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        if self.seen.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.seen = Some(Seen { spec: spec.clone(), at: Instant::now() });
        }
        let unchanged = self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.at.elapsed());
        if let Some(other) = other_holder(&spec, &self.identity, unchanged) {
            return Ok(Standing::Other(other));
        }
        let spec = self.taken(spec);
        let written = match found {
            Some(lease) => {
                let lease = Lease { spec: Some(spec), ..lease };
                self.in_time(self.api.replace(&self.name, &PostParams::default(), &lease)).await?
            }
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                self.in_time(self.api.create(&PostParams::default(), &lease)).await?
            }
        };
        self.seen = written.spec.map(|spec| Seen { spec, at: Instant::now() });
        Ok(Standing::Mine)
    }

    fn taken(&self, before: LeaseSpec) -> LeaseSpec {
        let now = Some(MicroTime(jiff::Timestamp::now()));
        let mine = before.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: if mine { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(if mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    async fn get(&self) -> Result<Option<Lease>, LeaseError> {
        self.in_time(self.api.get_opt(&self.name)).await
    }

    async fn in_time<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
        Ok(tokio::time::timeout(self.deadline, request).await.map_err(|_| LeaseError::Deadline(self.deadline))??)
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Who has the Lease, when it is not `me` and has not let it expire: it has not changed for that long.
fn other_holder(spec: &LeaseSpec, me: &str, unchanged: Duration) -> Option<String> {
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty() && *holder != me)?;
    let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
    (unchanged < Duration::from_secs(duration)).then(|| holder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(holder: Option<&str>, unchanged_s: u64, expected: Option<&str>) {
        let holder_identity = holder.map(str::to_owned);
        let spec = LeaseSpec { holder_identity, lease_duration_seconds: Some(15), ..LeaseSpec::default() };
        let found = other_holder(&spec, "me", Duration::from_secs(unchanged_s));
        assert_eq!(found.as_deref(), expected, "{holder:?}, {unchanged_s} s");
    }

    #[test]
    fn can_be_taken_when_it_is_free_or_expired() {
        check(None, 0, None);
        check(Some(""), 0, None);
        check(Some("me"), 0, None);
        check(Some("other"), 0, Some("other"));
        check(Some("other"), 14, Some("other"));
        check(Some("other"), 15, None);
    }
}
