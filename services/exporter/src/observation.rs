//! What goes from the watches to the log.

use std::sync::Arc;

use epicenter_model::{Event, GapReason, ObjectFacts};

use crate::resource::Scope;

/// An entry of the queue between the watches and the log.
pub(crate) enum Message {
    Observation(Observation),
    /// Everything that was read before it is in the queue before it.
    Heartbeat {
        healthy: bool,
    },
}

/// Something that a watch saw, and how far it has come by it.
pub(crate) struct Observation {
    pub(crate) scope: Arc<Scope>,
    pub(crate) epoch: i64,
    pub(crate) seen: Seen,
    pub(crate) reached: Reached,
}

pub(crate) enum Seen {
    /// Nothing to be recorded: only the position moves.
    Nothing,
    Event {
        event: Box<Event>,
        backfill: bool,
    },
    Object {
        facts: Box<ObjectFacts>,
        deleted: bool,
        listed: bool,
    },
    /// What cannot be read.
    Rejected {
        payload: Vec<u8>,
        error: String,
    },
    ListBegan,
    /// The whole list is in the queue; it closed a gap.
    ListEnded {
        gap: Option<GapReason>,
    },
}

/// How far a watch has come.
pub(crate) enum Reached {
    /// No further.
    Same,
    /// To an object of a list.
    Listed(Progress),
    /// To a resourceVersion: a watch goes on after it.
    ///
    /// Several deletions can share one resourceVersion, when one lease expires (etcd revokes it in one transaction), and a
    /// watch that is resumed after it does not show the rest of them. That happens to Events only, whose deletions are
    /// not recorded.
    Version(String),
}

/// How much of a list is in the log. Lists are in the order of etcd's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The list's resourceVersion.
    pub(crate) version: String,
    /// The last object, `namespace/name`.
    pub(crate) key: String,
}

impl Progress {
    /// That version of that object is in the log: it was listed before.
    pub(crate) fn covers(&self, key: &str, version: &str) -> bool {
        key <= self.key.as_str() && !is_newer(version, &self.version)
    }
}

/// `version` is newer than `than`, or it cannot be said. Both are of one resource: only then do they compare
/// (kubernetes/enhancements KEP-5504).
pub(crate) fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u128>(), than.parse::<u128>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_as_numbers_and_keeps_what_it_cannot_compare() {
        for (version, than, newer) in [("10", "9", true), ("9", "10", false), ("9", "9", false), ("x", "9", true)] {
            assert_eq!(is_newer(version, than), newer, "{version} {than}");
        }
    }

    #[test]
    fn covers_what_stands_before_it_in_the_order_of_etcd() {
        let progress = Progress { version: "100".into(), key: "a-b/x".into() };
        for (key, version, covered) in
            [("a-b/x", "100", true), ("a-b/y", "1", false), ("a-a/z", "101", false), ("a/z", "1", false)]
        {
            assert_eq!(progress.covers(key, version), covered, "{key} {version}");
        }
    }
}
