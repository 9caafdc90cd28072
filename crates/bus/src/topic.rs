//! The topics, and what is expected of each.

use std::time::Duration;

/// A topic's name without prefix, and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name, without the installation's prefix.
    pub name: &'static str,
    /// What becomes of old records.
    pub cleanup: Cleanup,
}

/// The largest record of any topic, bytes, with its key and headers.
pub const MAX_RECORD: usize = 1024 * 1024;

impl Topic {
    /// Its settings on Kafka, by name, when records are sent in batches of up to `batch_bytes`.
    pub fn settings(&self, batch_bytes: usize) -> Vec<(&'static str, String)> {
        // Despite its name it limits a batch of records, not a record.
        let mut settings = vec![("max.message.bytes", batch_bytes.to_string())];
        match self.cleanup {
            Cleanup::Delete(after) => {
                settings.push(("cleanup.policy", "delete".to_owned()));
                settings.push(("retention.ms", after.as_millis().to_string()));
            }
            Cleanup::Compact => {
                settings.push(("cleanup.policy", "compact".to_owned()));
                // A restore reads all that is not compacted yet: compact early.
                settings.push(("min.cleanable.dirty.ratio", "0.2".to_owned()));
                settings.push(("segment.bytes", (64 * 1024 * 1024).to_string()));
                settings.push(("segment.ms", "1800000".to_owned()));
                settings.push(("max.compaction.lag.ms", "3600000".to_owned()));
            }
        }
        settings
    }
}

/// What becomes of old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// They are deleted after that time.
    Delete(Duration),
    /// The newest of each key stays.
    Compact,
}

/// What is wrong with a topic, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicProblem {
    /// It does not exist.
    #[error("topic {topic} does not exist: create it with `epicenter topics create`")]
    Missing {
        /// Full name.
        topic: String,
    },
    /// It has another number of partitions than the installation.
    #[error(
        "topic {topic} has {found} partitions and the installation is configured for {expected}: a cluster's records must stay in one partition; set bus.kafka.partitions to {found}, or recreate the topic"
    )]
    Partitions {
        /// Full name.
        topic: String,
        /// Partitions it has.
        found: u32,
        /// Partitions it should have.
        expected: u32,
    },
    /// Old records are dealt with otherwise than the services rely on.
    #[error(
        "topic {topic} has cleanup.policy={found} and needs {expected}, else what the services need is deleted or never is: `kafka-configs.sh --alter --topic {topic} --add-config cleanup.policy={expected}`"
    )]
    Cleanup {
        /// Full name.
        topic: String,
        /// The policy it has.
        found: String,
        /// The policy it should have.
        expected: String,
    },
    /// It refuses batches as large as those that are sent.
    #[error(
        "topic {topic} takes batches of up to {found} bytes and they are sent with up to {expected}: set its max.message.bytes to {expected}, or bus.kafka.batch_bytes to {found}"
    )]
    Batches {
        /// Full name.
        topic: String,
        /// Bytes it takes.
        found: usize,
        /// Bytes that are sent.
        expected: usize,
    },
}

/// The topics of an installation.
pub mod topics {
    use super::{Cleanup, Duration, Topic};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    const fn delete(name: &'static str, days: u32) -> Topic {
        Topic { name, cleanup: Cleanup::Delete(DAY.saturating_mul(days)) }
    }

    const fn compact(name: &'static str) -> Topic {
        Topic { name, cleanup: Cleanup::Compact }
    }

    /// What exporters saw.
    pub const EVENTS_RAW: Topic = delete("events.raw", 7);
    /// How far exporters have read.
    pub const POSITIONS: Topic = compact("positions");
    /// Facts of the objects that exist: the enricher's changelog, and a public table.
    pub const OBJECTS: Topic = compact("objects");
    /// The enricher's private state.
    pub const ENRICHER_STATE: Topic = compact("enricher.state");
    /// Events with their meaning.
    pub const EVENTS_ENRICHED: Topic = delete("events.enriched", 7);
    /// The correlator's private state.
    pub const CORRELATOR_STATE: Topic = compact("correlator.state");
    /// What happened to incidents.
    pub const INCIDENT_CHANGES: Topic = delete("incident.changes", 30);
    /// The newest document of each incident: the sink's changelog, and a public table.
    pub const INCIDENTS: Topic = compact("incidents");
    /// What could not be processed, with the reason.
    pub const DEAD_LETTER: Topic = delete("dead-letter", 30);

    /// All of them.
    pub const ALL: &[Topic] = &[
        EVENTS_RAW,
        POSITIONS,
        OBJECTS,
        ENRICHER_STATE,
        EVENTS_ENRICHED,
        CORRELATOR_STATE,
        INCIDENT_CHANGES,
        INCIDENTS,
        DEAD_LETTER,
    ];
}
