//! The topics, and what is expected of each.

use std::time::Duration;

/// A topic's name without prefix, and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name, without the installation's prefix.
    pub name: &'static str,
    /// What becomes of old records.
    pub cleanup: Cleanup,
    /// The largest record, bytes.
    pub max_bytes: usize,
}

impl Topic {
    /// Its settings on Kafka, by name.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("max.message.bytes", self.max_bytes.to_string())];
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
}

/// The topics of an installation.
pub mod topics {
    use super::{Cleanup, Duration, Topic};

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const MIB: usize = 1024 * 1024;

    const fn delete(name: &'static str, days: u32) -> Topic {
        Topic { name, cleanup: Cleanup::Delete(DAY.saturating_mul(days)), max_bytes: MIB }
    }

    const fn compact(name: &'static str) -> Topic {
        Topic { name, cleanup: Cleanup::Compact, max_bytes: MIB }
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
    /// What could not be processed, with the reason. Larger than the rest by 64 KiB, so that any record fits into it.
    pub const DEAD_LETTER: Topic =
        Topic { name: "dead-letter", cleanup: Cleanup::Delete(DAY.saturating_mul(30)), max_bytes: MIB + 64 * 1024 };

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
