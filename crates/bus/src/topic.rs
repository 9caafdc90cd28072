//! The topics, and what is expected of each.

use std::time::Duration;

/// A topic's name without prefix, and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name, without the installation's prefix.
    pub name: &'static str,
    /// Over how many partitions its records are spread.
    pub spread: Spread,
    /// Whose time its records carry.
    pub stamp: Stamp,
    /// What becomes of old records.
    pub cleanup: Cleanup,
}

/// The largest record of any topic, bytes, with its key and headers.
pub const MAX_RECORD: usize = 1024 * 1024;

impl Topic {
    /// How many partitions it has in an installation of `partitions`.
    pub fn partitions(&self, partitions: u32) -> u32 {
        match self.spread {
            Spread::Clusters => partitions,
            Spread::Fleet => 1,
        }
    }

    /// Its settings on Kafka, by name, when records are sent in batches of up to `batch_bytes`.
    pub fn settings(&self, batch_bytes: usize) -> Vec<(&'static str, String)> {
        // Despite its name it limits a batch of records, not a record.
        let mut settings = vec![("max.message.bytes", batch_bytes.to_string())];
        if self.stamp == Stamp::Log {
            settings.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
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

/// Over how many partitions a topic's records are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Over as many as the installation has: a cluster lives in one of them, the same in every topic.
    Clusters,
    /// Over one: they concern all clusters together, and are read in one order.
    Fleet,
}

/// Whose time the records of a topic carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The writer's: the log time of the cluster that they are about.
    Writer,
    /// The log's own, when it took them: the only clock that several clusters have in common.
    Log,
}

/// How many partitions `topic` has in an installation of `partitions`. What is none of [`topics::ALL`] has all of them.
pub(crate) fn count(topic: &str, partitions: u32) -> u32 {
    let known = topics::ALL.iter().find(|known| known.name == topic);
    known.map_or(partitions, |known| known.partitions(partitions))
}

/// Whether records of `topic` carry the log's own time.
pub(crate) fn is_stamped(topic: &str) -> bool {
    topics::ALL.iter().any(|known| known.name == topic && known.stamp == Stamp::Log)
}

/// Of equal keys `topic` keeps only the newest record.
pub(crate) fn is_compacted(topic: &str) -> bool {
    topics::ALL.iter().any(|known| known.name == topic && known.cleanup == Cleanup::Compact)
}

/// The partition of `topic` to which goes what is written for `partition` of the installation.
pub(crate) fn partition_in(topic: &str, partition: u32) -> u32 {
    partition.min(count(topic, u32::MAX) - 1)
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
    /// This client may not see it, whether it exists or not.
    #[error(
        "topic {topic} cannot be seen by this client, which may not do anything with it: `epicenter topics acls` prints what to grant"
    )]
    Hidden {
        /// Full name.
        topic: String,
    },
    /// It has several partitions and belongs to all clusters together.
    #[error("topic {topic} has {found} partitions and must have one, so that its records have one order: recreate it")]
    NotOne {
        /// Full name.
        topic: String,
        /// Partitions it has.
        found: u32,
    },
    /// It has another number of partitions than the installation.
    #[error(
        "topic {topic} has {found} partitions and the installation is configured for {expected}: a cluster's records must stay in one partition. Set bus.kafka.partitions to the number that the installation was created with; `epicenter topics migrate` moves it to another one"
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
    /// Its records do not carry the log's own time.
    #[error(
        "topic {topic} has message.timestamp.type={found} and needs LogAppendTime, else clusters with a wrong clock look silent: `kafka-configs.sh --alter --topic {topic} --add-config message.timestamp.type=LogAppendTime`"
    )]
    Stamp {
        /// Full name.
        topic: String,
        /// The setting it has.
        found: String,
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
    use super::{Cleanup, Duration, Spread, Stamp, Topic};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    const fn delete(name: &'static str, days: u32) -> Topic {
        Topic {
            name,
            spread: Spread::Clusters,
            stamp: Stamp::Writer,
            cleanup: Cleanup::Delete(DAY.saturating_mul(days)),
        }
    }

    const fn compact(name: &'static str) -> Topic {
        Topic { cleanup: Cleanup::Compact, ..delete(name, 0) }
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
    /// What may concern several clusters at once: heartbeats, and incidents with causes outside of their cluster.
    pub const FLEET_SIGNALS: Topic = Topic { spread: Spread::Fleet, stamp: Stamp::Log, ..delete("fleet.signals", 7) };
    /// The fleet processor's private state.
    pub const FLEET_STATE: Topic = Topic { spread: Spread::Fleet, ..compact("fleet.state") };
    /// Silences that are in force, or will be: a public table of the correlator.
    pub const SILENCES: Topic = compact("silences");
    /// What happened to incidents.
    pub const INCIDENT_CHANGES: Topic = delete("incident.changes", 30);
    /// The newest document of each incident: the sink's changelog, and a public table.
    pub const INCIDENTS: Topic = compact("incidents");
    /// What receivers of alerts were told, and are to be told: private to the alerts.
    pub const ALERTS_STATE: Topic = Topic { spread: Spread::Fleet, ..compact("alerts.state") };
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
        SILENCES,
        FLEET_SIGNALS,
        FLEET_STATE,
        INCIDENT_CHANGES,
        INCIDENTS,
        ALERTS_STATE,
        DEAD_LETTER,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_the_fleet_in_one_partition_and_clusters_in_their_own() {
        for topic in topics::ALL {
            let fleet = topic.spread == Spread::Fleet;
            assert_eq!(fleet, ["fleet.signals", "fleet.state", "alerts.state"].contains(&topic.name));
            assert_eq!((count(topic.name, 12), partition_in(topic.name, 7)), if fleet { (1, 0) } else { (12, 7) });
        }
        assert_eq!((count("of a test", 3), partition_in("of a test", 2)), (3, 2));
    }
}
