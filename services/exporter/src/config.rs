//! What can be set.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_model::FLEET;
use serde::{Deserialize, Serialize};

use crate::cluster::ExporterError;
use crate::lease::LeaseConfig;
use crate::project::Kind;
use crate::redact::{RedactConfig, Redaction};
use crate::resource::Resource;
use crate::spool::SpoolConfig;

/// Timers are no finer than 1 ms.
const MOST_REQUESTS: u32 = 1_000;

/// It can be the name of a cluster: it stands in keys, in front of `/`.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

/// Selectors as `kubectl get` takes them; empty for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// `--field-selector`, such as `type!=Normal,involvedObject.kind=Pod`.
    pub fields: String,
    /// `--selector`, such as `team in (a, b)`.
    pub labels: String,
}

/// The exporter of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExporterConfig {
    /// The cluster's name, by which it is known everywhere. It decides the partition: do not rename a cluster.
    pub cluster: String,
    /// Objects that are watched besides Events, by resource. Default: all of [`Kind::ALL`]. What the API server does not
    /// have, or does not allow, is left out with a warning.
    pub objects: Vec<Kind>,
    /// Namespaces that are read; none for all of them. What belongs to no namespace, such as nodes, is read whole.
    pub namespaces: Vec<String>,
    /// What is read of a resource, by its name (`events`, `pods`): the API server selects.
    pub selectors: BTreeMap<Resource, Selector>,
    /// What is left out of Events and objects before they leave the cluster.
    pub redact: RedactConfig,
    /// A Lease in the cluster, by which one of several exporters of it is chosen.
    pub lease: LeaseConfig,
    /// A directory that keeps what is read while a log on Kafka is away.
    pub spool: SpoolConfig,
    /// Requests to a cluster's API server per second, on average; 0 for no limit. 50, as the kubelet's own default.
    pub requests_per_second: u32,
    /// Requests that may come at once, before that limit holds. 100, as the kubelet's own default.
    pub request_burst: u32,
    /// ms between two heartbeats. 5,000: incidents resolve by quiet times of minutes, and a second more is not noticed.
    pub heartbeat_ms: u64,
    /// Objects per page of a list. 250, half of client-go's: a page of Events is 320 KB, so that memory stays flat and small.
    pub page_size: u32,
    /// Records between the watches and the log. 256: enough to fill a batch while the one before is committed.
    pub queue_records: usize,
    /// A batch is committed at that many bytes, or when nothing is left to be read. 256 KiB, some 400 Events: a batch is in
    /// memory several times while it is sent, and one cluster does not bring more in the time of a commit.
    pub batch_bytes: usize,
    /// Largest object that is read, bytes; a larger one goes to dead-letter, cut. 4 MiB: etcd takes 1.5 MB, and JSON is
    /// larger than what etcd stores.
    pub max_object_bytes: usize,
    /// Largest page of a list, bytes; the page is asked for again with fewer objects when it is larger.
    pub max_page_bytes: usize,
    /// ms until the API server must have begun to answer, and between two parts of an answer. A watch may stay silent.
    pub request_timeout_ms: u64,
    /// s after which a watch is opened anew, at least; at most twice as long, at random, so that the watches of a fleet
    /// do not come back at once. 1,800, as the API server's own `--min-request-timeout`: Events have no bookmarks, and
    /// after a pause of 5 minutes their position is compacted away.
    pub watch_timeout_s: u64,
    /// ms after which a silent watch is checked: that the API server answers, and knows the position. 90,000: a
    /// restored etcd leaves a watch open and silent, and bookmarks, which Events do not have, come every minute.
    pub watch_check_ms: u64,
    /// ms before the first retry.
    pub retry_first_ms: u64,
    /// ms between two retries at most.
    pub retry_longest_ms: u64,
    /// ms until a resource is tried again that the API server does not have or does not allow.
    pub unavailable_retry_ms: u64,
    /// ms that Events wait for the lists of objects, so that an Event's context is in the log before it.
    pub objects_first_ms: u64,
}

impl Default for ExporterConfig {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            objects: Kind::ALL.to_vec(),
            namespaces: Vec::new(),
            selectors: BTreeMap::new(),
            redact: RedactConfig::default(),
            lease: LeaseConfig::default(),
            spool: SpoolConfig::default(),
            requests_per_second: 50,
            request_burst: 100,
            heartbeat_ms: 5_000,
            page_size: 250,
            queue_records: 256,
            batch_bytes: 256 * 1024,
            max_object_bytes: 4 * 1024 * 1024,
            max_page_bytes: 32 * 1024 * 1024,
            request_timeout_ms: 30_000,
            watch_timeout_s: 1_800,
            watch_check_ms: 90_000,
            retry_first_ms: 500,
            retry_longest_ms: 30_000,
            unavailable_retry_ms: 60_000,
            objects_first_ms: 30_000,
        }
    }
}

impl ExporterConfig {
    /// What is wrong with it: key and reason.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str| problems.push((key.to_owned(), what.to_owned()));
        if !is_name(&self.cluster) {
            wrong("cluster", "must be a name without spaces and `/`, such as prod-eu-1");
        }
        if self.cluster == FLEET {
            wrong("cluster", "is the name of all clusters together: give this one another");
        }
        let positive = [
            ("heartbeat_ms", self.heartbeat_ms),
            ("page_size", self.page_size.into()),
            ("queue_records", self.queue_records as u64),
            ("batch_bytes", self.batch_bytes as u64),
            ("max_object_bytes", self.max_object_bytes as u64),
            ("max_page_bytes", self.max_page_bytes as u64),
            ("request_timeout_ms", self.request_timeout_ms),
            ("watch_timeout_s", self.watch_timeout_s),
            ("watch_check_ms", self.watch_check_ms),
            ("request_burst", self.request_burst.into()),
            ("retry_first_ms", self.retry_first_ms),
            ("retry_longest_ms", self.retry_longest_ms),
        ];
        for (key, _) in positive.into_iter().filter(|(_, value)| *value == 0) {
            wrong(key, "must be at least 1");
        }
        if self.requests_per_second > MOST_REQUESTS {
            wrong("requests_per_second", "must be at most 1000; 0 sets no limit");
        }
        for namespace in self.namespaces.iter().filter(|name| !is_name(name)) {
            problems.push(("namespaces".to_owned(), format!("`{namespace}` is no name of a namespace")));
        }
        for resource in self.selectors.keys().filter(|resource| !self.reads(**resource)) {
            problems.push((format!("selectors.{resource}"), "is not in `objects`: nothing of it is read".to_owned()));
        }
        problems.extend(self.lease.problems().into_iter().map(|(key, what)| (format!("lease.{key}"), what)));
        problems.extend(self.spool.problems().into_iter().map(|(key, what)| (format!("spool.{key}"), what)));
        problems.extend(Redaction::new(&self.redact).err().into_iter().flatten());
        problems
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<(), ExporterError> {
        match self.problems() {
            problems if problems.is_empty() => Ok(()),
            problems => {
                let problems: Vec<String> = problems.iter().map(|(key, what)| format!("{key} {what}")).collect();
                Err(ExporterError::Config(problems.join("; ")))
            }
        }
    }

    fn reads(&self, resource: Resource) -> bool {
        match resource {
            Resource::Events => true,
            Resource::Objects(kind) => self.objects.contains(&kind),
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_does_not_know_and_what_cannot_be() {
        let read = |json: &str| serde_json::from_str::<ExporterConfig>(json).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"cluster":"a","objects":["pods"]}"#).unwrap().objects, [Kind::Pod]);
        assert!(read(r#"{"cluser":"a"}"#).unwrap_err().contains("unknown field `cluser`"));
        assert!(read(r#"{"objects":["pod"]}"#).unwrap_err().contains("horizontalpodautoscalers"));
        let config = ExporterConfig { cluster: "a/b".into(), page_size: 0, ..ExporterConfig::default() };
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["cluster", "page_size"]);
    }
}
