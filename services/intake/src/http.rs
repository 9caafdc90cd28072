//! The door for HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use epicenter_runtime::Access;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::application::{MediaType, read};
use crate::intake::{Intake, IntakeError};

/// The largest body, bytes.
const LARGEST: usize = 1024 * 1024;
/// Requests that are dealt with at once; with the limit above, what they take of memory.
const AT_ONCE: usize = 16;
/// How long a request may take: twice as long as the log is tried.
const PATIENCE: Duration = Duration::from_secs(20);

/// `POST /api/v1/commands` and `POST /v1/events`. Who may what, is for whoever serves them to say: each request has an [`Access`].
pub fn routes(intake: Intake) -> Router {
    routes_with(intake, Arc::new(Semaphore::new(AT_ONCE)))
}

fn routes_with(intake: Intake, places: Arc<Semaphore>) -> Router {
    Router::new()
        .route("/api/v1/commands", post(command))
        .route("/v1/events", post(events))
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(places, one_of_some))
        .with_state(intake)
}

/// A place among the requests that are dealt with at once. Given back when all is done, also what nobody waits for any more.
type Place = Extension<Arc<OwnedSemaphorePermit>>;

/// Lets some requests in at once, before anything of their bodies is read, and answers each after a while at the latest.
async fn one_of_some(State(places): State<Arc<Semaphore>>, mut request: Request, next: Next) -> Response {
    let Ok(place) = places.try_acquire_owned() else {
        let why = "too many requests at once, try again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], why).into_response();
    };
    request.extensions_mut().insert(Arc::new(place));
    let why = || {
        refused(
            StatusCode::REQUEST_TIMEOUT,
            "the request took too long; what it said may be in the log: say it again, with the same ids",
        )
    };
    tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| why())
}

#[derive(Deserialize)]
struct Where {
    #[serde(default)]
    cluster: String,
}

async fn command(State(intake): State<Intake>, access: Access, place: Place, body: Bytes) -> Response {
    let command = match serde_json::from_slice(&body) {
        Ok(command) => command,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    write(intake, place, move |intake| intake.command(command, &access).map(|written| json!(written))).await
}

async fn events(
    State(intake): State<Intake>,
    access: Access,
    place: Place,
    Query(Where { cluster }): Query<Where>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.contains_key("ce-id") {
        let what = "CloudEvents are taken in structured mode: put the attributes into the body, as application/cloudevents+json";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(MediaType::of);
    let Some(media) = media else {
        let what =
            "set content-type to application/cloudevents+json, application/cloudevents-batch+json or application/json";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    };
    match read(media, &body) {
        Ok(events) => {
            let accepted = json!({"accepted": events.len()});
            write(intake, place, move |intake| intake.events(&cluster, events, &access).map(|()| accepted)).await
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// Runs what blocks.
async fn write(
    intake: Intake,
    place: Place,
    work: impl FnOnce(&Intake) -> Result<Value, IntakeError> + Send + 'static,
) -> Response {
    let working = move || {
        let _place = place;
        work(&intake)
    };
    match tokio::task::spawn_blocking(working).await {
        Ok(Ok(answer)) => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        Ok(Err(error)) => {
            let status = match &error {
                IntakeError::Refused(_) => StatusCode::BAD_REQUEST,
                IntakeError::Forbidden(_) => StatusCode::FORBIDDEN,
                IntakeError::Unknown(_) => StatusCode::NOT_FOUND,
                IntakeError::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
                IntakeError::Codec(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refused(status, &error.to_string())
        }
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}

#[cfg(test)]
mod tests;
