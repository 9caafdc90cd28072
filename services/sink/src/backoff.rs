//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Delays that double from half a second to half a minute, each shortened by up to half at random, so that many clients
/// of one server do not come back together.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next delay: not shorter than what the server asked for.
    pub(crate) fn delay(&mut self, at_least: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        // A hasher's random keys are all the randomness that jitter needs.
        let random = f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX);
        let delay = whole.mul_f64(0.5 + random / 2.0);
        at_least.map_or(delay, |least| delay.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit_with_jitter() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..20).map(|_| backoff.delay(None)).collect();
        for (index, delay) in delays.iter().enumerate() {
            let whole = (FIRST * 2_u32.pow(index as u32)).min(LONGEST);
            assert!(*delay >= whole / 2 && *delay <= whole, "{index}: {delay:?}");
        }
        let distinct: std::collections::BTreeSet<_> = delays[10..].iter().collect();
        assert!(distinct.len() > 1, "{delays:?}");
    }

    #[test]
    fn respects_what_the_server_asks_for() {
        assert_eq!(Backoff::new().delay(Some(Duration::from_secs(7))), Duration::from_secs(7));
    }
}
