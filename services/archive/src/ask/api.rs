//! `/api/v1`: the archive over HTTP. `openapi.json` describes it.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use epicenter_model::{IncidentChange, Timestamp};
use epicenter_runtime::{Access, now};
use futures::stream;
use serde_json::{Value, json};

use super::{Aggregate, Answer, Archive, Cursor, Filter, Malformed, Of, Page, Row, stretch};
use crate::ArchiveError;

/// Rows of a page, and groups, unless asked otherwise; and at most.
const ROWS: NonZeroU32 = NonZeroU32::new(100).expect("it is not 0");
const MOST_ROWS: u32 = 10_000;
/// Says what rows that come line by line lack.
const MISSING: HeaderName = HeaderName::from_static("epicenter-missing");
/// Bytes that a query has at most.
const QUERY: usize = 64 * 1024;

/// Its routes, with their whole paths. Who may see what, is for whoever serves them to say: each request has an [`Access`].
pub fn routes(archive: Arc<Archive>) -> Router {
    Router::new()
        .route("/api/v1/events", get(events))
        .route("/api/v1/incidents", get(incidents))
        .route("/api/v1/aggregate", get(aggregate))
        .route("/api/v1/sql", post(sql))
        .route("/api/v1/openapi.json", get(openapi))
        .layer(DefaultBodyLimit::max(QUERY))
        .with_state(archive)
}

/// The document that describes the routes.
const OPENAPI: &str = include_str!("openapi.json");

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn events(
    State(archive): State<Arc<Archive>>,
    access: Access,
    RawQuery(query): RawQuery,
) -> Result<Response, ArchiveError> {
    let (filter, limit, after) = page(query.as_deref(), access)?;
    let page = archive.events(&filter, limit, after).await?;
    Ok(told(&archive, page).await)
}

async fn incidents(
    State(archive): State<Arc<Archive>>,
    access: Access,
    RawQuery(query): RawQuery,
) -> Result<Response, ArchiveError> {
    let (filter, limit, after) = page(query.as_deref(), access)?;
    let mut page = archive.incidents(&filter, limit, after).await?;
    if !filter.access.sees_all() {
        page.rows.iter_mut().for_each(|row| cut(row, &filter.access));
    }
    Ok(told(&archive, page).await)
}

/// Leaves of a record what somebody may see.
fn cut(row: &mut Row, access: &Access) {
    let Some(record) = row.get_mut("record") else { return };
    let change = serde_json::from_value::<IncidentChange>(record.take());
    let shown = change.ok().and_then(|it| Some(IncidentChange { incident: access.show(it.incident)?, ..it }));
    *record = shown.and_then(|shown| serde_json::to_value(shown).ok()).unwrap_or(Value::Null);
}

fn page(query: Option<&str>, access: Access) -> Result<(Filter, NonZeroU32, Option<Cursor>), Malformed> {
    let (mut limit, mut after) = (ROWS, None);
    let filter = filter(query, now(), access, |key, value| {
        match key {
            "limit" => limit = rows(value)?,
            "cursor" => after = Some(value.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((filter, limit, after))
}

async fn told(archive: &Archive, page: Page) -> Response {
    let next = page.next.map(|cursor| cursor.to_string());
    Json(json!({"rows": page.rows, "next": next, "missing": archive.missing().await})).into_response()
}

async fn aggregate(
    State(archive): State<Arc<Archive>>,
    access: Access,
    RawQuery(query): RawQuery,
) -> Result<Response, ArchiveError> {
    let now = now();
    let mut how = Aggregate { of: Of::Events, by: Vec::new(), every: None, limit: ROWS };
    let filter = filter(query.as_deref(), now, access, |key, value| {
        match (key, value) {
            ("of", "events") => how.of = Of::Events,
            ("of", "incidents") => how.of = Of::Incidents,
            ("of", _) => return Err(Malformed::new(key, value, "is neither events nor incidents")),
            ("by", _) => {
                for word in value.split(',').filter(|word| !word.is_empty()) {
                    how.by.push(word.parse()?);
                }
            }
            ("every", _) => how.every = Some(stretch(value)?),
            ("limit", _) => how.limit = rows(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let rows = archive.aggregate(&filter, &how, now).await?;
    Ok(Json(json!({"rows": rows, "missing": archive.missing().await})).into_response())
}

/// Reads the query of a URL; `own` takes what is not the filter's.
fn filter(
    query: Option<&str>,
    now: Timestamp,
    access: Access,
    mut own: impl FnMut(&str, &str) -> Result<bool, Malformed>,
) -> Result<Filter, Malformed> {
    let mut filter = Filter { access, ..Filter::new(now) };
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if !own(&key, &value)? && !filter.set(&key, &value, now)? {
            return Err(Malformed::new(key, &value, "is not asked for by this name: see /api/v1/openapi.json"));
        }
    }
    Ok(filter)
}

fn rows(value: &str) -> Result<NonZeroU32, Malformed> {
    let limit = value.parse().ok().filter(|limit: &NonZeroU32| limit.get() <= MOST_ROWS);
    limit.ok_or_else(|| Malformed::new("limit", value, format!("is no number from 1 to {MOST_ROWS}")))
}

/// Rows as they are found. What goes wrong after the first is told in the last line.
async fn sql(State(archive): State<Arc<Archive>>, access: Access, query: String) -> Result<Response, ArchiveError> {
    if !access.sees_all() {
        let why = format!(
            "the token of {} is for some namespaces only, and SQL reads all: ask for events, incidents or \
                           an aggregate",
            access.name
        );
        return Ok((StatusCode::FORBIDDEN, Json(json!({"error": why}))).into_response());
    }
    let mut answer = archive.sql(&query).await?;
    let first = answer.lines().await?;
    let lines = stream::unfold((first, Some(answer)), |(lines, answer)| async move {
        let lines = lines?;
        let following = match answer {
            Some(answer) => following(answer).await,
            None => (None, None),
        };
        Some((Ok::<_, Infallible>(Bytes::from(lines)), following))
    });
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response();
    if let Some(missing) = archive.missing().await
        && let Ok(missing) = HeaderValue::try_from(missing)
    {
        response.headers_mut().insert(MISSING, missing);
    }
    Ok(response)
}

/// The next lines, and what gives those after them: nothing, after an error.
async fn following(mut answer: Answer) -> (Option<Vec<u8>>, Option<Answer>) {
    match answer.lines().await {
        Ok(lines) => (lines, Some(answer)),
        Err(error) => (Some(format!("{}\n", said(&error)).into_bytes()), None),
    }
}

fn said(error: &ArchiveError) -> Value {
    json!({"error": error.to_string()})
}

impl IntoResponse for ArchiveError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Absent { .. } => StatusCode::NOT_FOUND,
            Self::TooLong { .. } | Self::TooMuch { .. } | Self::Many { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            error if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::warn!(error = %self, "a question is not answered");
        }
        (status, Json(said(&self))).into_response()
    }
}
