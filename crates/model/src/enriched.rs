//! What the enricher makes of a raw record: an Event with its meaning, its new occurrences and its surroundings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Category, Codec, CodecError, Command, Event, Heartbeat, ObjectRef, RecordType, Role, Severity, Timestamp};

/// One record of `events.enriched`.
#[derive(Clone, Debug, PartialEq)]
pub enum EnrichedRecord {
    /// An Event that happened, once or several times more.
    Event(Box<EnrichedEvent>),
    /// Surroundings that became known after the Events that needed them.
    Context(Box<ContextUpdate>),
    /// Log time goes on.
    Heartbeat(Heartbeat),
    /// Somebody wants something done.
    Command(Box<Command>),
}

/// An Event with its meaning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrichedEvent {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// The uid of its `kube-system` namespace.
    pub cluster_uid: String,
    /// Log time.
    pub at: Timestamp,
    /// When the newest occurrence happened, by the emitter's clock; log time when the Event carries no time.
    pub occurred_at: Timestamp,
    /// How often it happened since the version before, at least 1.
    pub occurrences: i64,
    /// It was there before Epicenter was installed: context, no reason to alert.
    pub backfill: bool,
    /// Made from an object's status: Kubernetes writes no Event for it.
    pub derived: bool,
    /// The class, such as `node.not_ready`.
    pub class: String,
    /// What it is about.
    pub category: Category,
    /// How bad it is.
    pub severity: Severity,
    /// The part it plays.
    pub role: Role,
    /// Objects that only the text names.
    pub entities: Vec<Entity>,
    /// Where the regarding object stands.
    pub context: Context,
    /// The Event itself.
    pub event: Event,
}

/// An object named in an Event's text, or something virtual such as a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entity {
    /// Kind (`Node`, `Secret`, `PersistentVolume`), or type of a virtual entity (`Registry`, `Webhook`).
    pub kind: String,
    /// Namespace; empty for what has none.
    pub namespace: String,
    /// Name, such as `registry.example.com`.
    pub name: String,
}

/// Where an object stands in its cluster. An object that is not known has the empty context.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Context {
    /// Controlling owners, the nearest first, the top workload last.
    pub owners: Vec<ObjectRef>,
    /// The node it runs on.
    pub node: String,
    /// That node's zone.
    pub zone: String,
    /// Images of its containers.
    pub images: Vec<String>,
    /// Its claims.
    pub claims: Vec<String>,
    /// The volumes behind those claims.
    pub volumes: Vec<String>,
    /// ConfigMaps it needs.
    pub config_maps: Vec<String>,
    /// Secrets it needs.
    pub secrets: Vec<String>,
    /// Labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// It is being deleted, or is gone already.
    pub deleting: bool,
}

impl Context {
    /// The top of the owner chain, when there is one.
    pub fn workload(&self) -> Option<&ObjectRef> {
        self.owners.last()
    }
}

/// Surroundings of an object that became known later than an Event about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextUpdate {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// Log time.
    pub at: Timestamp,
    /// The object.
    pub object: ObjectRef,
    /// Its surroundings as they are known now.
    pub context: Context,
}

impl EnrichedRecord {
    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Event(record) => &record.cluster,
            Self::Context(record) => &record.cluster,
            Self::Heartbeat(record) => &record.cluster,
            Self::Command(record) => &record.cluster,
        }
    }

    /// Log time.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Event(record) => record.at,
            Self::Context(record) => record.at,
            Self::Heartbeat(record) => record.at,
            Self::Command(record) => record.at,
        }
    }

    /// Its type, for the `ce_type` header.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Event(_) => RecordType::EnrichedEvent,
            Self::Context(_) => RecordType::ContextUpdate,
            Self::Heartbeat(_) => RecordType::Heartbeat,
            Self::Command(_) => RecordType::Command,
        }
    }

    /// Its bytes in `codec`'s framing.
    pub fn encode(&self, codec: &Codec) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Event(record) => codec.encode(record.as_ref()),
            Self::Context(record) => codec.encode(record.as_ref()),
            Self::Heartbeat(record) => codec.encode(record),
            Self::Command(record) => codec.encode(record.as_ref()),
        }
    }

    /// Reads a record of `events.enriched` in either framing.
    pub fn decode(codec: &Codec, bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match codec.record_type(bytes)? {
            RecordType::EnrichedEvent => Self::Event(Box::new(codec.decode(bytes)?)),
            RecordType::ContextUpdate => Self::Context(Box::new(codec.decode(bytes)?)),
            RecordType::Heartbeat => Self::Heartbeat(codec.decode(bytes)?),
            RecordType::Command => Self::Command(Box::new(codec.decode(bytes)?)),
            other => return Err(CodecError::Misplaced { found: other, topic: "events.enriched" }),
        })
    }
}
