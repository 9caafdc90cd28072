//! How often an Event has happened since it was last seen.

use std::cmp::Ordering;

use epicenter_model::Event;

use crate::state::Counted;

/// What a version of an Event says that the versions before did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing: this write, or a later one, was seen before.
    Seen,
    /// It was written anew, and has not happened again.
    Rewritten,
    /// It happened that many times more, at least once.
    Again(i64),
}

/// Compares a version of an Event in history `epoch` with what was last counted of the Event of that name.
pub(crate) fn news(last: Option<&Counted<'_>>, event: &Event, epoch: i64) -> News {
    let total = event.total();
    let Some(last) = last else { return News::Again(total) };
    let order = versions((epoch, &event.resource_version), (last.epoch, last.version));
    match order {
        // A relist, or a second reader, shows an older write.
        Some(Ordering::Less) => News::Seen,
        // A file that is replayed tells one version as its first and its last occurrence.
        Some(Ordering::Equal) if total <= last.total => News::Seen,
        // A restored cluster shows what it had before: an older state of what was counted, or its predecessor of that name.
        Some(Ordering::Greater) if epoch > last.epoch && event.occurred_at() < last.occurred => News::Seen,
        _ if total > last.total => News::Again(total - last.total),
        // Written again under its name after it expired, by a recorder that counts from one.
        _ if event.uid != last.uid => News::Again(total),
        // Somebody reset the count. Without a new time it is the same occurrence.
        _ if total < last.total && event.occurred_at() != last.occurred => News::Again(1),
        _ => News::Rewritten,
    }
}

/// The order of two writes of one object, as far as it is known. resourceVersions of one resource are integers that can
/// be compared (Kubernetes KEP-5504).
fn versions(new: (i64, &str), old: (i64, &str)) -> Option<Ordering> {
    let numbers = || Some(new.1.parse::<u64>().ok()?.cmp(&old.1.parse::<u64>().ok()?));
    match new.0.cmp(&old.0) {
        Ordering::Equal if new.1.is_empty() => None,
        Ordering::Equal if new.1 == old.1 => Some(Ordering::Equal),
        Ordering::Equal => numbers(),
        unequal => Some(unequal),
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::Timestamp;

    use super::*;

    fn event(uid: &str, version: &str, count: i64, second: i64) -> Event {
        Event {
            uid: uid.to_owned(),
            resource_version: version.to_owned(),
            count: Some(count),
            last_at: Some(Timestamp::from_millis(second * 1000)),
            ..Event::default()
        }
    }

    /// After version 20, count 5, at second 50.
    #[track_caller]
    fn check(epoch: i64, event: Event, expected: News) {
        let last = Counted {
            uid: "a",
            version: "20",
            epoch: 1,
            total: 5,
            occurred: Some(Timestamp::from_millis(50_000)),
            class: "",
            at: Timestamp::default(),
        };
        assert_eq!(news(Some(&last), &event, epoch), expected);
    }

    #[test]
    fn counts_what_is_new() {
        check(1, event("a", "21", 6, 60), News::Again(1));
        check(1, event("a", "100", 30, 60), News::Again(25));
        check(1, event("a", "20", 7, 60), News::Again(2));
    }

    #[test]
    fn knows_a_write_again() {
        check(1, event("a", "20", 5, 50), News::Seen);
        check(1, event("a", "20", 1, 10), News::Seen);
        check(1, event("a", "9", 9, 60), News::Seen);
        check(0, event("a", "21", 9, 60), News::Seen);
    }

    #[test]
    fn tells_a_rewrite_from_an_occurrence() {
        check(1, event("a", "21", 5, 50), News::Rewritten);
        check(1, event("a", "21", 5, 55), News::Rewritten);
        check(2, event("a", "3", 5, 50), News::Rewritten);
        check(1, event("a", "", 5, 50), News::Rewritten);
        check(1, event("a", "opaque", 5, 50), News::Rewritten);
    }

    #[test]
    fn counts_nothing_again_after_a_restore() {
        check(2, event("a", "3", 3, 30), News::Seen);
        check(2, event("b", "3", 9, 30), News::Seen);
        check(2, event("a", "20", 5, 50), News::Rewritten);
        check(2, event("a", "4", 6, 60), News::Again(1));
        check(2, event("a", "4", 1, 60), News::Again(1));
    }

    #[test]
    fn takes_a_falling_count_for_a_restart() {
        check(1, event("a", "21", 2, 60), News::Again(1));
        check(1, event("a", "21", 2, 50), News::Rewritten);
        check(1, event("a", "21", -7, 60), News::Again(1));
    }

    #[test]
    fn goes_on_when_a_name_is_written_again() {
        check(1, event("b", "21", 7, 60), News::Again(2));
        check(1, event("b", "21", 5, 60), News::Again(5));
        check(1, event("b", "21", 1, 60), News::Again(1));
    }

    #[test]
    fn takes_an_unknown_event_whole() {
        assert_eq!(news(None, &event("a", "1", 38, 1), 1), News::Again(38));
        assert_eq!(news(None, &event("a", "1", 0, 1), 1), News::Again(1));
        let series = Event { series_count: Some(3), count: Some(1), ..event("a", "1", 0, 1) };
        assert_eq!(news(None, &Event { count: Some(1), ..series }, 1), News::Again(3));
    }
}
