//! What may concern several clusters at once.

use serde::{Deserialize, Serialize};

use crate::{
    Category, Codec, CodecError, Command, Entity, Heartbeat, Incident, IncidentState, RecordType, Severity, Timestamp,
};

/// The name under which incidents of several clusters are published, in place of a cluster's. No cluster may have it.
pub const FLEET: &str = "fleet";

/// One record of `fleet.signals`.
#[derive(Clone, Debug, PartialEq)]
pub enum FleetRecord {
    /// A cluster is heard of.
    Heartbeat(Heartbeat),
    /// An incident whose cause may lie outside of its cluster has changed.
    Signal(FleetSignal),
    /// Somebody wants something done to an incident of the fleet.
    Command(Box<Command>),
}

/// An incident whose cause other clusters may share, in short. Written when it opens, ends, or looks different.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetSignal {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// Log time.
    pub at: Timestamp,
    /// The incident's id.
    pub incident: String,
    /// Its version that says so.
    pub version: i64,
    /// Where it is in its life.
    pub state: IncidentState,
    /// Class of its most likely root.
    pub class: String,
    /// What it is about.
    pub category: Category,
    /// How bad it is.
    pub severity: Severity,
    /// What that root touches and other clusters may share, such as a registry; empty when it is no longer of that kind.
    pub shared: Vec<Entity>,
}

impl FleetSignal {
    /// What `incident` says at `at`.
    pub fn of(incident: &Incident, at: Timestamp, shared: Vec<Entity>) -> Self {
        Self {
            cluster: incident.cluster.clone(),
            at,
            incident: incident.id.clone(),
            version: incident.version,
            state: incident.state,
            class: incident.cause.class.clone(),
            category: incident.category,
            severity: incident.severity,
            shared,
        }
    }
}

impl FleetRecord {
    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Heartbeat(record) => &record.cluster,
            Self::Signal(record) => &record.cluster,
            Self::Command(record) => &record.cluster,
        }
    }

    /// The cluster's log time.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Heartbeat(record) => record.at,
            Self::Signal(record) => record.at,
            Self::Command(record) => record.at,
        }
    }

    /// Its type, for the `ce_type` header.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Heartbeat(_) => RecordType::Heartbeat,
            Self::Signal(_) => RecordType::FleetSignal,
            Self::Command(_) => RecordType::Command,
        }
    }

    /// Its name among the records of its type and cluster, for the `ce_id` header.
    pub fn id(&self) -> String {
        match self {
            Self::Heartbeat(record) => format!("@{}", record.at.as_micros()),
            Self::Signal(record) => format!("{}/{}", record.incident, record.version),
            Self::Command(record) => record.id.clone(),
        }
    }

    /// Its bytes in `codec`'s framing.
    pub fn encode(&self, codec: &Codec) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Heartbeat(record) => codec.encode(record),
            Self::Signal(record) => codec.encode(record),
            Self::Command(record) => codec.encode(record.as_ref()),
        }
    }

    /// Reads a record of `fleet.signals` in either framing.
    pub fn decode(codec: &Codec, bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match codec.record_type(bytes)? {
            RecordType::Heartbeat => Self::Heartbeat(codec.decode(bytes)?),
            RecordType::FleetSignal => Self::Signal(codec.decode(bytes)?),
            RecordType::Command => Self::Command(Box::new(codec.decode(bytes)?)),
            other => return Err(CodecError::Misplaced { found: other, topic: "fleet.signals" }),
        })
    }
}
