//! How well a cause explains an effect.

use epicenter_model::Timestamp;

use crate::source::CausalRule;

/// Two clocks differ by no more than this, usually.
pub(crate) const SKEW_MS: i64 = 5_000;
/// The order of the log says less than the emitters' clocks, but it holds when a clock is wrong.
const BY_LOG: f64 = 0.9;

/// When something happened first and last: by its emitter's clock, and by the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub first: Timestamp,
    pub last: Timestamp,
    pub since: Timestamp,
    pub at: Timestamp,
}

/// How likely the time from `cause` to the beginning of `effect` is under `rule`, 0 to 1, and that time, ms: the better of
/// the cause's first and newest occurrence. What was there long before a cause is not its effect, however long it lasts.
pub(crate) fn lag(rule: &CausalRule, cause: When, effect: When) -> (f64, i64) {
    let mut best = (0.0, effect.first.millis_since(cause.last));
    for from in [cause.last, cause.first] {
        let lag = effect.first.millis_since(from);
        let likely = likelihood(rule.lag_s, lag);
        if likely > best.0 {
            best = (likely, lag);
        }
    }
    let by_log = |from: Timestamp| BY_LOG * likelihood(rule.lag_s, effect.since.millis_since(from));
    (best.0.max(by_log(cause.at)).max(by_log(cause.since)), best.1)
}

/// A trapezoid: 1 from the least to the most lag with some skew, and down to 0 over a quarter of either more. That an effect may
/// come long after its cause says nothing of how long before.
fn likelihood((least, most): (i64, i64), lag_ms: i64) -> f64 {
    let (least, most) = (least.saturating_mul(1000) - SKEW_MS, most.saturating_mul(1000) + SKEW_MS);
    let (outside, bound) = if lag_ms < least { (least.saturating_sub(lag_ms), least) } else { (lag_ms - most, most) };
    let margin = (bound.saturating_abs() / 4).max(SKEW_MS);
    1.0 - (outside.max(0) as f64 / margin as f64).min(1.0)
}

/// P(X ≥ `hits`) of `trials` that each succeed with probability `chance`.
pub(crate) fn binomial_tail(hits: usize, trials: usize, chance: f64) -> f64 {
    let (n, p) = (trials as f64, chance.clamp(0.0, 1.0));
    let mut term = libm::pow(1.0 - p, n);
    let mut below = 0.0;
    for k in 0..hits.min(trials + 1) {
        below += term;
        term *= (n - k as f64) / (k as f64 + 1.0) * p / (1.0 - p).max(f64::MIN_POSITIVE);
    }
    (1.0 - below).max(0.0)
}

/// `value` to three places: what is told of a score.
pub(crate) fn rounded(value: f64) -> f64 {
    libm::round(value * 1000.0) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_off_outside_the_lag_and_forgives_skew() {
        for (lag_ms, expected) in [
            (0, 1.0),
            (40_000, 1.0),
            (-5_000, 1.0),
            (45_000, 1.0),
            (50_625, 0.5),
            (-7_500, 0.5),
            (100_000, 0.0),
            (i64::MIN, 0.0),
            (i64::MAX, 0.0),
        ] {
            assert_eq!(rounded(likelihood((0, 40), lag_ms)), expected, "{lag_ms} ms");
        }
    }

    #[test]
    fn counts_what_chance_would_do() {
        assert_eq!(rounded(binomial_tail(3, 3, 0.5)), 0.125);
        assert_eq!(rounded(binomial_tail(0, 3, 0.5)), 1.0);
        assert_eq!(rounded(binomial_tail(2, 3, 0.1)), 0.028);
    }
}
