//! How one object is linked with another.

use serde::{Deserialize, Serialize};

/// A kind of link, named by what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Edge {
    /// The object itself.
    Object,
    /// Its owners, up to the top workload.
    Owner,
    /// The node it runs on.
    Node,
    /// That node's zone.
    Zone,
    Claim,
    Volume,
    StorageClass,
    CsiDriver,
    Secret,
    ConfigMap,
    Image,
    /// The host that its image comes from.
    Registry,
    Quota,
    Webhook,
    ServiceAccount,
    Namespace,
    /// The cluster's capacity: what all pending pods compete for.
    Cluster,
    /// What it cannot do without: what an autoscaler scales, what others do for it, the workload behind a service that the text
    /// names.
    Target,
    /// The Event's second object, such as the pod that preempts another.
    Related,
    /// What its workload does for others, such as an aggregated API or the network of its node's pods; the API that the Event is
    /// about.
    Api,
    /// Anything else that the text names.
    Named,
}

impl Edge {
    pub const ALL: [Self; 21] = [
        Self::Object,
        Self::Owner,
        Self::Node,
        Self::Zone,
        Self::Claim,
        Self::Volume,
        Self::StorageClass,
        Self::CsiDriver,
        Self::Secret,
        Self::ConfigMap,
        Self::Image,
        Self::Registry,
        Self::Quota,
        Self::Webhook,
        Self::ServiceAccount,
        Self::Namespace,
        Self::Cluster,
        Self::Target,
        Self::Related,
        Self::Api,
        Self::Named,
    ];

    /// The link to an object of `kind` that an Event's text names.
    pub fn to_kind(kind: &str) -> Self {
        match kind {
            "Node" => Self::Node,
            "Zone" => Self::Zone,
            "PersistentVolumeClaim" => Self::Claim,
            "PersistentVolume" => Self::Volume,
            "StorageClass" => Self::StorageClass,
            "CSIDriver" => Self::CsiDriver,
            "Secret" => Self::Secret,
            "ConfigMap" => Self::ConfigMap,
            "Image" => Self::Image,
            "Registry" => Self::Registry,
            "ResourceQuota" => Self::Quota,
            "Webhook" => Self::Webhook,
            "ServiceAccount" => Self::ServiceAccount,
            "APIService" => Self::Api,
            _ => Self::Named,
        }
    }

    /// Many unrelated objects share what it leads to, so that sharing it says little.
    pub fn shared(self) -> bool {
        matches!(self, Self::Node | Self::Zone | Self::Namespace | Self::Cluster)
    }
}

/// A set of kinds of links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeSet(u32);

impl EdgeSet {
    pub fn insert(&mut self, edge: Edge) {
        self.0 |= 1 << edge as u32;
    }

    pub fn contains(self, edge: Edge) -> bool {
        self.0 & (1 << edge as u32) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Edge> {
        Edge::ALL.into_iter().filter(move |edge| self.contains(*edge))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
