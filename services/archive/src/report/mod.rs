//! What a stretch of time comes to, for people who look at it once a week.
//!
//! [`Report::of`] asks the archive; [`html`] and [`markdown`] write it down. As JSON it is the structure itself.

mod chart;
mod html;
mod markdown;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use epicenter_model::{Category, ObjectRef, Severity, Timestamp};
use serde::Serialize;
use serde_json::Value;

pub use html::{html, sections};
pub use markdown::markdown;

use crate::ArchiveError;
use crate::ask::{Aggregate, Archive, Filter, Group, Of, Row};

/// Causes, workloads and incidents that come back, of which so many are named.
const NAMED: usize = 10;
/// Groups that are asked for, to choose these from.
const GROUPS: u32 = 1000;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// As many hours as anything is looked at: ten years of them.
const HOURS: u32 = 10 * 366 * 24;
/// Bars of a chart, at most.
const BARS: i64 = 100;

/// What a stretch of time comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Log time, from then on.
    pub from: Timestamp,
    /// Log time, before then.
    pub to: Timestamp,
    /// The clusters asked for; none for all.
    pub clusters: Vec<String>,
    /// The namespaces asked for; none for all.
    pub namespaces: Vec<String>,
    /// All of it.
    pub total: Sum,
    /// How much came when.
    pub stretches: Stretches,
    /// The same by days, UTC, for a calendar.
    pub calendar: Vec<Stretch>,
    /// By severity, the worst first; only those that there were.
    pub severities: Vec<Share<Severity>>,
    /// By category, that of the most incidents first.
    pub categories: Vec<Share<Category>>,
    /// By the class of the cause, that of the most incidents first; ten at most.
    pub causes: Vec<Share<String>>,
    /// Incidents with the same class and object of their cause: those that came more than once, ten at most.
    pub recurring: Vec<Recurring>,
    /// Workloads of which most Events came, ten at most.
    pub workloads: Vec<Workload>,
}

/// What some incidents and Events come to. Incidents that became part of another one count there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// Incidents that changed in the time.
    pub incidents: i64,
    /// Those of them that are open at its end.
    pub open: i64,
    /// Events: their versions that brought something new.
    pub events: i64,
    /// What happened, as often as it did.
    pub occurrences: i64,
    /// The median of the time to resolve, s; `None` when nothing was resolved.
    pub resolved_p50: Option<f64>,
    /// Its 95th percentile, s.
    pub resolved_p95: Option<f64>,
}

/// Stretches of the same length without a gap between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretches {
    /// Their length, s: an hour, a day or a week.
    pub seconds: i64,
    /// The oldest first.
    pub rows: Vec<Stretch>,
}

impl Stretches {
    /// What one of them is.
    pub fn unit(&self) -> &'static str {
        match self.seconds {
            HOUR => "hour",
            DAY => "day",
            _ => "week",
        }
    }

    /// When one of them began, for people: with the hour where that matters.
    fn since(&self, at: Timestamp) -> String {
        if self.seconds == HOUR { at.to_string()[..16].replace('T', " ") } else { markdown::day(at) }
    }
}

/// A stretch of time, and what came in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    /// When it begins.
    pub since: Timestamp,
    /// Incidents that opened in it.
    pub incidents: i64,
    /// Events.
    pub events: i64,
    /// Occurrences of them.
    pub occurrences: i64,
}

/// What is alike in one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share<T> {
    /// In what.
    pub name: T,
    /// What it comes to.
    #[serde(flatten)]
    pub sum: Sum,
}

/// Incidents with the same cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recurring {
    /// Where.
    pub cluster: String,
    /// What the cause means.
    pub class: String,
    /// The cause.
    pub object: ObjectRef,
    /// What they come to; of Events nothing.
    #[serde(flatten)]
    pub sum: Sum,
}

/// A workload of which much is heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Where.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Kind/name.
    pub name: String,
    /// Events.
    pub events: i64,
    /// Occurrences of them.
    pub occurrences: i64,
}

impl Report {
    /// What fits `filter`, which must ask for no reason: incidents have none. Without an end it ends at `now`.
    ///
    /// # Errors
    /// As for [`Archive::aggregate`].
    pub async fn of(archive: &Archive, filter: &Filter, now: Timestamp) -> Result<Self, ArchiveError> {
        let asked = Asked { archive, filter, now };
        let to = filter.to.unwrap_or(now).max(filter.from);
        let mut total = Sum::default();
        asked.incidents(&[], |_, found| total.add(found)).await?;
        let hours = asked.hours().await?;
        for hour in hours.values() {
            total.events += hour.events;
            total.occurrences += hour.occurrences;
        }
        let severities = asked.shares(Group::Severity, true).await?;
        let categories = asked.shares(Group::Category, true).await?;
        let mut causes = asked.shares(Group::Class, false).await?;
        causes.truncate(NAMED);
        let span = to.millis_since(filter.from) / 1000;
        let seconds = [HOUR, DAY].into_iter().find(|seconds| span <= seconds * BARS).unwrap_or(7 * DAY);
        let mut severities = named(severities, Severity::ALL, Severity::name);
        severities.reverse();
        Ok(Self {
            from: filter.from,
            to,
            clusters: filter.cluster.clone(),
            namespaces: filter.namespace.clone(),
            total,
            stretches: Stretches { seconds, rows: rolled(&hours, filter.from, to, seconds) },
            calendar: rolled(&hours, filter.from, to, DAY),
            severities,
            categories: by_count(named(categories, Category::ALL, Category::name)),
            causes,
            recurring: asked.recurring().await?,
            workloads: asked.workloads().await?,
        })
    }
}

struct Asked<'a> {
    archive: &'a Archive,
    filter: &'a Filter,
    now: Timestamp,
}

impl Asked<'_> {
    async fn groups(
        &self,
        of: Of,
        by: &[Group],
        every: Option<NonZeroU32>,
        limit: u32,
    ) -> Result<Vec<Row>, ArchiveError> {
        let limit = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
        self.archive.aggregate(self.filter, &Aggregate { of, by: by.to_vec(), every, limit }, self.now).await
    }

    /// Incidents by groups and state, but for those that are part of others.
    async fn incidents(&self, by: &[Group], mut take: impl FnMut(&Row, &Sum)) -> Result<(), ArchiveError> {
        let by: Vec<_> = by.iter().copied().chain([Group::State]).collect();
        for row in self.groups(Of::Incidents, &by, None, GROUPS).await? {
            if text(&row, "state") != "merged" {
                take(&row, &Sum::of_incidents(&row));
            }
        }
        Ok(())
    }

    /// How much came in each hour, by the second that it begins with.
    async fn hours(&self) -> Result<BTreeMap<i64, Stretch>, ArchiveError> {
        let every = NonZeroU32::new(HOUR as u32);
        let mut hours: BTreeMap<i64, Stretch> = BTreeMap::new();
        for row in self.groups(Of::Events, &[], every, HOURS).await? {
            let hour = hours.entry(since(&row)).or_default();
            (hour.events, hour.occurrences) = (number(&row, "events"), number(&row, "occurrences"));
        }
        for row in self.groups(Of::Incidents, &[Group::State], every, HOURS).await? {
            if text(&row, "state") != "merged" {
                hours.entry(since(&row)).or_default().incidents += number(&row, "incidents");
            }
        }
        Ok(hours)
    }

    /// What each value of a column comes to, the most incidents first.
    async fn shares(&self, by: Group, events: bool) -> Result<Vec<Share<String>>, ArchiveError> {
        let mut shares: BTreeMap<String, Sum> = BTreeMap::new();
        self.incidents(&[by], |row, found| shares.entry(text(row, by.name())).or_default().add(found)).await?;
        if events {
            for row in self.groups(Of::Events, &[by], None, GROUPS).await? {
                let sum = shares.entry(text(&row, by.name())).or_default();
                sum.events += number(&row, "events");
                sum.occurrences += number(&row, "occurrences");
            }
        }
        Ok(by_count(shares.into_iter().map(|(name, sum)| Share { name, sum }).collect()))
    }

    async fn recurring(&self) -> Result<Vec<Recurring>, ArchiveError> {
        let by = [Group::Cluster, Group::Class, Group::Kind, Group::Namespace, Group::Name];
        let mut causes: BTreeMap<[String; 5], Sum> = BTreeMap::new();
        let key = |row: &Row| by.map(|group| text(row, group.name()));
        self.incidents(&by, |row, found| causes.entry(key(row)).or_default().add(found)).await?;
        let again = causes.into_iter().filter(|(_, sum)| sum.incidents > 1);
        let mut again: Vec<_> = again
            .map(|([cluster, class, kind, namespace, name], sum)| {
                let object = ObjectRef::named(&kind, &namespace, &name);
                Recurring { cluster, class, object, sum }
            })
            .collect();
        again.sort_by_key(|found| std::cmp::Reverse(found.sum.incidents));
        again.truncate(NAMED);
        Ok(again)
    }

    async fn workloads(&self) -> Result<Vec<Workload>, ArchiveError> {
        let by = [Group::Cluster, Group::Namespace, Group::Workload];
        let rows = self.groups(Of::Events, &by, None, GROUPS).await?;
        let mut workloads: Vec<_> = rows
            .iter()
            .map(|row| Workload {
                cluster: text(row, "cluster"),
                namespace: text(row, "namespace"),
                name: text(row, "workload"),
                events: number(row, "events"),
                occurrences: number(row, "occurrences"),
            })
            .filter(|workload| !workload.name.is_empty())
            .collect();
        workloads.sort_by_key(|workload| std::cmp::Reverse((workload.occurrences, workload.events)));
        workloads.truncate(NAMED);
        Ok(workloads)
    }
}

impl Sum {
    fn of_incidents(row: &Row) -> Self {
        let seconds = |name: &str| row.get(name).and_then(Value::as_f64);
        Self {
            incidents: number(row, "incidents"),
            open: number(row, "open"),
            resolved_p50: seconds("resolved_p50"),
            resolved_p95: seconds("resolved_p95"),
            ..Self::default()
        }
    }

    /// Adds incidents of another state; only those that are resolved took a time for that.
    fn add(&mut self, other: &Self) {
        self.incidents += other.incidents;
        self.open += other.open;
        self.resolved_p50 = self.resolved_p50.or(other.resolved_p50);
        self.resolved_p95 = self.resolved_p95.or(other.resolved_p95);
    }
}

fn by_count<T: Ord>(mut shares: Vec<Share<T>>) -> Vec<Share<T>> {
    shares.sort_by(|a, b| {
        (b.sum.incidents, b.sum.occurrences, &a.name).cmp(&(a.sum.incidents, a.sum.occurrences, &b.name))
    });
    shares
}

/// Those with names that there are, in the order of `all`.
fn named<T: Copy>(shares: Vec<Share<String>>, all: &[T], name: fn(T) -> &'static str) -> Vec<Share<T>> {
    let find = |one: &T| shares.iter().find(|share| share.name == name(*one));
    all.iter().filter_map(|one| find(one).map(|share| Share { name: *one, sum: share.sum.clone() })).collect()
}

/// The hours put together to stretches, none of which is left out.
fn rolled(hours: &BTreeMap<i64, Stretch>, from: Timestamp, to: Timestamp, seconds: i64) -> Vec<Stretch> {
    let begin = |second: i64| second.div_euclid(seconds) * seconds;
    let second = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
    let (first, last) = (begin(second(from)), begin(second(Timestamp::from_micros(to.as_micros() - 1))));
    let mut rows: Vec<Stretch> = (0..=(last - first).max(0) / seconds)
        .map(|n| Stretch { since: Timestamp::from_millis((first + n * seconds) * 1000), ..Stretch::default() })
        .collect();
    // An incident that changed in the time may have opened before.
    for (hour, found) in hours.range(first..) {
        let place = usize::try_from((begin(*hour) - first) / seconds).ok();
        let Some(row) = place.and_then(|place| rows.get_mut(place)) else { continue };
        row.incidents += found.incidents;
        row.events += found.events;
        row.occurrences += found.occurrences;
    }
    rows
}

fn since(row: &Row) -> i64 {
    text(row, "since").parse::<Timestamp>().unwrap_or_default().as_micros().div_euclid(1_000_000)
}

fn text(row: &Row, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Row, name: &str) -> i64 {
    row.get(name).and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_hours_together_and_leaves_no_stretch_out() {
        let hour = |incidents, events| Stretch { incidents, events, occurrences: 2 * events, ..Stretch::default() };
        let hours =
            BTreeMap::from([(-HOUR, hour(1, 1)), (0, hour(2, 3)), (5 * HOUR, hour(0, 4)), (2 * DAY, hour(1, 0))]);
        let rows = |to: i64, seconds| {
            let rows = rolled(&hours, Timestamp::default(), Timestamp::from_millis(to * 1000), seconds);
            rows.iter().map(|row| (row.since.as_millis() / 1000, row.incidents, row.events)).collect::<Vec<_>>()
        };
        assert_eq!(rows(3 * DAY, DAY), [(0, 2, 7), (DAY, 0, 0), (2 * DAY, 1, 0)]);
        assert_eq!(rows(2 * HOUR, HOUR), [(0, 2, 3), (HOUR, 0, 0)]);
        assert_eq!(rows(0, HOUR).len(), 1);
    }
}
