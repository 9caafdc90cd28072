//! Waiting before one tries again.

use std::time::Duration;

/// Doubles from retry to retry, with jitter, so that clients that failed together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Steps from `first_ms` to `longest_ms`, ms.
    pub fn new(first_ms: u64, longest_ms: u64) -> Self {
        Self { first: Duration::from_millis(first_ms), longest: Duration::from_millis(longest_ms), failures: 0 }
    }

    /// It worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now: half to all of the step, and never less than `at_least`, which the server asked for.
    pub fn next(&mut self, at_least: Option<Duration>) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(rand::random_range(0.5..=1.0)).max(at_least.unwrap_or_default())
    }

    /// Waits for [`Backoff::next`].
    pub async fn wait(&mut self, at_least: Option<Duration>) {
        tokio::time::sleep(self.next(at_least)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn doubles_up_to_the_longest_and_starts_again() {
        let mut backoff = Backoff::new(500, 30_000);
        for step in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let start = Instant::now();
            backoff.wait(None).await;
            let waited = start.elapsed().as_millis() as u64;
            assert!((step / 2..=step + 1).contains(&waited), "{waited} of {step}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= Duration::from_millis(500));
    }

    #[test]
    fn no_two_wait_alike() {
        let waits: std::collections::BTreeSet<_> = (0..10).map(|_| Backoff::new(30_000, 30_000).next(None)).collect();
        assert!(waits.len() > 1, "{waits:?}");
    }

    #[test]
    fn waits_as_long_as_the_server_asks() {
        let mut backoff = Backoff::new(500, 30_000);
        assert_eq!(backoff.next(Some(Duration::from_secs(42))), Duration::from_secs(42));
    }
}
