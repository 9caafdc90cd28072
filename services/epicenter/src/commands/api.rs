//! What `/api` of the admin endpoint gives: incidents, silences and Events, as JSON.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use epicenter_bus::Bus;
use epicenter_model::{Codec, EnrichedEvent, Incident, Silence};
use epicenter_runtime::Access;
use serde::{Deserialize, Serialize};

use crate::view;

/// A log, and how it is read.
type Log = (Bus, Codec);

/// The routes of a log.
pub(super) fn routes(bus: Bus, codec: Codec) -> Router {
    Router::new()
        .route("/api/incidents", get(incidents))
        .route("/api/incidents/{id}", get(incident))
        .route("/api/silences", get(silences))
        .route("/api/events", get(events))
        .with_state((bus, codec))
}

/// The beginning of an id; nothing for all.
#[derive(Deserialize)]
struct Like {
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

/// Events that one answer has at most.
const MOST: usize = 10_000;

async fn incidents(State((bus, codec)): State<Log>, access: Access, Query(Like { id }): Query<Like>) -> Response {
    answer(move || shown(&bus, &codec, &id, &access)).await
}

/// The incidents whose id begins so that somebody may see, as they may be seen.
fn shown(bus: &Bus, codec: &Codec, id: &str, access: &Access) -> anyhow::Result<Vec<Incident>> {
    Ok(view::incidents(bus, codec, id)?.into_iter().filter_map(|incident| access.show(incident)).collect())
}

async fn silences(State((bus, codec)): State<Log>, access: Access) -> Response {
    answer(move || {
        let mut silences = view::silences(&bus, &codec)?;
        if !access.sees_all() {
            let incidents = shown(&bus, &codec, "", &access)?;
            let of_one = |silence: &Silence| {
                incidents.iter().any(|it| it.cluster == silence.cluster && it.id == silence.matcher.incident)
            };
            silences.retain(|it| access.sees_silence(&it.cluster, &it.matcher) || of_one(it));
        }
        Ok(silences)
    })
    .await
}

async fn incident(State((bus, codec)): State<Log>, access: Access, Path(id): Path<String>) -> Response {
    let found = tokio::task::spawn_blocking(move || {
        let found = shown(&bus, &codec, &id, &access)?.into_iter().find(|incident| incident.id == id);
        anyhow::Ok(found.ok_or(id))
    });
    match found.await {
        Ok(Ok(Ok(incident))) => Json(incident).into_response(),
        Ok(Ok(Err(id))) => (StatusCode::NOT_FOUND, format!("there is no incident {id}\n")).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error.into()),
    }
}

async fn events(State((bus, codec)): State<Log>, access: Access, Query(Limit { limit }): Query<Limit>) -> Response {
    let seen = move |event: &EnrichedEvent| access.sees(&event.cluster, &event.event.regarding.namespace);
    answer(move || view::events(&bus, &codec, limit.unwrap_or(100).min(MOST), &seen)).await
}

/// Runs what blocks.
async fn answer<T: Serialize + Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error.into()),
    }
}

fn failed(error: &anyhow::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response()
}
