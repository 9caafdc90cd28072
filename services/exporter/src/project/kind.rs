//! The kinds of objects of which something is kept.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! kinds {
    ($($kind:ident: $api_version:literal, $plural:literal;)+) => {
        /// A kind of object of which something is kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = concat!("`", $api_version, "` `", $plural, "`.")] $kind),+ }

        impl Kind {
            /// All kinds, in the order in which they are listed: what others refer to comes first.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name, such as `Pod`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),+ }
            }

            /// The `apiVersion` under which it is watched.
            pub const fn api_version(self) -> &'static str {
                match self { $(Self::$kind => $api_version),+ }
            }

            /// Its resource, such as `pods`.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural),+ }
            }
        }
    };
}

kinds! {
    Namespace: "v1", "namespaces";
    Node: "v1", "nodes";
    PersistentVolume: "v1", "persistentvolumes";
    PersistentVolumeClaim: "v1", "persistentvolumeclaims";
    Deployment: "apps/v1", "deployments";
    ReplicaSet: "apps/v1", "replicasets";
    StatefulSet: "apps/v1", "statefulsets";
    DaemonSet: "apps/v1", "daemonsets";
    CronJob: "batch/v1", "cronjobs";
    Job: "batch/v1", "jobs";
    HorizontalPodAutoscaler: "autoscaling/v2", "horizontalpodautoscalers";
    Pod: "v1", "pods";
}

impl Kind {
    /// Its objects belong to namespaces.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node | Self::PersistentVolume)
    }

    /// The kind of that name in the group of `api_version`, whatever the version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let same = |known: &Self| known.name() == kind && group(known.api_version()) == group(api_version);
        Self::ALL.iter().copied().find(same)
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// As its resource.
impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.plural())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::ALL.iter().copied().find(|kind| kind.plural() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.plural()).collect();
            serde::de::Error::custom(format!("`{name}` is not watched; known are {}", known.join(", ")))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
