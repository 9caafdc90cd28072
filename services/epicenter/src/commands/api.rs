//! What `/api` of the admin endpoint gives: incidents, silences and Events, as JSON.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use epicenter_bus::Bus;
use epicenter_model::Codec;
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

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

/// Events that one answer has at most.
const MOST: usize = 10_000;

async fn incidents(State((bus, codec)): State<Log>) -> Response {
    answer(move || view::incidents(&bus, &codec)).await
}

async fn silences(State((bus, codec)): State<Log>) -> Response {
    answer(move || view::silences(&bus, &codec)).await
}

async fn incident(State((bus, codec)): State<Log>, Path(id): Path<String>) -> Response {
    let found = tokio::task::spawn_blocking(move || view::incidents(&bus, &codec)).await;
    match found {
        Ok(Ok(incidents)) => match incidents.into_iter().find(|incident| incident.id == id) {
            Some(incident) => Json(incident).into_response(),
            None => (StatusCode::NOT_FOUND, format!("there is no incident {id}\n")).into_response(),
        },
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error.into()),
    }
}

async fn events(State((bus, codec)): State<Log>, Query(Limit { limit }): Query<Limit>) -> Response {
    answer(move || view::events(&bus, &codec, limit.unwrap_or(100).min(MOST))).await
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
