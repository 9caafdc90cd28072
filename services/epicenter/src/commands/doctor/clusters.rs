//! Looks at clusters: whether they answer, what may be done there, and their clocks.

use std::time::SystemTime;

use epicenter_exporter::project::Kind;
use epicenter_runtime::{Metrics, with_causes};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, Client};

use super::super::services;
use super::Findings;
use crate::cluster::Cluster;
use crate::settings::Settings;

/// Clocks may differ by that, s: as much as the lag ranges of causal rules tolerate.
const SKEW: i64 = 5;

/// Something that must be allowed.
struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    /// The only one that is meant.
    name: &'static str,
    /// In which namespace; everywhere when it is empty.
    namespace: String,
}

impl Right {
    fn everywhere(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, name: "", namespace: String::new() }
    }

    /// What an exporter needs in the cluster of `client`.
    fn of_exporter(settings: &Settings, client: &Client) -> Vec<Self> {
        let mut rights = vec![Self { name: "kube-system", ..Self::everywhere("get", "", "namespaces") }];
        rights.extend(["list", "watch"].map(|verb| Self::everywhere(verb, "", "events")));
        for kind in Kind::ALL {
            let group = kind.api_version().rsplit_once('/').map_or("", |(group, _)| group);
            rights.extend(["list", "watch"].map(|verb| Self::everywhere(verb, group, kind.plural())));
        }
        let lease = &settings.exporter.lease;
        if lease.enabled {
            let namespace = if lease.namespace.is_empty() { client.default_namespace() } else { &lease.namespace };
            let on_leases = ["create", "get", "update"].map(|verb| Self {
                namespace: namespace.to_owned(),
                ..Self::everywhere(verb, "coordination.k8s.io", "leases")
            });
            rights.extend(on_leases);
        }
        rights
    }

    /// What a sink needs besides.
    fn of_sink() -> [Self; 2] {
        [Self::everywhere("patch", "epicenter.dev", "incidents"), Self::everywhere("create", "events.k8s.io", "events")]
    }

    async fn is_granted(&self, settings: &Settings, client: &Client) -> anyhow::Result<bool> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        // A Lease of its name is enough, but to create one cannot be limited to a name.
        let lease = if self.resource == "leases" && self.verb != "create" { &settings.exporter.lease.name } else { "" };
        let attributes = ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(self.resource.to_owned()),
            verb: Some(self.verb.to_owned()),
            name: some(self.name).or_else(|| some(lease)),
            namespace: some(&self.namespace),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let answer = Api::all(client.clone()).create(&kube::api::PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, group, resource, name, namespace } = self;
        write!(f, "{verb} {resource}")?;
        for (before, part) in [(".", *group), (" ", *name), (" in ", namespace.as_str())] {
            if !part.is_empty() {
                write!(f, "{before}{part}")?;
            }
        }
        Ok(())
    }
}

/// Looks at the clusters that an exporter of this configuration would read.
pub(super) async fn look(settings: &Settings, findings: &mut Findings) -> anyhow::Result<()> {
    if !settings.clusters.is_set() {
        return match Cluster::open(&settings.cluster).await {
            Ok(cluster) => cluster_of(settings, &cluster, "", findings).await,
            Err(error) => findings.bad(&format!("cluster: {error:#}")),
        };
    }
    let origins = match services::origins(settings).await {
        Ok(origins) => origins,
        Err(error) => return findings.bad(&format!("clusters: {error:#}")),
    };
    for origin in origins {
        let found = match origin.look().await {
            Ok(found) => found,
            Err(error) => {
                findings.bad(&format!("clusters: {origin}: {error}"))?;
                continue;
            }
        };
        findings.well(&format!("clusters: {origin}: {}", found.len()))?;
        for found in found {
            let (name, place) = (found.name.clone(), found.place.clone());
            match found.config() {
                Ok(config) => {
                    let cluster = Cluster::of(name.clone(), config);
                    cluster_of(settings, &cluster, &format!(" {name}"), findings).await?;
                }
                Err(error) => findings.bad(&format!("cluster {name}: {place}: {error}"))?,
            }
        }
    }
    Ok(())
}

/// Looks at a cluster; `name` is put behind what is looked at.
async fn cluster_of(settings: &Settings, cluster: &Cluster, name: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let client = match cluster.asking("", &Metrics::default()) {
        Ok(client) => client,
        Err(error) => return findings.bad(&format!("cluster{name}: {error:#}")),
    };
    let request = axum::http::Request::get("/version").body(kube::client::Body::empty())?;
    let asked = SystemTime::now();
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) => {
            let mend = if name.is_empty() {
                format!("check the context `{0}` with `kubectl --context {0} get nodes`", cluster.context)
            } else {
                "check its kubeconfig with `kubectl --kubeconfig FILE get nodes`".to_owned()
            };
            return findings.bad(&format!(
                "cluster{name}: {} cannot be reached: {}; {mend}",
                cluster.url(),
                with_causes(&error)
            ));
        }
    };
    findings.well(&format!("cluster{name}: {} answers", cluster.url()))?;
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    match date.map(|date| skew(date, asked)).transpose() {
        Ok(None) => findings.well(&format!("clock{name}: the API server does not tell its time"))?,
        Ok(Some(what)) => findings.well(&format!("clock{name}: {what}"))?,
        Err(error) => findings.bad(&format!("clock{name}: {error:#}"))?,
    }
    let mut rights = Right::of_exporter(settings, &client);
    if name.is_empty() {
        rights.extend(Right::of_sink());
    }
    let mut refused = Vec::new();
    for right in rights {
        match right.is_granted(settings, &client).await {
            Ok(true) => {}
            Ok(false) => refused.push(right.to_string()),
            Err(error) => return findings.bad(&format!("access{name}: {error:#}")),
        }
    }
    if refused.is_empty() {
        return findings.well(&format!("access{name}: everything that is needed is allowed"));
    }
    findings.bad(&format!(
        "access{name}: not allowed: {}; bind the ClusterRole of docs/operations.md (get of namespace kube-system, and list and watch of \
         events are needed, the others only give context)",
        refused.join(", ")
    ))
}

/// How far this machine's clock is from the API server's.
fn skew(date: &str, asked: SystemTime) -> anyhow::Result<String> {
    let theirs = jiff::fmt::rfc2822::parse(date)?.timestamp().as_second();
    let ours = i64::try_from(asked.duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?;
    let seconds = ours - theirs;
    anyhow::ensure!(
        seconds.abs() <= SKEW,
        "this machine is {seconds} s from the API server: synchronise both with NTP, times of Events are compared"
    );
    Ok(format!("within {SKEW} s of the API server"))
}
