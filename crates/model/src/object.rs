//! References to Kubernetes objects.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reference to an object, as in a Kubernetes `ObjectReference`. A part that is not known is the empty string.
///
/// Nodes are known by name only: the kubelet's own Events carry no uid, or the node's name as one
/// (kubernetes/kubernetes `pkg/kubelet/kubelet.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Group and version, such as `apps/v1`; `v1` for the core group.
    pub api_version: String,
    /// Kind, such as `Pod`; of a virtual entity its type (`Registry`, `StorageClass`, `Zone`, `Webhook`, `Capacity`).
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid, empty when the reference has none.
    pub uid: String,
}

impl ObjectRef {
    /// A reference by kind, namespace and name only.
    pub fn named(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), ..Self::default() }
    }

    /// Kind, namespace and name: what tells the objects of a cluster apart, whatever is known of their versions and uids.
    pub fn full_name(&self) -> (&str, &str, &str) {
        (&self.kind, &self.namespace, &self.name)
    }

    /// The API group: `apps` of `apps/v1`, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The key of records about it in the log of `cluster`: `cluster/namespace/group/kind/name`.
    pub fn log_key(&self, cluster: &str) -> String {
        [cluster, &self.namespace, self.group(), &self.kind, &self.name].join("/")
    }
}

/// `Kind namespace/name`, `Kind name` for what has no namespace, and `Kind` for what has no name.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        match (namespace.as_str(), name.as_str()) {
            (_, "") => write!(f, "{kind}"),
            ("", name) => write!(f, "{kind} {name}"),
            (namespace, name) => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}
