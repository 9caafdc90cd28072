//! How often what comes in a cluster: a series of counts for each class and workload, and the week as each class has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::series::{More, Series};

/// Most series. One of which nothing was heard in this hour makes room for another; beyond that Events are not counted.
const SERIES: usize = 4_096;
/// Most classes of which the week is known.
const PROFILES: usize = 512;
const WEEK_H: i64 = 168;
/// Weeks after which the hour of the week counts.
const LEARNED: i64 = 2;
/// A week counts for less from one to the next.
const WEEKS_KEEP: f64 = 0.8;
/// So many weeks speak for every hour being like any other.
const ALIKE: f64 = 2.0;

/// The week of a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// The first whole week since the epoch of which it is known.
    since: i64,
    /// By hour of the week: the newest week with Events then, and how many there were, of which the older count less.
    hours: BTreeMap<u8, (i64, f64)>,
}

/// All that is counted of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    series: FxHashMap<u64, Series>,
    by_hour: BTreeSet<(i64, u64)>,
    profiles: FxHashMap<Arc<str>, Profile>,
    /// Series that changed since they were last written, or are gone.
    pub unwritten: Vec<u64>,
}

/// The object of which the most was heard in an hour.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Talker {
    pub kind: Box<str>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub count: i64,
    pub usual: f64,
    /// What was heard of all.
    pub all: i64,
}

impl Profile {
    fn add(&mut self, hour: i64, count: f64) {
        let (week, slot) = (hour.div_euclid(WEEK_H), hour.rem_euclid(WEEK_H) as u8);
        if week < self.since {
            return;
        }
        let (newest, sum) = self.hours.entry(slot).or_insert((week, 0.0));
        *sum = *sum * libm::pow(WEEKS_KEEP, (week - *newest) as f64) + count;
        *newest = week;
    }

    /// How many times as many as in others come in that hour of the week.
    fn season(&self, hour: i64) -> f64 {
        let (week, slot) = (hour.div_euclid(WEEK_H), hour.rem_euclid(WEEK_H) as u8);
        let weeks = week - self.since;
        if weeks < LEARNED {
            return 1.0;
        }
        let weight = (1.0 - libm::pow(WEEKS_KEEP, weeks as f64)) / (1.0 - WEEKS_KEEP);
        let sum = |(newest, sum): &(i64, f64)| sum * libm::pow(WEEKS_KEEP, (week - newest) as f64);
        let average = self.hours.values().map(sum).sum::<f64>() / WEEK_H as f64;
        if average <= 0.0 {
            return 1.0;
        }
        let own = self.hours.get(&slot).map_or(0.0, sum);
        let alike = ALIKE / weight;
        ((own + alike * average) / (average * (1.0 + alike))).clamp(0.25, 4.0)
    }
}

impl Rates {
    pub fn get(&self, key: u64) -> Option<&Series> {
        self.series.get(&key)
    }

    pub fn get_mut(&mut self, key: u64) -> Option<&mut Series> {
        self.series.get_mut(&key)
    }

    /// The series, which is written now.
    pub fn written(&mut self, key: u64) -> Option<&Series> {
        let series = self.series.get_mut(&key)?;
        series.unwritten = false;
        Some(series)
    }

    pub fn profile(&self, class: &str) -> Option<&Profile> {
        self.profiles.get(class)
    }

    pub fn insert_profile(&mut self, class: &str, profile: Profile) {
        self.profiles.insert(class.into(), profile);
    }

    pub fn insert(&mut self, key: u64, series: Series) {
        self.by_hour.insert((series.hour, key));
        self.series.insert(key, series);
    }

    /// Counts occurrences of `class` about an object in `hour`. Gives the series' key, and the day that is over by that; `None` when
    /// there is no room for another series.
    pub fn count(
        &mut self,
        class: &str,
        object: (&str, &str, &str),
        hour: i64,
        occurrences: i64,
    ) -> Option<(u64, Option<More>)> {
        let key = key(class, object);
        let Some(series) = self.series.get_mut(&key) else {
            self.make_room(hour)?;
            let mut series = Series::new(class.into(), object, hour);
            series.add(hour, occurrences);
            series.unwritten = true;
            self.unwritten.push(key);
            self.insert(key, series);
            return Some((key, None));
        };
        let before = series.hour;
        let day = series.add(hour.max(before), occurrences);
        if !std::mem::replace(&mut series.unwritten, true) {
            self.unwritten.push(key);
        }
        if hour > before {
            self.by_hour.remove(&(before, key));
            self.by_hour.insert((hour, key));
        }
        Some((key, day))
    }

    fn make_room(&mut self, hour: i64) -> Option<()> {
        if self.series.len() < SERIES {
            return Some(());
        }
        let (oldest, key) = self.by_hour.first().copied().filter(|(oldest, _)| *oldest < hour)?;
        self.by_hour.remove(&(oldest, key));
        self.series.remove(&key);
        self.unwritten.push(key);
        Some(())
    }

    /// How many times as many Events of the class as in other hours come in this one.
    pub fn season(&self, class: &str, hour: i64) -> f64 {
        self.profiles.get(class).map_or(1.0, |profile| profile.season(hour))
    }

    /// Closes `hour`: gives who had the most, and the classes whose week has changed.
    pub fn close(&mut self, hour: i64) -> (Option<Talker>, Vec<Arc<str>>) {
        let mut classes: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        let mut objects: BTreeMap<(&str, &str, &str), (i64, f64)> = BTreeMap::new();
        let mut all: i64 = 0;
        for (_, key) in self.by_hour.range((hour, 0)..=(hour, u64::MAX)) {
            let Some(series) = self.series.get(key) else { continue };
            all = all.saturating_add(series.now);
            let count = classes.entry(Arc::clone(&series.class)).or_default();
            *count = count.saturating_add(series.now);
            let object = objects.entry((&series.kind, &series.namespace, &series.name)).or_default();
            *object = (object.0.saturating_add(series.now), object.1 + series.usual());
        }
        let most = objects.into_iter().max_by(|(one, (a, _)), (other, (b, _))| a.cmp(b).then_with(|| other.cmp(one)));
        let most = most.map(|((kind, namespace, name), (count, usual))| Talker {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            count,
            usual,
            all,
        });
        let mut changed = Vec::new();
        for (class, count) in classes {
            let full = self.profiles.len() >= PROFILES;
            let since = hour.div_euclid(WEEK_H) + 1;
            let profile = match self.profiles.get_mut(&class) {
                None if full => continue,
                None => self.profiles.entry(Arc::clone(&class)).or_insert(Profile { since, ..Profile::default() }),
                Some(profile) => profile,
            };
            profile.add(hour, count as f64);
            changed.push(class);
        }
        (most, changed)
    }
}

/// Names a series in the state: 64-bit FNV-1a, the same on every machine and in every version.
fn key(class: &str, (kind, namespace, name): (&str, &str, &str)) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in [class, kind, namespace, name] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> (&str, &str, &str) {
        ("Deployment", "shop", name)
    }

    #[test]
    fn what_does_not_fit_is_not_counted_and_the_oldest_makes_room() {
        let mut rates = Rates::default();
        let names: Vec<String> = (0..10_000).map(|n| format!("w{n}")).collect();
        let counted = names.iter().filter(|name| rates.count("c", object(name), 5, 1).is_some()).count();
        assert_eq!((counted, rates.series.len(), rates.by_hour.len()), (SERIES, SERIES, SERIES));
        assert!(rates.count("c", object("w0"), 6, 1).is_some());
        assert!(rates.count("c", object("new"), 6, 1).is_some());
        assert_eq!((rates.series.len(), rates.by_hour.len()), (SERIES, SERIES));
    }

    #[test]
    fn closes_an_hour() {
        let mut rates = Rates::default();
        for (class, name, times) in [("a", "web", 7), ("b", "web", 4), ("a", "api", 9)] {
            rates.count(class, object(name), 100, times);
        }
        let (most, changed) = rates.close(100);
        let most = most.unwrap();
        assert_eq!((most.all, &*most.name, most.count), (20, "web", 11));
        assert_eq!(changed.iter().map(|class| &**class).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(rates.close(101), (None, vec![]));
    }

    #[test]
    fn an_hour_of_the_week_that_has_more_each_week_is_expected_to() {
        let mut profile = Profile::default();
        for hour in 0..WEEK_H * 6 {
            profile.add(hour, if hour % WEEK_H == 9 { 40.0 } else { 2.0 });
        }
        let at = |hour: i64| profile.season(WEEK_H * 6 + hour);
        assert!(at(9) == 4.0 && (0.8..1.0).contains(&at(10)), "{} {}", at(9), at(10));
        // One week is not enough.
        assert_eq!(profile.season(9), 1.0);
    }

    #[test]
    fn a_name_of_a_series_stays() {
        assert_eq!(key("", ("", "", "")), 0x4d25_767f_9dce_13f5);
    }
}
