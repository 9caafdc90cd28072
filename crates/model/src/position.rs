//! How far an exporter has read.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The value of `positions`, committed together with the records that it covers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchPosition {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// The uid of its `kube-system` namespace.
    pub cluster_uid: String,
    /// The resource, such as `events` or `pods`; `team-a/pods` when one namespace of it is read.
    pub resource: String,
    /// Everything up to this resourceVersion is in the log.
    pub resource_version: String,
    /// Counts the resourceVersion histories of the cluster.
    pub epoch: i64,
    /// Log time of the last record before it.
    pub at: Timestamp,
    /// Of a list under way: the last object of it, `namespace/name`, that is in the log; empty when none is under way.
    pub list_key: String,
    /// The resourceVersion of that list.
    pub list_resource_version: String,
    /// The selectors of what was read, as a query; empty for everything.
    pub selection: String,
    /// Of a list under way because the position was lost: until when it was good.
    pub lost_at: Option<Timestamp>,
}
