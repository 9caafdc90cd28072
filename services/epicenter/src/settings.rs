//! Everything that can be configured.

use std::path::Path;
use std::sync::Arc;

use epicenter_console::ConsoleConfig;
use epicenter_exporter::{ExporterConfig, FleetConfig};
use epicenter_model::Codec;
use epicenter_runtime::{
    AdminConfig, ArchiveConfig, BusConfig, ConfigErrors, Health, Registry, RegistryConfig, RegistryError,
    Settings as Checked, TracesConfig, telemetry,
};
use epicenter_sink::ObjectsConfig;
use serde::{Deserialize, Serialize};

/// A cluster is heard of twice in that time, s.
const LEAST_SILENCE: u32 = 60;

/// The configuration of `epicenter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is logged, such as `info` or `warn,epicenter_bus=debug`; empty for the command's own default.
    pub log: String,
    /// How to reach the cluster.
    pub cluster: ClusterConfig,
    /// The clusters that `epicenter exporter` reads, when they are more than that one.
    pub clusters: FleetConfig,
    /// Rules of your own.
    pub rules: RulesConfig,
    /// The log.
    pub bus: BusConfig,
    /// The schema registry of a log on Kafka.
    pub registry: RegistryConfig,
    /// Who is told of the way of records.
    pub traces: TracesConfig,
    /// The admin endpoint.
    pub admin: AdminConfig,
    /// The console.
    pub console: ConsoleConfig,
    /// What is read from the cluster.
    pub exporter: ExporterConfig,
    /// What is shown in the cluster.
    pub objects: ObjectsConfig,
    /// Who is told of incidents.
    pub alerts: AlertsConfig,
    /// All clusters together.
    pub fleet: FleetSection,
    /// What is kept for long.
    pub archive: ArchiveConfig,
}

/// What is said of all clusters together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSection {
    /// A cluster of which nothing is heard for so long, while others go on, is an incident, s. The same in all replicas.
    pub silent_after_s: u32,
}

impl Default for FleetSection {
    fn default() -> Self {
        // The fleet hears of a cluster every half minute; an exporter's restart or a rebalance takes less than a minute.
        Self { silent_after_s: 120 }
    }
}

/// Rules of your own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// A directory whose files `*.yaml` are read when a service starts, in order of name; empty for none. Enrichers and
    /// correlators must have the same ones.
    pub directory: String,
}

/// Who is told of incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// A file of receivers and rules, read by `up` and by `alerts run` when they start; empty for none.
    pub file: String,
}

/// How to reach the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// A kubeconfig file; empty for `$KUBECONFIG`, `~/.kube/config`, or the pod's service account.
    pub kubeconfig: String,
    /// A context of it; empty for the current one.
    pub context: String,
}

impl Checked for Settings {
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = self.bus.problems();
        if let Err(error) = telemetry::check(&self.log) {
            problems.push(("log".to_owned(), error.to_string()));
        }
        if self.fleet.silent_after_s < LEAST_SILENCE {
            let what = format!("must be at least {LEAST_SILENCE}: a cluster is heard of every 30 s");
            problems.push(("fleet.silent_after_s".to_owned(), what));
        }
        let below = |section: &str, found: Vec<(String, String)>| {
            found.into_iter().map(|(key, what)| (format!("{section}.{key}"), what)).collect::<Vec<_>>()
        };
        // A cluster without a name is named after its context.
        let mut exporter = self.exporter.clone();
        if exporter.cluster.is_empty() {
            exporter.cluster = "unnamed".to_owned();
        }
        problems.extend(self.registry.problems());
        problems.extend(self.traces.problems());
        problems.extend(self.admin.problems());
        problems.extend(below("clusters", self.clusters.problems()));
        problems.extend(below("exporter", exporter.problems()));
        problems.extend(below("objects", self.objects.problems()));
        problems.extend(self.archive.problems());
        problems.extend(self.console.problems());
        problems
    }
}

impl Settings {
    /// The configuration in `file` and in the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigErrors> {
        epicenter_runtime::load(file, std::env::vars())
    }

    /// The schema registry, if there is one and the log is on Kafka.
    pub fn registry(&self, health: Health) -> Result<Option<Arc<Registry>>, RegistryError> {
        (self.registry.is_set() && self.bus.is_kafka()).then(|| Registry::open(&self.registry, health)).transpose()
    }

    /// A codec that reads the log.
    pub fn reader(&self) -> Result<Codec, RegistryError> {
        let registry = self.registry(Health::new())?;
        Ok(registry.map_or_else(Codec::single_object, |registry| registry.reader()))
    }

    /// A codec that writes to the log.
    pub fn writer(&self) -> Result<Codec, RegistryError> {
        match self.registry(Health::new())? {
            Some(registry) if self.registry.write => registry.writer(&self.bus.kafka.prefix),
            _ => self.reader(),
        }
    }
}
