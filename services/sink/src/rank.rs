//! Which objects stay when there is no room for all.

use std::collections::BTreeMap;

use epicenter_model::{Incident, Severity, Timestamp};

use crate::crd::IncidentStatus;
use crate::publish::ended_at;

/// An object's place among the others; the lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It is over, since then.
    Ended(Timestamp),
    /// It goes on, since then.
    Open(Severity, Timestamp),
}

impl Rank {
    pub(crate) fn of(document: &Incident) -> Self {
        ended_at(document).map_or(Self::Open(document.severity, document.opened_at), Self::Ended)
    }

    /// The rank of an object that is there. What an earlier log left open ended, for all that this one knows, with the
    /// last that was heard of it.
    pub(crate) fn of_object(status: &IncidentStatus, log_epoch: i64) -> Self {
        if status.log_epoch < log_epoch {
            Self::Ended(status.document.last_event_at)
        } else {
            Self::of(&status.document)
        }
    }

    /// It ended before `oldest_kept`.
    pub(crate) fn expired(self, oldest_kept: Timestamp) -> bool {
        matches!(self, Self::Ended(at) if at < oldest_kept)
    }
}

/// What has to go: what ended before `oldest_kept`, and the lowest of the rest until `room` are left. In order of rank.
pub(crate) fn surplus(objects: &BTreeMap<String, Rank>, oldest_kept: Timestamp, room: usize) -> Vec<(String, Rank)> {
    let mut ranked: Vec<_> = objects.iter().map(|(id, rank)| (*rank, id)).collect();
    ranked.sort();
    let count = ranked.len();
    let goes = |(index, (rank, id)): (usize, (Rank, &String))| {
        (rank.expired(oldest_kept) || count - index > room).then(|| (id.clone(), rank))
    };
    ranked.into_iter().enumerate().filter_map(goes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn nothing_goes_on_in_a_log_that_has_gone() {
        let document = Incident { last_event_at: at(5), severity: Severity::High, ..Incident::default() };
        let status = IncidentStatus::new(&document, 1, None);
        assert_eq!(Rank::of_object(&status, 1), Rank::Open(Severity::High, Timestamp::default()));
        assert_eq!(Rank::of_object(&status, 2), Rank::Ended(at(5)));
    }

    #[track_caller]
    fn check(oldest_kept: i64, room: usize, expected: &[&str]) {
        let objects = BTreeMap::from([
            ("old".to_owned(), Rank::Ended(at(1))),
            ("recent".to_owned(), Rank::Ended(at(5))),
            ("low".to_owned(), Rank::Open(Severity::Low, at(0))),
            ("critical-first".to_owned(), Rank::Open(Severity::Critical, at(1))),
            ("critical-second".to_owned(), Rank::Open(Severity::Critical, at(2))),
        ]);
        let gone: Vec<_> = surplus(&objects, at(oldest_kept), room).into_iter().map(|(id, _)| id).collect();
        assert_eq!(gone, expected);
    }

    #[test]
    fn expires_what_ended_and_then_drops_the_least_severe() {
        check(0, 5, &[]);
        check(2, 5, &["old"]);
        check(9, 5, &["old", "recent"]);
        check(0, 3, &["old", "recent"]);
        check(0, 1, &["old", "recent", "low", "critical-first"]);
    }
}
