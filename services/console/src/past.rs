//! What is long over: the archive, where it is built in.

use std::fmt::Display;
use std::sync::Arc;

use axum::http::StatusCode;
use epicenter_model::Incident;

#[cfg(feature = "archive")]
pub use epicenter_archive::ask::Archive;
#[cfg(feature = "archive")]
pub(crate) use epicenter_archive::report::Report;

/// There is none without the cargo feature `archive`.
#[cfg(not(feature = "archive"))]
#[derive(Debug)]
pub enum Archive {}

/// There is none without the cargo feature `archive`.
#[cfg(not(feature = "archive"))]
#[derive(Debug)]
pub(crate) enum Report {}

/// The archive, if there is one.
pub type Past = Option<Arc<Archive>>;

/// A row of an answer.
pub(crate) type Row = serde_json::Map<String, serde_json::Value>;

/// Why the archive does not answer: for people.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub status: StatusCode,
    pub why: String,
}

impl Trouble {
    pub fn new(why: impl Display) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, why: why.to_string() }
    }
}

/// Events of the archive, the newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    pub rows: Vec<Row>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// There is one to be asked.
pub(crate) fn is_there(past: &Past) -> bool {
    past.is_some()
}

#[cfg(not(feature = "archive"))]
pub(crate) use absent::{events, incident, like, report};
#[cfg(feature = "archive")]
pub(crate) use asking::{events, incident, like, report};

#[cfg(not(feature = "archive"))]
mod absent {
    use epicenter_model::Timestamp;

    use super::{Events, Incident, Past, Report, Trouble};

    pub async fn incident(_: &Past, _: &str, _: Timestamp) -> Result<Option<Incident>, Trouble> {
        Ok(None)
    }

    pub async fn like(_: &Past, _: &Incident, _: Timestamp) -> Result<Vec<Incident>, Trouble> {
        Ok(Vec::new())
    }

    pub async fn events(_: &Past, _: &[(String, String)], _: Option<&str>, _: Timestamp) -> Result<Events, Trouble> {
        Ok(Events::default())
    }

    pub async fn report(_: &Past, _: &[(String, String)], _: Timestamp) -> Result<Option<Report>, Trouble> {
        Ok(None)
    }
}

#[cfg(feature = "archive")]
mod asking {
    use std::num::NonZeroU32;

    use epicenter_archive::ArchiveError;
    use epicenter_archive::ask::Filter;
    use epicenter_model::{IncidentState, Member, Timestamp};

    use super::{Events, Incident, Past, Report, Row, StatusCode, Trouble};

    /// Incidents of before that are looked at.
    const LIKE: NonZeroU32 = NonZeroU32::new(20).expect("it is not 0");
    /// Events of a page.
    const EVENTS: NonZeroU32 = NonZeroU32::new(200).expect("it is not 0");
    /// How far back an incident is looked for.
    const FAR: &str = "366d";
    /// And its like.
    const QUARTER: &str = "90d";

    impl From<ArchiveError> for Trouble {
        fn from(error: ArchiveError) -> Self {
            let status = match &error {
                ArchiveError::Malformed(_) => StatusCode::BAD_REQUEST,
                ArchiveError::Absent { .. } => StatusCode::NOT_FOUND,
                ArchiveError::TooLong { .. } | ArchiveError::TooMuch { .. } | ArchiveError::Many { .. } => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            Self { status, why: error.to_string() }
        }
    }

    fn filter(pairs: &[(&str, &str)], now: Timestamp) -> Result<Filter, Trouble> {
        let mut filter = Filter::new(now);
        for (key, value) in pairs {
            filter.set(key, value, now).map_err(ArchiveError::from)?;
        }
        Ok(filter)
    }

    /// What the time that is asked for comes to.
    pub async fn report(past: &Past, asked: &[(String, String)], now: Timestamp) -> Result<Option<Report>, Trouble> {
        let Some(archive) = past else { return Ok(None) };
        let pairs: Vec<_> = asked.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Ok(Some(Report::of(archive, &filter(&pairs, now)?, now).await?))
    }

    /// The incident of that id as it was last, with the members that its Events tell of.
    pub async fn incident(past: &Past, id: &str, now: Timestamp) -> Result<Option<Incident>, Trouble> {
        let Some(archive) = past else { return Ok(None) };
        let filter = filter(&[("from", FAR), ("incident", id)], now)?;
        let page = match archive.incidents(&filter, NonZeroU32::MIN, None).await {
            Err(ArchiveError::Absent { .. }) => return Ok(None),
            page => page?,
        };
        Ok(page.rows.first().and_then(read).filter(|incident| incident.id == id))
    }

    /// Incidents of the same class about the same kind of object, the newest first.
    pub async fn like(past: &Past, incident: &Incident, now: Timestamp) -> Result<Vec<Incident>, Trouble> {
        let Some(archive) = past else { return Ok(Vec::new()) };
        let cause = &incident.cause;
        let filter = filter(&[("from", QUARTER), ("class", &cause.class), ("kind", &cause.object.kind)], now)?;
        let page = archive.incidents(&filter, LIKE, None).await?;
        let mut found: Vec<Incident> = page.rows.iter().filter_map(read).collect();
        found.retain(|it| it.id != incident.id && it.state != IncidentState::Merged);
        Ok(found)
    }

    /// Events that fit, by the names that the archive knows.
    pub async fn events(
        past: &Past,
        asked: &[(String, String)],
        after: Option<&str>,
        now: Timestamp,
    ) -> Result<Events, Trouble> {
        let Some(archive) = past else { return Ok(Events::default()) };
        let pairs: Vec<_> = asked.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let after = after.map(str::parse).transpose().map_err(ArchiveError::from)?;
        let page = archive.events(&filter(&pairs, now)?, EVENTS, after).await?;
        Ok(Events { rows: page.rows, next: page.next.map(|cursor| cursor.to_string()) })
    }

    fn read(row: &Row) -> Option<Incident> {
        let mut incident: Incident = serde_json::from_value(row.get("record")?.get("incident")?.clone()).ok()?;
        // A change has only the members that were new with it.
        let own = incident.members.iter().any(|member: &Member| member.role == "root");
        if !own {
            incident.members.clear();
        }
        Some(incident)
    }
}
