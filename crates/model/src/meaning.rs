//! The scales on which an Event's meaning is expressed.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, EnumAccess, VariantAccess, Visitor};

macro_rules! names {
    ($type:ident or $fallback:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// All values, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in JSON, YAML and on screen; its Avro symbol has `_` for `-`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let human = serializer.is_human_readable();
                let name = if human { self.name() } else { crate::meaning::symbol(self.name()) };
                serializer.serialize_unit_variant(stringify!($type), *self as u32, name)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const NAMES: &[&str] = &[$($name),+];
                let strict = deserializer.is_human_readable();
                let name = deserializer.deserialize_enum(stringify!($type), NAMES, crate::meaning::NameVisitor)?;
                match name.find(NAMES) {
                    Some(index) => Ok(Self::ALL[index]),
                    // A writer that is newer than this reader: the schema's default symbol.
                    None if !strict => Ok(Self::$fallback),
                    None => Err(serde::de::Error::unknown_variant(&name.to_string(), NAMES)),
                }
            }
        }
    };
}
pub(crate) use names;

/// How bad it is for the cluster's users. Not the Event's `type`: NodeNotReady is `Normal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing to do.
    #[default]
    Info,
    /// Worth a look in working hours.
    Low,
    /// A workload is degraded.
    Medium,
    /// A workload is down, or soon will be.
    High,
    /// Many workloads, a node or the control plane.
    Critical,
}
names!(Severity or Info { Info => "info", Low => "low", Medium => "medium", High => "high", Critical => "critical" });

/// What an Event or incident is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Node health and lifecycle.
    Node,
    /// Placing pods on nodes.
    Scheduling,
    /// CPU, memory, disk or other resources running out.
    Capacity,
    /// Volumes, claims, attachments.
    Storage,
    /// Pod network, services, load balancers.
    Network,
    /// Pulling images.
    Image,
    /// Containers that exit.
    Crash,
    /// Liveness, readiness and startup probes.
    Probe,
    /// Missing or wrong configuration, secrets, specs.
    Config,
    /// Resource quotas and limit ranges.
    Quota,
    /// Rolling a workload to a new revision.
    Rollout,
    /// Horizontal, vertical and cluster autoscaling.
    Autoscaling,
    /// Jobs and cron jobs.
    Job,
    /// Certificates and their issuers.
    Certificate,
    /// Admission, policies, access.
    Security,
    /// API server, controllers, garbage collection.
    ControlPlane,
    /// Events that applications write of themselves.
    Application,
    /// Everything else.
    #[default]
    Other,
}
names!(Category or Other {
    Node => "node", Scheduling => "scheduling", Capacity => "capacity", Storage => "storage", Network => "network",
    Image => "image", Crash => "crash", Probe => "probe", Config => "config", Quota => "quota", Rollout => "rollout",
    Autoscaling => "autoscaling", Job => "job", Certificate => "certificate", Security => "security",
    ControlPlane => "control-plane", Application => "application", Other => "other",
});

/// The part an Event plays in a story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Can be the reason for other Events.
    Cause,
    /// Shows that something is wrong, usually because of something else.
    Symptom,
    /// Somebody or something changed the cluster's desired state.
    Change,
    /// Something became well again.
    Recovery,
    /// Says nothing about health.
    #[default]
    Noise,
}
names!(Role or Noise { Cause => "cause", Symptom => "symptom", Change => "change", Recovery => "recovery", Noise => "noise" });

/// The Avro symbol of a name: symbols cannot hold `-`.
pub(crate) fn symbol(name: &'static str) -> &'static str {
    if name == "control-plane" { "control_plane" } else { name }
}

/// A variant as it came: by name, or by index from formats that write no names.
pub(crate) enum Named {
    Name(String),
    Index(u64),
}

impl Named {
    pub(crate) fn find(&self, names: &[&'static str]) -> Option<usize> {
        match self {
            Self::Name(text) => names.iter().position(|name| *name == text || symbol(name) == text),
            Self::Index(index) => usize::try_from(*index).ok().filter(|index| *index < names.len()),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) => f.write_str(text),
            Self::Index(index) => index.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Identifier;
        impl Visitor<'_> for Identifier {
            type Value = Named;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Named, E> {
                Ok(Named::Name(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, index: u64) -> Result<Named, E> {
                Ok(Named::Index(index))
            }
        }
        deserializer.deserialize_identifier(Identifier)
    }
}

pub(crate) struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Named;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Named, A::Error> {
        let (name, variant) = access.variant::<Named>()?;
        variant.unit_variant()?;
        Ok(name)
    }
}
