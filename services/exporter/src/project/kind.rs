//! The kinds of objects of which something is kept.

use std::fmt;

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
    /// The kind of that name in the group of `api_version`, whatever the version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = |api_version: &'_ str| api_version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
        let group_of = group(api_version);
        Self::ALL.iter().copied().find(|known| known.name() == kind && group(known.api_version()) == group_of)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
