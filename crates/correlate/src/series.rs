//! How often Events of one class come about one workload, and what is usual.
//!
//! Hours are counted by log time. What is usual is a Gamma–Poisson mixture, fitted by moments to the hours so far, of which the older
//! count less, and scaled by the hour of the week; days are watched by a CUSUM of their distance from the usual day.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::patterns::Limits;

/// What an hour counts for after two weeks, by the hour, is half.
const HOURS_KEEP: f64 = 0.997_939;
/// The same for a day after four weeks.
const DAYS_KEEP: f64 = 0.975_550;
/// The same for the most in an hour, after eight weeks.
const PEAK_KEEP: f64 = 0.999_484;
/// What comes less often, in an hour, has no usual rate: it is remembered as incidents.
const REGULAR: f64 = 0.2;
/// What a day may be above the usual one without being called more, in standard deviations.
const SLACK: f64 = 0.5;
/// Days of which the usual one is known, by their weight: a week.
const LEARNED: f64 = 6.0;
/// What one day counts for at most: one alone is no rise.
const STEP: f64 = 3.0;
/// How far days must be above the usual one together, in standard deviations.
const RISEN: f64 = 8.0;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Sums over what was so far, of which the older count less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    weight: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    /// One more, and then `zeros` of nothing.
    fn add(&mut self, value: f64, zeros: i64, keep: f64) {
        self.weight = self.weight * keep + 1.0;
        self.sum = self.sum * keep + value;
        self.squares = self.squares * keep + value * value;
        if zeros > 0 {
            let kept = libm::pow(keep, zeros as f64);
            self.weight = self.weight * kept + (1.0 - kept) / (1.0 - keep);
            self.sum *= kept;
            self.squares *= kept;
        }
    }

    /// Not quite nothing, where nothing was.
    fn mean(&self) -> f64 {
        (self.sum + 0.01) / self.weight.max(1.0)
    }

    fn variance(&self) -> f64 {
        let mean = self.sum / self.weight.max(1.0);
        (self.squares / self.weight.max(1.0) - mean * mean).max(0.0)
    }
}

/// Events of one class about one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub class: Arc<str>,
    /// Kind, namespace and name, without what a controller generated.
    pub kind: Box<str>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    /// Hours since the epoch: the first with an Event, and the newest.
    first: i64,
    pub hour: i64,
    /// Occurrences in the newest hour, and in those before it on its day.
    pub now: i64,
    today: i64,
    hours: Moments,
    days: Moments,
    /// The most in an hour; half of it after eight weeks.
    peak: f64,
    /// How far the days so far were above what is usual, together.
    risen: f64,
    /// The hours in which something was told of it last: that there is more than usual, and that it rises.
    pub more_told: i64,
    rise_told: i64,
    /// Events that were kept as samples since.
    pub samples: u8,
    #[serde(skip)]
    pub unwritten: bool,
}

/// More than usual, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct More {
    pub count: i64,
    /// How many are usual.
    pub usual: f64,
}

impl Series {
    /// A series that begins in `hour`.
    pub fn new(class: Arc<str>, (kind, namespace, name): (&str, &str, &str), hour: i64) -> Self {
        let (kind, namespace, name) = (kind.into(), namespace.into(), name.into());
        let never = hour - 24 * 365;
        Self { class, kind, namespace, name, first: hour, hour, more_told: never, rise_told: never, ..Self::default() }
    }

    /// Counts occurrences in `hour`, which is not before the newest. Gives the day that is over by that, when it rose: see [`Series::rise`].
    pub fn add(&mut self, hour: i64, occurrences: i64) -> Option<More> {
        let rose = (hour > self.hour).then(|| self.roll(hour)).flatten();
        self.now = self.now.saturating_add(occurrences);
        rose
    }

    /// Goes on to `hour`.
    fn roll(&mut self, hour: i64) -> Option<More> {
        let passed = hour - self.hour;
        self.hours.add(self.now as f64, passed - 1, HOURS_KEEP);
        self.peak = self.peak.max(self.now as f64) * libm::pow(PEAK_KEEP, passed as f64);
        self.today = self.today.saturating_add(self.now);
        self.now = 0;
        let days = hour.div_euclid(24) - self.hour.div_euclid(24);
        self.hour = hour;
        if days == 0 {
            return None;
        }
        let count = std::mem::take(&mut self.today);
        let (usual, deviation) = (self.days.mean(), libm::sqrt(self.days.variance() + self.days.mean()));
        if self.days.weight >= LEARNED {
            let above = ((count as f64 - usual) / deviation).min(STEP);
            self.risen = (self.risen + above - SLACK).max(0.0);
            // Days of nothing.
            self.risen = (self.risen - (days - 1) as f64 * (usual / deviation + SLACK)).max(0.0);
        }
        self.days.add(count as f64, days - 1, DAYS_KEEP);
        Some(More { count, usual })
    }

    /// How many come in an hour.
    pub fn usual(&self) -> f64 {
        self.hours.mean()
    }

    /// There are enough in the newest hour to look further.
    pub fn may_have_more(&self, limits: &Limits) -> bool {
        self.now as f64 >= limits.least && self.hour - self.more_told >= 24
    }

    fn known_for(&self, hours: i64) -> bool {
        self.hour - self.first >= hours
    }

    /// Whether the newest hour has more than is usual at its hour of the week, which has `season` times as many as others; at most
    /// once a day.
    pub fn more(&self, limits: &Limits, season: f64) -> Option<More> {
        let count = self.now as f64;
        let floor = limits.least.max(limits.times * self.peak * season.min(1.0));
        if count < floor || !self.may_have_more(limits) || !self.known_for(limits.after_h()) {
            return None;
        }
        if self.hours.mean() < REGULAR {
            return None;
        }
        let usual = self.hours.mean() * season;
        let spread = self.hours.variance() * season * season;
        let unlikely = surprise(count, usual, spread) > -libm::log(limits.odds);
        (count >= limits.times * usual && unlikely).then_some(More { count: self.now, usual })
    }

    /// Whether the days rise, of which `day` was the last; at most once a week.
    pub fn rises(&self, day: More, limits: &Limits) -> bool {
        let enough = day.count as f64 >= limits.least.max(limits.times * day.usual);
        enough && self.risen >= RISEN && self.hour - self.rise_told >= 24 * 7 && self.known_for(limits.after_h())
    }

    /// It was told that it rises.
    pub fn rise_is_told(&mut self) {
        self.rise_told = self.hour;
        self.risen = 0.0;
    }
}

/// How unlikely so many are or more, as the negative logarithm of a bound on the chance (Chernoff's), when the rate has a Gamma
/// distribution and the count is Poisson's.
fn surprise(count: f64, mean: f64, variance: f64) -> f64 {
    if count <= mean {
        return 0.0;
    }
    let over = variance - mean;
    let poisson = count * libm::log(count / mean);
    if over <= 0.0 {
        return poisson - count + mean;
    }
    let size = mean * mean / over;
    poisson - (count + size) * libm::log((count + size) / (mean + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { after_ms: 7 * 24 * HOUR_MS, least: 10.0, times: 3.0, odds: 1e-6, share: 0.0, within_ms: 0 };

    fn series() -> Series {
        Series::new("probe.readiness".into(), ("Deployment", "shop", "web"), 0)
    }

    const RISE: Limits = Limits { times: 1.5, ..LIMITS };

    /// Hour by hour; gives the hours in which there was more than usual, and the days after which it rose.
    fn told(hours: impl Iterator<Item = i64>) -> (Vec<i64>, Vec<i64>) {
        let (mut series, mut more, mut rose) = (series(), vec![], vec![]);
        for (hour, count) in (0..).zip(hours).filter(|(_, count)| *count > 0) {
            if let Some(day) = series.add(hour, count).filter(|day| series.rises(*day, &RISE)) {
                assert!(day.count as f64 > day.usual);
                rose.push(hour / 24 - 1);
                series.rise_is_told();
            }
            if series.more(&LIMITS, 1.0).is_some() {
                more.push(hour);
                series.more_told = hour;
            }
        }
        (more, rose)
    }

    /// Numbers that look random and are the same each time (splitmix64).
    fn noise(n: i64) -> i64 {
        let mut z = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % 7) as i64
    }

    #[test]
    fn tells_of_what_is_far_more_than_usual_and_of_nothing_else() {
        let usual = |hours: i64| (0..hours).map(noise);
        assert_eq!(told(usual(24 * 60)), (vec![], vec![]));
        // Rollouts, twice a week, are usual; so is a burst that is there from the beginning.
        let rollouts = (0..24 * 60).map(|hour| if hour % 84 == 10 { 40 + noise(hour) } else { noise(hour) / 5 });
        assert_eq!(told(rollouts), (vec![], vec![]));
        let burst = usual(24 * 20).chain([60]).chain(usual(48));
        assert_eq!(told(burst), (vec![24 * 20], vec![]));
        // Within the first week nothing is known.
        assert_eq!(told(usual(24 * 5).chain([60]).chain(usual(48))).0, [] as [i64; 0]);
    }

    #[test]
    fn tells_of_what_rises_slowly() {
        let rising = (0..24 * 40).map(|hour: i64| noise(hour) / 3 + (hour / 24 - 20).max(0) / 8);
        let (more, rose) = told(rising);
        assert_eq!(more, [] as [i64; 0]);
        assert!(rose.first().is_some_and(|day| (26..36).contains(day)), "{rose:?}");
    }

    #[test]
    fn a_rate_that_varies_makes_much_less_surprising() {
        assert!(surprise(30.0, 3.0, 3.0) > 40.0);
        assert!(surprise(30.0, 3.0, 100.0) < 8.0);
        assert_eq!(surprise(3.0, 3.0, 3.0), 0.0);
    }
}
