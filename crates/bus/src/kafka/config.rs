//! How to reach a Kafka cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::MAX_RECORD;

/// Room for what frames a batch, bytes.
pub(super) const BATCH_OVERHEAD: usize = 64 * 1024;

/// How to reach a Kafka cluster, and how this installation uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port`, comma-separated.
    pub bootstrap: String,
    /// Put in front of each topic, group and transactional id, such as `epicenter.`.
    pub prefix: String,
    /// Partitions of each topic.
    pub partitions: u32,
    /// Replicas of topics that are created.
    pub replication: i32,
    /// After that time without a heartbeat a member of a consumer group counts as dead.
    pub session_timeout: Duration,
    /// Between two heartbeats of a member of a consumer group.
    pub heartbeat_interval: Duration,
    /// A transaction that its owner leaves open is aborted after that time; until then it hides what came after it.
    pub transaction_timeout: Duration,
    /// Records of a partition are sent in batches of up to that size, bytes: what the topics' `max.message.bytes` must allow.
    pub batch_bytes: usize,
    /// librdkafka properties for every client (`security.protocol`, `sasl.*`, `ssl.*` …).
    pub properties: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// The property for which a client must have TLS built in, if there is one.
    pub(super) fn needs_tls(&self) -> Option<&str> {
        let needs = |(name, value): &(&String, &String)| match name.as_str() {
            "security.protocol" => value.to_ascii_lowercase().contains("ssl"),
            "sasl.mechanism" | "sasl.mechanisms" => !value.eq_ignore_ascii_case("PLAIN"),
            name => name.starts_with("ssl."),
        };
        self.properties.iter().find(needs).map(|(name, _)| name.as_str())
    }

    /// The least for `batch_bytes`: the largest record, and what goes around it.
    pub const MIN_BATCH_BYTES: usize = MAX_RECORD + BATCH_OVERHEAD;

    /// The defaults, for the cluster at `bootstrap`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            prefix: "epicenter.".to_owned(),
            partitions: 12,
            replication: 1,
            // Long enough for a stalled disk or a garbage collection of the coordinator, short enough for a take-over
            // that nobody waits for.
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(3),
            // A stopped owner must not hold read-committed readers for long.
            transaction_timeout: Duration::from_secs(10),
            // A partition has one request in flight: large ones make up for it (docs/adr/0010).
            batch_bytes: 4 * 1024 * 1024,
            properties: BTreeMap::new(),
        }
    }
}
