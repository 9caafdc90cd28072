//! What rows add up to.

use std::num::NonZeroU32;

use epicenter_model::{EnrichedEvent, Timestamp};

use super::{Archive, Filter, Malformed, Row};
use crate::{ArchiveError, Entry as _};

/// Of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Of {
    /// Events.
    #[default]
    Events,
    /// Incidents, each once, as it was at the end of the time asked for.
    Incidents,
}

/// By what rows are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Cluster,
    Namespace,
    Kind,
    Name,
    Reason,
    Category,
    Severity,
    Class,
    Node,
    Workload,
    State,
}

impl Group {
    /// All that there are.
    pub const ALL: [Self; 11] = [
        Self::Cluster,
        Self::Namespace,
        Self::Kind,
        Self::Name,
        Self::Reason,
        Self::Category,
        Self::Severity,
        Self::Class,
        Self::Node,
        Self::Workload,
        Self::State,
    ];

    /// Its name, and its column's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Reason => "reason",
            Self::Category => "category",
            Self::Severity => "severity",
            Self::Class => "class",
            Self::Node => "node",
            Self::Workload => "workload",
            Self::State => "state",
        }
    }

    const fn is_of(self, of: Of) -> bool {
        match self {
            Self::Reason | Self::Node | Self::Workload => matches!(of, Of::Events),
            Self::State => matches!(of, Of::Incidents),
            _ => true,
        }
    }
}

impl std::str::FromStr for Group {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL
            .into_iter()
            .find(|group| group.name() == text)
            .ok_or_else(|| Malformed::new("by", text, format!("is none of {}", Self::ALL.map(Self::name).join(", "))))
    }
}

/// How rows are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Of what.
    pub of: Of,
    /// By these columns.
    pub by: Vec<Group>,
    /// And by stretches of so many seconds: in which Events came, or incidents opened.
    pub every: Option<NonZeroU32>,
    /// Groups at most; the largest are kept, or with stretches the oldest.
    pub limit: NonZeroU32,
}

/// Seconds of a life of an incident.
const SECONDS: &str = "(arrow_cast({to}, 'Int64') - arrow_cast(opened_at, 'Int64')) / 1000000";

impl Archive {
    /// Counts what fits, by groups.
    ///
    /// Of Events: `events`, their `occurrences`, these `per_hour`, and the `objects` that they are about, counted to about 2 %.
    /// Of incidents: `incidents`, those of them that are `open`, `occurrences`, `per_hour` (incidents), the median and the 95th
    /// percentile of how long Events came (`active_p50`, `active_p95`) and of the time to resolve (`resolved_p50`,
    /// `resolved_p95`), s, to about 1 %.
    ///
    /// # Errors
    /// [`ArchiveError::Malformed`] for a column that the rows do not have; or when the limits are reached, or the archive cannot be read.
    pub async fn aggregate(&self, filter: &Filter, how: &Aggregate, now: Timestamp) -> Result<Vec<Row>, ArchiveError> {
        if let Some(group) = how.by.iter().find(|group| !group.is_of(how.of)) {
            let rows = if how.of == Of::Events { "Events" } else { "incidents" };
            return Err(Malformed::new("by", group.name(), format!("is no column of {rows}")).into());
        }
        let from = match how.of {
            Of::Events => {
                let members = self.members(filter).await?.map_or(String::new(), |members| format!(" AND {members}"));
                format!("events WHERE {}{members}", filter.condition(EnrichedEvent::KIND))
            }
            Of::Incidents => self.newest(filter).await?,
        };
        self.query(&how.sql(&from, filter, now)).await
    }
}

impl Aggregate {
    /// The members of its rows, in order.
    pub fn columns(&self) -> Vec<&'static str> {
        let sums: &[_] = match self.of {
            Of::Events => &["events", "occurrences", "per_hour", "objects"],
            Of::Incidents => &[
                "incidents",
                "open",
                "occurrences",
                "per_hour",
                "active_p50",
                "active_p95",
                "resolved_p50",
                "resolved_p95",
            ],
        };
        self.groups().chain(sums.iter().copied()).collect()
    }

    /// The columns by which rows are put together.
    fn groups(&self) -> impl Iterator<Item = &'static str> {
        self.every.map(|_| "since").into_iter().chain(self.by.iter().map(|group| group.name()))
    }

    fn sql(&self, from: &str, filter: &Filter, now: Timestamp) -> String {
        let whole = filter.to.unwrap_or(now).millis_since(filter.from).max(1) as f64 / 3.6e6;
        let hours = self.every.map_or(whole, |seconds| f64::from(seconds.get()) / 3600.0);
        let at = match self.of {
            Of::Events => "time",
            Of::Incidents => "opened_at",
        };
        let stretch = self.every.map(|seconds| format!("date_bin(INTERVAL '{seconds} seconds', {at}) AS since"));
        let columns: Vec<_> =
            stretch.into_iter().chain(self.by.iter().map(|group| format!("\"{}\"", group.name()))).collect();
        let places: Vec<_> = (1..=columns.len()).map(|place| place.to_string()).collect();
        let select: String = columns.iter().map(|column| format!("{column}, ")).collect();
        let group = if places.is_empty() { String::new() } else { format!(" GROUP BY {}", places.join(", ")) };
        let (first, sums) = match self.of {
            Of::Events if self.has_many_groups() => ("events", self.by_object(&select, from, hours)),
            Of::Events => (
                "events",
                format!(
                    "SELECT {select}count(*) AS events, sum(occurrences) AS occurrences, sum(occurrences) / {hours:?} AS per_hour, \
                     approx_distinct(coalesce(uid, name)) AS objects FROM {from}"
                ),
            ),
            Of::Incidents => ("incidents", format!("SELECT {select}{} FROM {from}", of_incidents(hours))),
        };
        // The same every time: what is alike goes by its names.
        let order: Vec<_> = match self.every {
            Some(_) => ["1".to_owned(), format!("{first} DESC")].into_iter().chain(places).collect(),
            None => [format!("{first} DESC")].into_iter().chain(places).collect(),
        };
        format!("{sums}{group} ORDER BY {} LIMIT {}", order.join(", "), self.limit)
    }

    /// There may be about as many groups as objects. A count of what is not alike takes 16 KiB for each group.
    fn has_many_groups(&self) -> bool {
        self.by.iter().any(|group| matches!(group, Group::Name | Group::Workload))
    }

    /// Puts Events together by object first, and then counts those: as large as the objects are many, whatever the groups.
    fn by_object(&self, select: &str, from: &str, hours: f64) -> String {
        let names: String = self.groups().map(|name| format!("\"{name}\", ")).collect();
        let places: Vec<_> = (1..=self.groups().count() + 1).map(|place| place.to_string()).collect();
        format!(
            "SELECT {names}sum(alike) AS events, sum(occurred) AS occurrences, sum(occurred) / {hours:?} AS per_hour, count(object) AS objects \
             FROM (SELECT {select}coalesce(uid, name) AS object, count(*) AS alike, sum(occurrences) AS occurred FROM {from} GROUP BY {})",
            places.join(", ")
        )
    }
}

fn of_incidents(hours: f64) -> String {
    let took = |to: &str, share: f64, name: &str| {
        format!("approx_percentile_cont({share}) WITHIN GROUP (ORDER BY {}) AS {name}", SECONDS.replace("{to}", to))
    };
    let took = [
        took("last_event_at", 0.5, "active_p50"),
        took("last_event_at", 0.95, "active_p95"),
        took("resolved_at", 0.5, "resolved_p50"),
        took("resolved_at", 0.95, "resolved_p95"),
    ];
    format!(
        "count(*) AS incidents, count(*) FILTER (WHERE state = 'open') AS open, sum(occurrences) AS occurrences, \
         count(*) / {hours:?} AS per_hour, {}",
        took.join(", ")
    )
}

/// Reads a stretch of time: 30s, 15m, 1h, 1d.
///
/// # Errors
/// When it is none, or shorter than a second.
pub fn stretch(text: &str) -> Result<NonZeroU32, Malformed> {
    let seconds = text.parse::<jiff::Span>().ok().and_then(|span| {
        let day = jiff::SpanRelativeTo::days_are_24_hours();
        span.to_duration(day).ok()
    });
    let seconds = seconds.and_then(|span| u32::try_from(span.as_secs()).ok()).and_then(NonZeroU32::new);
    seconds.ok_or_else(|| Malformed::new("every", text, "is no stretch of time: write 15m, 1h or 1d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stretches_of_time() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("1h", 3600), ("1d", 86_400), ("1w", 604_800)] {
            assert_eq!(stretch(text).unwrap().get(), seconds, "{text}");
        }
        for text in ["", "0s", "1", "-", "200y"] {
            assert!(stretch(text).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_its_names() {
        for group in Group::ALL {
            assert_eq!(group.name().parse::<Group>().unwrap(), group);
        }
        assert!("severity; DROP".parse::<Group>().is_err());
    }
}
