//! The console's own HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, RawQuery, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use epicenter_correlate::Rules;
use epicenter_intake::Intake;
use epicenter_model::Timestamp;
use epicenter_runtime::{Access, Clock, Health, SecretError, TokenConfig};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::filter::Filter;
use crate::guard::{self, Guard};
use crate::live::BROWSERS;
use crate::page::{self, Said};
use crate::visit::Visit;
use crate::{Board, ConsoleConfig, Past, act, assets, live};

/// The largest form, bytes.
const LARGEST: usize = 16 * 1024;
/// Forms that are dealt with at once.
const WRITERS: usize = 16;
/// How long a page may take: longer than a question to the archive.
const PATIENCE: Duration = Duration::from_secs(40);

/// What pages are made of.
pub struct Console {
    /// What is going on.
    pub board: Board,
    /// Where commands go.
    pub intake: Intake,
    /// What is long over.
    pub past: Past,
    /// Why what causes what.
    pub rules: Arc<Rules>,
    /// How this process fares.
    pub health: Health,
    /// Who is taken to sit before the browser until they say otherwise; empty for nobody.
    pub user: String,
    /// What time it is: that of the machine, or of a recording.
    pub clock: Clock,
}

/// Why there is no console. Not retryable.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The address is none, or it is taken.
    #[error("console.listen {listen}: {source}; choose another address, such as 127.0.0.1:0 for a free port")]
    Bind {
        /// The address.
        listen: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A token cannot be had.
    #[error("{key}: {source}")]
    Token {
        /// Which.
        key: String,
        /// Why.
        source: SecretError,
    },
    /// It would be open to everybody.
    #[error(
        "console.listen {listen} is beyond loopback: set console.token or admin.tokens, which browsers are asked for"
    )]
    Open {
        /// The address.
        listen: String,
    },
}

/// What all pages share.
pub(crate) struct Site {
    pub console: Console,
    pub has_token: bool,
    pub browsers: Arc<Semaphore>,
    pub writers: Arc<Semaphore>,
    pub stop: CancellationToken,
}

impl Site {
    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.console.clock)()
    }
}

/// A console that is bound and not served yet.
pub struct Serve {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    stop: CancellationToken,
}

/// Binds the console. It ends when `stop` is cancelled. `teams` have tokens, each for a part of it, beside the one that is for all.
///
/// # Errors
/// See [`ConsoleError`].
pub async fn serve(
    config: &ConsoleConfig,
    teams: &[TokenConfig],
    console: Console,
    stop: CancellationToken,
) -> Result<Serve, ConsoleError> {
    let bind = |source| ConsoleError::Bind { listen: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let mut tokens = Vec::new();
    if config.token.is_set() {
        let unread = |source| ConsoleError::Token { key: "console.token".to_owned(), source };
        tokens.push((config.token.read().map_err(unread)?, Access::whole()));
    }
    for team in teams {
        let unread = |source| ConsoleError::Token { key: format!("admin.tokens: {}", team.name), source };
        tokens.push((team.token.read().map_err(unread)?, Access::of(team)));
    }
    // What is empty would let in everybody.
    tokens.retain(|(token, _)| !token.is_empty());
    let loopback = address.ip().is_loopback();
    if tokens.is_empty() && !loopback {
        return Err(ConsoleError::Open { listen: config.listen.clone() });
    }
    let guard = Guard { tokens, loopback, hosts: config.hosts.clone() };
    Ok(Serve { listener, address, router: router(console, guard, stop.clone()), stop })
}

impl Serve {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the stop.
    ///
    /// # Errors
    /// What the system says.
    pub async fn run(self) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(self.stop.cancelled_owned()).await
    }
}

fn router(console: Console, guard: Guard, stop: CancellationToken) -> Router {
    let (browsers, writers) = (Arc::new(Semaphore::new(BROWSERS)), Arc::new(Semaphore::new(WRITERS)));
    let has_token = !guard.tokens.is_empty();
    let site = Arc::new(Site { console, has_token, browsers, writers, stop });
    let guard = Arc::new(guard);
    let pages = Router::new()
        .route("/", get(incidents))
        .route("/incidents/{id}", get(incident).post(act::on_incident))
        .route("/incidents/{id}/past", get(past_of))
        .route("/search", get(search))
        .route("/reports", get(reports))
        .route("/silences", get(silences).post(act::on_silences))
        .route("/clusters", get(clusters))
        .layer(middleware::from_fn(in_time))
        .route("/events", get(live::listen))
        .fallback(nowhere)
        .with_state(site);
    let doors = Router::new()
        .route("/login", get(guard::show_login).post(guard::log_in))
        .route("/logout", post(guard::log_out))
        .with_state(Arc::clone(&guard))
        .route("/static/{version}/{name}", get(assets::asset));
    pages
        .merge(doors)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(guard, guard::admit))
        .layer(middleware::from_fn(guard::harden))
}

/// Answers each request after a while at the latest.
async fn in_time(request: Request, next: Next) -> Response {
    let why = || page::refused(StatusCode::SERVICE_UNAVAILABLE, "This page took too long. Try again.").into_response();
    tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| why())
}

async fn incidents(visit: Visit, RawQuery(query): RawQuery) -> Response {
    match Filter::read(query.as_deref()) {
        Ok(filter) => page::incidents(&visit, &filter).into_response(),
        Err(why) => page::refused(StatusCode::BAD_REQUEST, &why).into_response(),
    }
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    done: String,
}

async fn incident(
    visit: Visit,
    Path(id): Path<String>,
    Query(Done { done }): Query<Done>,
    headers: HeaderMap,
) -> Response {
    let notice = match done.as_str() {
        "acknowledge" => Some("It is acknowledged."),
        "unacknowledge" => Some("Nobody looks after it any more."),
        "note" => Some("The note is there."),
        "resolve" => Some("It is resolved. It opens again when something more is heard of it."),
        "wrong" => Some("It is resolved, and marked as wrong."),
        "silence" => Some("Nobody is told of it now."),
        "unsilence" => Some("Its silence is over."),
        "written" => Some("It is written in the cluster's log, and shown here as soon as it is carried out."),
        _ => None,
    };
    let said = Said { notice, refused: None, by: act::who(&visit, &headers) };
    page::incident(&visit, &id, said).await.into_response()
}

async fn past_of(visit: Visit, Path(id): Path<String>) -> Response {
    page::past(&visit, &id).await.into_response()
}

async fn search(visit: Visit, RawQuery(query): RawQuery) -> Response {
    page::search(&visit, query.as_deref()).await.into_response()
}

async fn reports(visit: Visit, RawQuery(query): RawQuery) -> Response {
    page::reports(&visit, query.as_deref()).await.into_response()
}

async fn silences(visit: Visit, headers: HeaderMap) -> Response {
    page::silences(&visit, &act::who(&visit, &headers), None).into_response()
}

async fn clusters(visit: Visit) -> Response {
    page::clusters(&visit).into_response()
}

async fn nowhere() -> Response {
    page::refused(StatusCode::NOT_FOUND, "There is no such page.").into_response()
}

#[cfg(test)]
mod tests;
