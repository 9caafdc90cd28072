//! An Event on its way in.

use epicenter_model::EnrichedEvent;

use crate::neighbours::Links;
use crate::score::When;

/// Longer pauses between the occurrences of an Event make of the newest something new.
const GOES_ON_MS: i64 = 60_000;

/// An Event on its way in.
pub(crate) struct Incoming<'a> {
    pub event: &'a EnrichedEvent,
    pub object: u64,
    pub links: Links,
    pub blamed: u64,
    pub when: When,
}

impl Incoming<'_> {
    /// When what it tells of began: with its first occurrence, where it has gone on since.
    pub fn began(&self) -> When {
        let Self { event, when, .. } = self;
        let before = event.event.began_at().map_or(0, |began| event.occurred_at.millis_since(began));
        let goes_on = (0..=GOES_ON_MS.saturating_mul(event.event.total() - 1)).contains(&before);
        let before = if goes_on { before } else { 0 };
        When { first: when.first.plus_millis(-before), since: when.since.plus_millis(-before), ..*when }
    }
}
