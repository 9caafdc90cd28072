//! Which log a process works on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use epicenter_bus::{Bus, Fault, GroupProtocol, KafkaConfig, LocalConfig, Tokens};
use serde::{Deserialize, Serialize};

use crate::{Secret, SecretError, TokenEndpoint, TokenEndpointConfig, TokenFile};

/// The log: a Kafka cluster when `kafka.bootstrap` is set, else a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusConfig {
    /// The directory.
    pub local: LocalSection,
    /// The Kafka cluster.
    pub kafka: KafkaSection,
}

/// A log in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSection {
    /// Where; below the user's state directory when it is not set.
    pub directory: Option<PathBuf>,
    /// Partitions of each topic, fixed at creation.
    pub partitions: u32,
    /// How long records are kept, hours of log time.
    pub retention_hours: u64,
}

/// A log in a Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSection {
    /// `host:port`, comma-separated; empty for the log in a directory.
    pub bootstrap: String,
    /// Put in front of topics, groups and transactional ids.
    pub prefix: String,
    /// Partitions of each topic.
    pub partitions: u32,
    /// Replicas of topics that are created.
    pub replication: i32,
    /// After that many ms without a heartbeat a member of a consumer group counts as dead.
    pub session_timeout_ms: u64,
    /// ms between two heartbeats of a member of a consumer group.
    pub heartbeat_interval_ms: u64,
    /// Who assigns partitions: `classic`, or `consumer` for the brokers of Kafka 4.0 and later (KIP-848), which set the two times above, too.
    pub group_protocol: GroupProtocol,
    /// A name for this process that outlives it, of which no other one of its service has the same: it gets its partitions again when it is started
    /// again. Empty for none.
    pub instance: String,
    /// Keep the state of the partitions that others own, too, and so take one over by reading only what came since. Each process then has the
    /// memory for all partitions.
    pub standby: bool,
    /// After that many ms a transaction that its owner left open is aborted.
    pub transaction_timeout_ms: u64,
    /// Records of a partition are sent in batches of up to that many bytes. Less for brokers whose topics cannot take so much.
    pub batch_bytes: usize,
    /// A file with the token of OAUTHBEARER, which is read again before the token expires; empty for none.
    pub token_file: String,
    /// An identity provider that issues tokens of OAUTHBEARER, in place of a file.
    pub token_endpoint: TokenEndpointConfig,
    /// librdkafka properties for every client, such as `security.protocol`.
    pub properties: BTreeMap<String, String>,
    /// librdkafka properties whose values are secret, such as `sasl.password`.
    pub secrets: BTreeMap<String, Secret>,
}

impl Default for LocalSection {
    fn default() -> Self {
        // One cluster is the rule for an embedded installation; a week is what the topics on Kafka keep.
        Self { directory: None, partitions: 1, retention_hours: 7 * 24 }
    }
}

impl Default for KafkaSection {
    fn default() -> Self {
        let KafkaConfig { prefix, partitions, replication, batch_bytes, .. } = KafkaConfig::new("");
        let KafkaConfig { session_timeout, heartbeat_interval, transaction_timeout, .. } = KafkaConfig::new("");
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            bootstrap: String::new(),
            prefix,
            partitions,
            replication,
            session_timeout_ms: millis(session_timeout),
            heartbeat_interval_ms: millis(heartbeat_interval),
            group_protocol: GroupProtocol::default(),
            instance: String::new(),
            standby: false,
            transaction_timeout_ms: millis(transaction_timeout),
            batch_bytes,
            token_file: String::new(),
            token_endpoint: TokenEndpointConfig::default(),
            properties: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }
}

/// Properties that the kernel's guarantees rest on, or that other settings say.
const RESERVED: [&str; 13] = [
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "partition.assignment.strategy",
    "bootstrap.servers",
    "group.id",
    "transactional.id",
    "isolation.level",
    "enable.auto.commit",
    "enable.idempotence",
    "acks",
    "session.timeout.ms",
    "transaction.timeout.ms",
];

impl BusConfig {
    /// It is a Kafka cluster.
    pub fn is_kafka(&self) -> bool {
        !self.kafka.bootstrap.is_empty()
    }

    /// What is wrong with it, by key below `bus`.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: String| problems.push((format!("bus.{key}"), what));
        let KafkaSection { partitions, replication, session_timeout_ms, heartbeat_interval_ms, batch_bytes, .. } =
            &self.kafka;
        for (key, count) in [("local.partitions", self.local.partitions), ("kafka.partitions", *partitions)] {
            if count == 0 {
                wrong(key, "must be at least 1".to_owned());
            }
        }
        if *replication < 1 {
            wrong("kafka.replication", "must be at least 1".to_owned());
        }
        if heartbeat_interval_ms.saturating_mul(3) > *session_timeout_ms {
            wrong(
                "kafka.heartbeat_interval_ms",
                format!("must be at most a third of session_timeout_ms, {session_timeout_ms}"),
            );
        }
        let may_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.kafka.instance.len() > 249 || !self.kafka.instance.chars().all(may_name) {
            wrong("kafka.instance", "must have up to 249 letters, digits, `.`, `_` and `-`".to_owned());
        }
        let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|name| self.kafka.properties.get(*name));
        let endpoint = &self.kafka.token_endpoint;
        for (key, set) in [("token_file", !self.kafka.token_file.is_empty()), ("token_endpoint", endpoint.is_set())] {
            if set && mechanism.is_none_or(|mechanism| mechanism != "OAUTHBEARER") {
                let what = "needs bus.kafka.properties: {sasl.mechanism: OAUTHBEARER}".to_owned();
                wrong(&format!("kafka.{key}"), what);
            }
        }
        if !self.kafka.token_file.is_empty() && endpoint.is_set() {
            wrong("kafka.token_endpoint", "choose either a token_file or a token_endpoint".to_owned());
        }
        for (key, what) in endpoint.problems() {
            wrong(&format!("kafka.token_endpoint.{key}"), what);
        }
        if *batch_bytes < KafkaConfig::MIN_BATCH_BYTES {
            wrong(
                "kafka.batch_bytes",
                format!("must be at least {}, for the largest record", KafkaConfig::MIN_BATCH_BYTES),
            );
        }
        for name in self.kafka.properties.keys().chain(self.kafka.secrets.keys()) {
            if RESERVED.contains(&name.as_str()) {
                wrong(&format!("kafka.properties.{name}"), "is set by Epicenter and cannot be changed".to_owned());
            }
        }
        for name in self.kafka.properties.keys().filter(|name| name.contains("password") || name.contains("secret")) {
            wrong(
                &format!("kafka.properties.{name}"),
                format!("a secret does not belong here: write bus.kafka.secrets: {{{name}: {{file: PATH}}}}"),
            );
        }
        for (name, secret) in &self.kafka.secrets {
            if secret.file.is_some() == secret.env.is_some() {
                wrong(&format!("kafka.secrets.{name}"), SecretError::NotOnePlace.to_string());
            }
        }
        problems
    }

    /// Opens it; `directory` is where a local one is that the configuration does not place.
    pub fn open(&self, directory: &Path) -> Result<Bus, OpenError> {
        if self.is_kafka() {
            return Ok(Bus::kafka(self.kafka_config()?)?);
        }
        let directory = self.local.directory.clone().unwrap_or_else(|| directory.to_owned());
        let retention = Duration::from_secs(self.local.retention_hours.saturating_mul(3600));
        Ok(Bus::local(LocalConfig { directory, partitions: self.local.partitions, retention })?)
    }

    fn kafka_config(&self) -> Result<KafkaConfig, OpenError> {
        let section = &self.kafka;
        let tokens: Option<Arc<dyn Tokens>> = if section.token_endpoint.is_set() {
            Some(Arc::new(TokenEndpoint::new(&section.token_endpoint).map_err(OpenError::Authorities)?))
        } else {
            let file = PathBuf::from(&section.token_file);
            (!section.token_file.is_empty()).then(|| Arc::new(TokenFile(file)) as Arc<dyn Tokens>)
        };
        let mut properties = section.properties.clone();
        for (name, secret) in &section.secrets {
            properties.insert(name.clone(), secret.read()?);
        }
        Ok(KafkaConfig {
            bootstrap: section.bootstrap.clone(),
            prefix: section.prefix.clone(),
            partitions: section.partitions,
            replication: section.replication,
            session_timeout: Duration::from_millis(section.session_timeout_ms),
            heartbeat_interval: Duration::from_millis(section.heartbeat_interval_ms),
            group_protocol: section.group_protocol,
            standby: section.standby,
            instance: Some(section.instance.clone()).filter(|instance| !instance.is_empty()),
            transaction_timeout: Duration::from_millis(section.transaction_timeout_ms),
            batch_bytes: section.batch_bytes,
            tokens,
            properties,
        })
    }
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A secret that it needs cannot be had. Not retryable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The authorities of a token endpoint cannot be read. Not retryable.
    #[error("bus.kafka.token_endpoint.ca {0}")]
    Authorities(String),
    /// What the log says.
    #[error(transparent)]
    Bus(#[from] Fault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut BusConfig), key: &str) {
        let mut config = BusConfig::default();
        change(&mut config);
        let problems = config.problems();
        assert!(problems.iter().any(|(k, _)| k == key), "{problems:?}");
    }

    #[test]
    fn has_sound_defaults() {
        assert_eq!(BusConfig::default().problems(), []);
    }

    #[test]
    fn refuses_what_would_break_a_promise() {
        check(|c| c.local.partitions = 0, "bus.local.partitions");
        check(|c| c.kafka.token_file = "/t".to_owned(), "bus.kafka.token_file");
        check(|c| c.kafka.token_endpoint.url = "https://id/token".to_owned(), "bus.kafka.token_endpoint");
        check(|c| c.kafka.token_endpoint.client_id = "me".to_owned(), "bus.kafka.token_endpoint.url");
        check(|c| c.kafka.instance = "a b".to_owned(), "bus.kafka.instance");
        check(|c| c.kafka.heartbeat_interval_ms = 9000, "bus.kafka.heartbeat_interval_ms");
        check(|c| c.kafka.batch_bytes = 1_000_000, "bus.kafka.batch_bytes");
        check(|c| drop(c.kafka.properties.insert("acks".into(), "0".into())), "bus.kafka.properties.acks");
        check(
            |c| drop(c.kafka.properties.insert("sasl.password".into(), "x".into())),
            "bus.kafka.properties.sasl.password",
        );
        check(
            |c| drop(c.kafka.secrets.insert("sasl.password".into(), Secret::default())),
            "bus.kafka.secrets.sasl.password",
        );
    }
}
