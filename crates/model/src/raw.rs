//! What an exporter saw: everything that is known of one cluster, in one log, in the order in which it was seen.

use serde::{Deserialize, Serialize};

use crate::meaning::names;
use crate::{Codec, CodecError, Command, Event, ObjectFacts, RecordType, Timestamp};

/// One record of `events.raw`.
#[derive(Clone, Debug, PartialEq)]
pub enum RawRecord {
    /// A version of an Event.
    Event(Box<RawEvent>),
    /// An object's new facts, or its deletion.
    Object(Box<ObjectChange>),
    /// The end of a list: what it did not show is gone.
    Swept(Swept),
    /// Log time goes on, and the watches are well, or not.
    Heartbeat(Heartbeat),
    /// Some history could not be had.
    Gap(Gap),
    /// Somebody wants something done.
    Command(Box<Command>),
}

/// A version of an Event, as delivered by list or watch. Expiry and deletion of Events are not recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawEvent {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// The uid of its `kube-system` namespace.
    pub cluster_uid: String,
    /// Log time: when the exporter received it; never goes back within a cluster.
    pub at: Timestamp,
    /// Counts the resourceVersion histories of the cluster: a restore of etcd begins a new one.
    pub epoch: i64,
    /// It was there before Epicenter was installed (or before a gap): context, no reason to alert.
    pub backfill: bool,
    /// The Event.
    pub event: Event,
}

/// An object's new facts, or its deletion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// The uid of its `kube-system` namespace.
    pub cluster_uid: String,
    /// Log time.
    pub at: Timestamp,
    /// The object is gone; the facts are the last ones.
    pub deleted: bool,
    /// It came with a list, not as a change.
    pub listed: bool,
    /// What is known of it.
    pub facts: ObjectFacts,
}

/// The end of a list of one resource: objects of it that were not recorded since `since` no longer exist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// Log time.
    pub at: Timestamp,
    /// The kind that was listed, such as `Pod`.
    pub kind: String,
    /// Its `apiVersion`.
    pub api_version: String,
    /// The namespace that was listed; empty for all of them.
    pub namespace: String,
    /// Log time of the list's beginning.
    pub since: Timestamp,
}

/// Log time goes on. Written every 5 s, after every record that was read before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// The uid of its `kube-system` namespace.
    pub cluster_uid: String,
    /// Log time.
    pub at: Timestamp,
    /// Every watch is connected: silence means that nothing happened.
    pub healthy: bool,
    /// The last one: the cluster was taken out of Epicenter's configuration, and nothing more is to be expected of it.
    pub last: bool,
}

/// Some history of a resource could not be had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The cluster's name in the exporter's configuration.
    pub cluster: String,
    /// Log time.
    pub at: Timestamp,
    /// The resource, such as `events`.
    pub resource: String,
    /// The last resourceVersion before it.
    pub from_resource_version: String,
    /// The resourceVersion from which the log goes on.
    pub to_resource_version: String,
    /// Log time of the last record before it.
    pub from: Timestamp,
    /// Log time at which it was closed.
    pub to: Timestamp,
    /// Why.
    pub reason: GapReason,
}

/// Why history is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The API server no longer has that resourceVersion (410 Gone).
    Expired,
    /// The watch closed at once, without a word: what some managed clouds do instead of 410 (kubernetes/kubernetes#137089).
    ClosedEmpty,
    /// The cluster's resourceVersions went back: etcd was restored from an older snapshot.
    Restored,
    /// The log lost the position, or what was read up to it.
    Lost,
    /// A reason that this version does not know.
    Unknown,
}
names!(GapReason or Unknown {
    Expired => "expired", ClosedEmpty => "closed_empty", Restored => "restored", Lost => "lost", Unknown => "unknown",
});

impl RawRecord {
    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Event(record) => &record.cluster,
            Self::Object(record) => &record.cluster,
            Self::Swept(record) => &record.cluster,
            Self::Heartbeat(record) => &record.cluster,
            Self::Gap(record) => &record.cluster,
            Self::Command(record) => &record.cluster,
        }
    }

    /// Log time.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Event(record) => record.at,
            Self::Object(record) => record.at,
            Self::Swept(record) => record.at,
            Self::Heartbeat(record) => record.at,
            Self::Gap(record) => record.at,
            Self::Command(record) => record.at,
        }
    }

    /// Its type, for the `ce_type` header.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Event(_) => RecordType::RawEvent,
            Self::Object(_) => RecordType::ObjectChange,
            Self::Swept(_) => RecordType::Swept,
            Self::Heartbeat(_) => RecordType::Heartbeat,
            Self::Gap(_) => RecordType::Gap,
            Self::Command(_) => RecordType::Command,
        }
    }

    /// The record's key: `cluster/namespace/group/kind/name` of the object concerned; a cluster's own records have its name.
    pub fn key(&self) -> String {
        let object = match self {
            Self::Event(record) => &record.event.regarding,
            Self::Object(record) => &record.facts.object,
            _ => return self.cluster().to_owned(),
        };
        object.log_key(self.cluster())
    }

    /// Its bytes in `codec`'s framing.
    pub fn encode(&self, codec: &Codec) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Event(record) => codec.encode(record.as_ref()),
            Self::Object(record) => codec.encode(record.as_ref()),
            Self::Swept(record) => codec.encode(record),
            Self::Heartbeat(record) => codec.encode(record),
            Self::Gap(record) => codec.encode(record),
            Self::Command(record) => codec.encode(record.as_ref()),
        }
    }

    /// Reads a record of `events.raw` in either framing.
    pub fn decode(codec: &Codec, bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match codec.record_type(bytes)? {
            RecordType::RawEvent => Self::Event(Box::new(codec.decode(bytes)?)),
            RecordType::ObjectChange => Self::Object(Box::new(codec.decode(bytes)?)),
            RecordType::Swept => Self::Swept(codec.decode(bytes)?),
            RecordType::Heartbeat => Self::Heartbeat(codec.decode(bytes)?),
            RecordType::Gap => Self::Gap(codec.decode(bytes)?),
            RecordType::Command => Self::Command(Box::new(codec.decode(bytes)?)),
            other => return Err(CodecError::Misplaced { found: other, topic: "events.raw" }),
        })
    }
}
