//! What is long over: the archive, where it is built in.

use std::fmt::Display;
use std::sync::Arc;

use axum::http::StatusCode;
use epicenter_model::Incident;

use crate::board::Heard;
use crate::visit::Visit;

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

/// Events of the archive and of the log behind it, the newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    pub rows: Vec<Heard>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// Why the newest of the log are not among them.
    pub missing: Option<String>,
}

/// There is one to be asked.
pub(crate) fn is_there(past: &Past) -> bool {
    past.is_some()
}

#[cfg(not(feature = "archive"))]
pub(crate) use absent::{events, heard, incident, like, report};
#[cfg(feature = "archive")]
pub(crate) use asking::{events, heard, incident, like, report};

#[cfg(not(feature = "archive"))]
mod absent {
    use std::sync::Arc;

    use super::{Events, Heard, Incident, Report, Trouble, Visit};

    pub async fn incident(_: &Visit, _: &str) -> Result<Option<Incident>, Trouble> {
        Ok(None)
    }

    pub async fn heard(_: &Visit, _: &Incident) -> Result<Vec<Arc<Heard>>, Trouble> {
        Ok(Vec::new())
    }

    pub async fn like(_: &Visit, _: &Incident) -> Result<Vec<Incident>, Trouble> {
        Ok(Vec::new())
    }

    pub async fn events(_: &Visit, _: &[(String, String)], _: Option<&str>) -> Result<Events, Trouble> {
        Ok(Events::default())
    }

    pub async fn report(_: &Visit, _: &[(String, String)]) -> Result<Option<Report>, Trouble> {
        Ok(None)
    }
}

#[cfg(feature = "archive")]
mod asking {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use epicenter_archive::ArchiveError;
    use epicenter_archive::ask::{Filter, Row};
    use epicenter_model::{Category, Severity, Timestamp};
    use serde_json::Value;

    use super::{Events, Heard, Incident, Report, StatusCode, Trouble, Visit};

    /// Incidents of before that are looked at: of the same class, and of those the ones about such an object.
    const LIKE: NonZeroU32 = NonZeroU32::new(30).expect("it is not 0");
    /// Events of a page.
    const EVENTS: NonZeroU32 = NonZeroU32::new(200).expect("it is not 0");
    /// How far back the like of an incident is looked for.
    const YEAR: &str = "366d";
    /// Of an incident that is long over: its members, and Events by which they are told.
    const MEMBERS: usize = 1_000;
    const HEARD: NonZeroU32 = NonZeroU32::new(2_000).expect("it is not 0");

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

    /// What is asked for, of what they may see who ask.
    fn filter<'p>(visit: &Visit, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Filter, ArchiveError> {
        let now = visit.now();
        let mut filter = Filter { access: visit.access.clone(), ..Filter::new(now) };
        for (key, value) in pairs {
            filter.set(key, value, now)?;
        }
        Ok(filter)
    }

    fn pairs(asked: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
        asked.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// What the time that is asked for comes to.
    pub async fn report(visit: &Visit, asked: &[(String, String)]) -> Result<Option<Report>, Trouble> {
        let Some(archive) = &visit.console.past else { return Ok(None) };
        Ok(Some(Report::of(archive, &filter(visit, pairs(asked))?, visit.now()).await?))
    }

    /// The incident of that id as it was last, with the members that its changes told of.
    pub async fn incident(visit: &Visit, id: &str) -> Result<Option<Incident>, Trouble> {
        let Some(archive) = &visit.console.past else { return Ok(None) };
        match archive.incident(id, MEMBERS, &visit.access).await {
            Err(ArchiveError::Absent { .. }) => Ok(None),
            found => Ok(found?),
        }
    }

    /// The Events of an incident.
    pub async fn heard(visit: &Visit, incident: &Incident) -> Result<Vec<Arc<Heard>>, Trouble> {
        let Some(archive) = &visit.console.past else { return Ok(Vec::new()) };
        let about = [("incident", incident.id.as_str()), ("cluster", incident.cluster.as_str())];
        let filter = Filter { from: Timestamp::default(), ..filter(visit, about)? };
        let page = match archive.events(&filter, HEARD, None).await {
            Err(ArchiveError::Absent { .. }) => return Ok(Vec::new()),
            page => page?,
        };
        Ok(page.rows.iter().map(|row| Arc::new(read(row))).collect())
    }

    /// Incidents of the same class, the newest first, and those of them that are about an object like its own.
    pub async fn like(visit: &Visit, incident: &Incident) -> Result<Vec<Incident>, Trouble> {
        let Some(archive) = &visit.console.past else { return Ok(Vec::new()) };
        let (cause, cluster) = (&incident.cause, &incident.cluster);
        let class = [("from", YEAR), ("class", cause.class.as_str())];
        let near =
            [("cluster", cluster.as_str()), ("namespace", &*cause.object.namespace), ("kind", &*cause.object.kind)];
        let (any, near) = (filter(visit, class)?, filter(visit, class.into_iter().chain(near))?);
        let (near, any) = tokio::try_join!(archive.incidents(&near, LIKE, None), archive.incidents(&any, LIKE, None))?;
        let of = |row: &Row| serde_json::from_value(row.get("record")?.get("incident")?.clone()).ok();
        let found = near.rows.iter().chain(&any.rows).filter_map(of);
        Ok(found.filter_map(|incident| visit.access.show(incident)).collect())
    }

    /// Events that fit, by the names that the archive knows.
    pub async fn events(visit: &Visit, asked: &[(String, String)], after: Option<&str>) -> Result<Events, Trouble> {
        let Some(archive) = &visit.console.past else { return Ok(Events::default()) };
        let after = after.map(str::parse).transpose().map_err(ArchiveError::from)?;
        let page = archive.events(&filter(visit, pairs(asked))?, EVENTS, after).await?;
        let rows = page.rows.iter().map(read).collect();
        Ok(Events { rows, next: page.next.map(|cursor| cursor.to_string()), missing: archive.missing().await })
    }

    fn read(row: &Row) -> Heard {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Columns of times are without their zone, which is UTC.
        let at = |name: &str| format!("{}Z", text(name).trim_end_matches('Z')).parse().ok();
        let (severity, category) = (text("severity"), text("category"));
        Heard {
            cluster: text("cluster"),
            occurred_at: at("occurred_at").or_else(|| at("time")).unwrap_or_default(),
            uid: text("event_uid"),
            kind: text("kind"),
            namespace: text("namespace"),
            name: text("name"),
            reason: text("reason"),
            class: text("class"),
            category: Category::ALL.iter().find(|it| it.name() == category).map_or("", |it| it.name()),
            severity: Severity::ALL.iter().copied().find(|it| it.name() == severity).unwrap_or_default(),
            occurrences: row.get("occurrences").and_then(Value::as_i64).unwrap_or(1),
            // Of what cannot be read, why not.
            message: if text("error").is_empty() { text("message") } else { text("error") },
        }
    }
}
