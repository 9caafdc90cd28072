//! What the kernel tells of the partitions that it drives.

use std::time::{Duration, SystemTime};

use epicenter_model::TraceContext;

/// Hears how a processor fares on a partition: its name, the partition, and what happened. It is called on the threads that do
/// the work, and must not block. `&|_, _, _| {}` hears nothing.
pub type Observer<'o> = &'o (dyn Fn(&str, u32, Progress) + Sync);

/// What happened on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This process took it over.
    TakenOver {
        /// From the decision until it is read: predecessor fenced, state restored.
        took: Duration,
    },
    /// A batch was committed.
    Committed {
        /// Its input records.
        records: usize,
        /// Those of them that went to dead-letter.
        dead_letters: usize,
        /// Timestamp of its first record, ms.
        oldest: i64,
        /// Reading and processing, from its first record on.
        processing: Duration,
        /// The commit itself.
        commit: Duration,
    },
    /// A record that was committed stands in a trace.
    Traced(Traced),
    /// How far it is behind; after a commit and while idle, once in a while.
    Behind {
        /// Offsets to the end of the input.
        records: u64,
        /// Timestamp of the newest record that was committed, ms; `None` before the first commit.
        newest: Option<i64>,
    },
    /// This process has it no longer.
    GivenUp,
}

/// How far a processor is behind on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Its name.
    pub processor: String,
    /// The partition of its input.
    pub partition: u32,
    /// Offsets from the first record that it has not processed to the end.
    pub records: u64,
    /// Timestamp of that record, ms since the epoch.
    pub oldest: i64,
}

/// What a processor did with a record that stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Where the record stands.
    pub parent: TraceContext,
    /// Where that stands which was written because of it.
    pub own: TraceContext,
    /// The record's topic, without the installation's prefix.
    pub topic: &'static str,
    /// Its offset.
    pub offset: i64,
    /// When it was read, by this machine's clock.
    pub began: SystemTime,
    /// When what came of it was committed.
    pub ended: SystemTime,
}
