//! When and where the incidents of one fingerprint were: what most of them have in common.

use epicenter_model::{Hours, ObjectRef, Place, Timestamp};
use serde::{Deserialize, Serialize};

const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
/// Fewer show no habit.
const LEAST: usize = 3;
/// Fewer on working days only may be so by chance.
const WORKING_DAYS: usize = 5;
/// The widest part of a day that is told, h.
const WIDEST: i64 = 3;
/// What comes back sooner is one trouble that flaps, ms.
const SHORTEST_MS: i64 = 600_000;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The one node, or zone, where an incident was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Spot {
    Node(Box<str>),
    Zone(Box<str>),
}

impl Spot {
    fn object(&self) -> ObjectRef {
        match self {
            Self::Node(name) => ObjectRef { api_version: "v1".to_owned(), ..ObjectRef::named("Node", "", name) },
            Self::Zone(name) => ObjectRef::named("Zone", "", name),
        }
    }
}

/// Three in four.
fn most(some: usize, of: usize) -> bool {
    some * 4 >= of * 3
}

/// The day of the week in UTC, 0 for Monday: the epoch began on a Thursday.
fn weekday(at: Timestamp) -> usize {
    (at.as_millis().div_euclid(DAY_MS) + 3).rem_euclid(7) as usize
}

/// `Thu 2026-11-26 09:12 UTC`.
pub fn day_and_minute(at: Timestamp) -> String {
    let minute = Timestamp::from_millis(at.as_millis().div_euclid(60_000) * 60_000).to_string();
    let told = minute.get(..16).unwrap_or(&minute).replacen('T', " ", 1);
    format!("{} {told} UTC", DAYS[weekday(at)])
}

/// The narrowest part of the day in which most of them began, and on which days.
pub(crate) fn hours(began: &[Timestamp]) -> Option<Hours> {
    let hour = |at: &Timestamp| at.as_millis().div_euclid(HOUR_MS).rem_euclid(24);
    for wide in 1..=WIDEST {
        let within = |from: i64| began.iter().filter(move |at| (hour(at) - from).rem_euclid(24) < wide);
        let from = (0..24).max_by_key(|from| (within(*from).count(), std::cmp::Reverse(*from)))?;
        let count = within(from).count();
        if count < LEAST || !most(count, began.len()) {
            continue;
        }
        let mut on = [false; 7];
        within(from).for_each(|at| on[weekday(*at)] = true);
        let to_hour = (from + wide - 1).rem_euclid(24) + 1;
        return Some(Hours { days: days(on, count), from_hour: from, to_hour, count: count as i64 });
    }
    None
}

/// The days that say something: one, two, or working days only.
fn days(on: [bool; 7], count: usize) -> Vec<String> {
    let names = |on: [bool; 7]| DAYS.iter().zip(on).filter(|(_, on)| *on).map(|(day, _)| (*day).to_owned()).collect();
    let [.., saturday, sunday] = on;
    match on.iter().filter(|on| **on).count() {
        different @ (1 | 2) if count >= LEAST + different - 1 => names(on),
        3.. if !saturday && !sunday && count >= WORKING_DAYS => names([true, true, true, true, true, false, false]),
        _ => Vec::new(),
    }
}

/// From the beginning of one to that of the next, ms, when most of them, up to the one at `opened`, are so far apart.
pub(crate) fn period(began: &[Timestamp], opened: Timestamp) -> Option<i64> {
    let next = began.iter().skip(1).copied().chain([opened]);
    let mut apart: Vec<i64> = began.iter().zip(next).map(|(one, next)| next.millis_since(*one)).collect();
    apart.sort_unstable();
    let median = *apart.get(apart.len() / 2).filter(|_| apart.len() >= LEAST)?;
    let alike = apart.iter().filter(|apart| (**apart - median).abs() <= median / 10).count();
    (median >= SHORTEST_MS && most(alike, apart.len())).then_some(median)
}

/// The place where most of them were.
pub(crate) fn place<'s>(spots: impl Iterator<Item = Option<&'s Spot>> + Clone) -> Option<Place> {
    let all = spots.clone().count();
    let known: Vec<&Spot> = spots.flatten().collect();
    let count = |spot: &Spot| known.iter().filter(|other| **other == spot).count();
    let found = known.iter().max_by(|one, other| count(one).cmp(&count(other)).then_with(|| other.cmp(one)))?;
    let count = count(found);
    most(count, all).then(|| Place { object: found.object(), count: count as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    #[track_caller]
    fn check_hours(began: &[&str], expected: Option<(&str, i64, i64, i64)>) {
        let began: Vec<Timestamp> = began.iter().map(|text| at(text)).collect();
        let found = hours(&began);
        let found = found.as_ref().map(|it| (it.days.join(" "), it.from_hour, it.to_hour, it.count));
        assert_eq!(found, expected.map(|(days, from, to, count)| (days.to_owned(), from, to, count)));
    }

    #[test]
    fn finds_the_hours_of_the_week() {
        check_hours(&["02T09:10", "03T09:50"], None);
        check_hours(&["02T09:10", "03T09:50", "05T09:00"], Some(("", 9, 10, 3)));
        check_hours(&["02T09:10", "09T09:50", "16T09:00"], Some(("Mon", 9, 10, 3)));
        check_hours(&["02T09:10", "03T09:50", "09T09:00", "10T09:01", "10T18:00"], Some(("Mon Tue", 9, 10, 4)));
        let working = ["02T09:10", "03T09:50", "04T09:00", "05T09:01", "09T09:02"];
        check_hours(&working, Some(("Mon Tue Wed Thu Fri", 9, 10, 5)));
        // Around midnight, and all over the day.
        check_hours(&["02T23:40", "04T00:10", "04T23:50", "06T00:01"], Some(("", 23, 1, 4)));
        check_hours(&["02T03:40", "04T00:10", "04T12:50", "06T18:01"], None);
    }

    #[track_caller]
    fn check_period(began: &[&str], opened: &str, expected: Option<i64>) {
        let began: Vec<Timestamp> = began.iter().map(|text| at(text)).collect();
        assert_eq!(period(&began, at(opened)), expected);
    }

    #[test]
    fn finds_what_is_regular() {
        check_period(&["02T09:00", "03T09:05", "04T09:00"], "05T09:10", Some(DAY_MS + 300_000));
        check_period(&["02T09:00", "03T09:00"], "04T09:00", None);
        check_period(&["02T09:00", "02T11:00", "04T09:00"], "05T09:10", None);
        check_period(&["02T09:00", "02T09:01", "02T09:02"], "02T09:03", None);
    }

    #[test]
    fn finds_the_place_of_most() {
        let node = |name: &str| Some(Spot::Node(name.into()));
        let found = |spots: &[Option<Spot>]| {
            place(spots.iter().map(Option::as_ref)).map(|place| (place.object.to_string(), place.count))
        };
        assert_eq!(found(&[node("n1"), node("n1"), node("n2"), node("n1")]), Some(("Node n1".to_owned(), 3)));
        assert_eq!(found(&[node("n1"), None, node("n2"), node("n1")]), None);
        assert_eq!(found(&[Some(Spot::Zone("a".into()))]), Some(("Zone a".to_owned(), 1)));
        assert_eq!(found(&[None]), None);
    }

    #[test]
    fn tells_day_and_minute() {
        assert_eq!(day_and_minute(at("26T09:12")), "Thu 2026-11-26 09:12 UTC");
        assert_eq!(day_and_minute(Timestamp::from_millis(0)), "Thu 1970-01-01 00:00 UTC");
    }
}
