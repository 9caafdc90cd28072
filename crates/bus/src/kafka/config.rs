//! How to reach a Kafka cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::token::Tokens;
use crate::MAX_RECORD;

/// Room for what frames a batch, bytes.
pub(super) const BATCH_OVERHEAD: usize = 64 * 1024;

/// How to reach a Kafka cluster, and how this installation uses it.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, comma-separated.
    pub bootstrap: String,
    /// Put in front of each topic, group and transactional id, such as `epicenter.`.
    pub prefix: String,
    /// Partitions of each topic.
    pub partitions: u32,
    /// Replicas of topics that are created.
    pub replication: i32,
    /// After that time without a heartbeat a member of a consumer group counts as dead. Not of [`GroupProtocol::Consumer`].
    pub session_timeout: Duration,
    /// Between two heartbeats of a member of a consumer group. Not of [`GroupProtocol::Consumer`].
    pub heartbeat_interval: Duration,
    /// Who assigns partitions to the members of a group.
    pub group_protocol: GroupProtocol,
    /// Names this process among the members of its groups, for longer than it lives: when it is started again it has its
    /// partitions again, and the others do not notice. No two processes of a service may have the same one.
    pub instance: Option<String>,
    /// This process keeps the state of the partitions that it does not own, too, and so takes one over by reading only what came since.
    pub standby: bool,
    /// A transaction that its owner leaves open is aborted after that time; until then it hides what came after it.
    pub transaction_timeout: Duration,
    /// Records of a partition are sent in batches of up to that size, bytes: what the topics' `max.message.bytes` must allow.
    pub batch_bytes: usize,
    /// Where clients have the tokens of OAUTHBEARER from, if that is their mechanism.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// librdkafka properties for every client (`security.protocol`, `sasl.*`, `ssl.*` …).
    pub properties: BTreeMap<String, String>,
}

/// How the members of a consumer group agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// They agree among themselves, cooperatively.
    #[default]
    Classic,
    /// The brokers decide (KIP-848, Kafka 4.0 and later). They set the timeouts of session and heartbeat, too.
    Consumer,
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
            group_protocol: GroupProtocol::Classic,
            instance: None,
            standby: false,
            // A stopped owner must not hold read-committed readers for long.
            transaction_timeout: Duration::from_secs(10),
            // A partition has one request in flight: large ones make up for it (docs/adr/0010).
            batch_bytes: 4 * 1024 * 1024,
            tokens: None,
            properties: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bus;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let properties = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        KafkaConfig { properties, ..KafkaConfig::new("127.0.0.1:9092") }
    }

    #[test]
    fn tells_what_needs_tls() {
        let check = |name: &str, value: &str, expected: bool| {
            let config = with(name, value);
            assert_eq!(config.needs_tls(), expected.then_some(name), "{name}={value}");
        };
        check("security.protocol", "SASL_SSL", true);
        check("security.protocol", "ssl", true);
        check("security.protocol", "SASL_PLAINTEXT", false);
        check("sasl.mechanism", "PLAIN", false);
        check("sasl.mechanisms", "SCRAM-SHA-512", true);
        check("ssl.ca.location", "ca.pem", true);
        check("linger.ms", "5", false);
    }

    #[test]
    fn a_client_of_brokers_with_tls_has_it_or_says_how_to_get_it() {
        let opened = Bus::kafka(with("security.protocol", "SSL")).map(drop).map_err(|fault| fault.to_string());
        assert_eq!(opened.is_ok(), cfg!(feature = "tls"), "{opened:?}");
        assert!(opened.err().is_none_or(|said| said.contains("--features tls")));
    }
}
