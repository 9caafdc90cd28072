//! The admin endpoint: is it alive, is it ready, how does it fare, what is logged.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Access, Health, Metrics, Secret, SecretError, TokenConfig, same, telemetry};

/// Where the admin endpoint listens, and who may read more than probes and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// `address:port`; port 0 takes a free one.
    pub listen: String,
    /// A token that all but probes and metrics ask for (`Authorization: Bearer …`); needed when it listens beyond loopback.
    /// It is for everything.
    pub token: Secret,
    /// Further ones, each for some clusters and namespaces.
    pub tokens: Vec<TokenConfig>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        // Loopback: incidents name workloads, and nobody else needs to see them unasked.
        Self { listen: "127.0.0.1:0".to_owned(), token: Secret::default(), tokens: Vec::new() }
    }
}

impl AdminConfig {
    /// What is wrong with it: (key, what).
    pub fn problems(&self) -> Vec<(String, String)> {
        let of = |(place, token): (usize, &TokenConfig)| {
            let named = move |(key, what): (&str, String)| (format!("admin.tokens[{place}].{key}"), what);
            token.problems().into_iter().map(named).collect::<Vec<_>>()
        };
        (0..).zip(&self.tokens).flat_map(of).collect()
    }
}

/// Why there is no admin endpoint. Not retryable.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is none, or it is taken.
    #[error("admin.listen {listen}: {source}; choose another address, such as 127.0.0.1:0 for a free port")]
    Bind {
        /// The address.
        listen: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The token cannot be had.
    #[error("{key}: {source}")]
    Token {
        /// Which.
        key: String,
        /// Why.
        source: SecretError,
    },
}

/// An admin endpoint that is bound and not served yet.
pub struct Serve {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

/// Binds the endpoint. `guarded` is what a service adds for those who have the token, beside `/api/log`: the filter of
/// [`telemetry`].
pub async fn serve(
    config: &AdminConfig,
    health: Health,
    metrics: Metrics,
    guarded: Router,
) -> Result<Serve, AdminError> {
    let bind = |source| AdminError::Bind { listen: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let mut tokens = Vec::new();
    if config.token.is_set() {
        let unread = |source| AdminError::Token { key: "admin.token".to_owned(), source };
        tokens.push((config.token.read().map_err(unread)?, Access::whole()));
    }
    for token in &config.tokens {
        let unread = |source| AdminError::Token { key: format!("admin.tokens: {}", token.name), source };
        tokens.push((token.token.read().map_err(unread)?, Access::of(token)));
    }
    let guard = Guard { tokens, loopback: address.ip().is_loopback() };
    Ok(Serve { listener, address, router: router(guard, health, metrics, guarded) })
}

/// Everything that is served: probes and metrics for all, the rest for those whom `guard` lets in.
fn router(guard: Guard, health: Health, metrics: Metrics, guarded: Router) -> Router {
    let guarded =
        guarded.route("/api/log", get(log).put(set_log)).layer(middleware::from_fn_with_state(Arc::new(guard), admit));
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(show).with_state(metrics))
        .merge(guarded)
}

impl Serve {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `token` is cancelled.
    pub async fn run(self, token: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(token.cancelled_owned()).await
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health.report())).into_response()
}

async fn show(State(metrics): State<Metrics>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.text()).into_response()
}

async fn log() -> String {
    telemetry::filter().map_or_else(String::new, |filter| filter + "\n")
}

/// Takes a filter, and gives the one that is in force then.
async fn set_log(access: Access, filter: String) -> Response {
    if !access.write || !access.sees_all() {
        return (StatusCode::FORBIDDEN, "what is logged is for the token of admin.token to say\n").into_response();
    }
    match telemetry::set_filter(filter.trim()) {
        Ok(()) => log().await.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

/// Who may use what is guarded.
struct Guard {
    tokens: Vec<(String, Access)>,
    loopback: bool,
}

async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|value| value.strip_prefix("Bearer "));
    let is_given = |token: &str| given.is_some_and(|given| same(given.as_bytes(), token.as_bytes()));
    let access = match &guard.tokens[..] {
        [] if guard.loopback => Access::whole(),
        [] => return (StatusCode::FORBIDDEN, "set admin.token to read this beyond loopback\n").into_response(),
        tokens => match tokens.iter().find(|(token, _)| is_given(token)) {
            Some((_, access)) => access.clone(),
            None => {
                let why = "send the token of admin.token as Authorization: Bearer …\n";
                return (StatusCode::UNAUTHORIZED, why).into_response();
            }
        },
    };
    request.extensions_mut().insert(access);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn request(address: SocketAddr, path: &str, header: &str) -> String {
        send(address, &format!("GET {path}"), header, "").await
    }

    async fn send(address: SocketAddr, what: &str, header: &str, body: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!("{what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}");
        let request = format!("{head}\r\n{header}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn tells_the_truth() {
        let (health, metrics) = (Health::new(), Metrics::new("1"));
        let api = Router::new().route("/api/x", get(|| async { "secret" }));
        let token = Secret { env: Some("PATH".into()), file: None };
        let config = AdminConfig { token, ..AdminConfig::default() };
        let endpoint = serve(&config, health.clone(), metrics, api).await.unwrap();
        let (address, stop) = (endpoint.address(), CancellationToken::new());
        let task = tokio::spawn(endpoint.run(stop.clone()));
        assert!(request(address, "/livez", "").await.starts_with("HTTP/1.1 200"));
        assert!(request(address, "/readyz", "").await.starts_with("HTTP/1.1 503"));
        health.well("events");
        assert!(request(address, "/readyz", "").await.starts_with("HTTP/1.1 200"));
        assert!(request(address, "/metrics", "").await.contains("epicenter_build_info"));
        assert!(request(address, "/api/x", "").await.starts_with("HTTP/1.1 401"));
        let bearer = format!("authorization: Bearer {}\r\n", std::env::var("PATH").unwrap());
        assert!(request(address, "/api/x", &bearer).await.ends_with("secret"));
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn each_token_is_for_what_it_says() {
        let who = get(|access: Access| async move { format!("for {}", access.name) });
        let of = |name: &str, variable: &str| {
            let token = Secret { env: Some(variable.into()), file: None };
            TokenConfig { name: name.into(), token, namespaces: vec!["shop".into()], ..TokenConfig::default() }
        };
        let token = Secret { env: Some("PATH".into()), file: None };
        let config = AdminConfig { token, tokens: vec![of("shop", "CARGO_PKG_NAME")], ..AdminConfig::default() };
        let api = Router::new().route("/api/x", who);
        let endpoint = serve(&config, Health::new(), Metrics::new("1"), api).await.unwrap();
        let (address, stop) = (endpoint.address(), CancellationToken::new());
        let task = tokio::spawn(endpoint.run(stop.clone()));
        let bearer = |variable: &str| format!("authorization: Bearer {}\r\n", std::env::var(variable).unwrap());
        for (variable, name) in [("PATH", "admin"), ("CARGO_PKG_NAME", "shop")] {
            let answer = request(address, "/api/x", &bearer(variable)).await;
            assert!(answer.ends_with(&format!("for {name}")), "{answer}");
        }
        assert!(request(address, "/api/x", &bearer("CARGO_PKG_VERSION")).await.starts_with("HTTP/1.1 401"));
        let answer = send(address, "PUT /api/log", &bearer("CARGO_PKG_NAME"), "info").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        let missing = AdminConfig { tokens: vec![of("shop", "EPICENTER_NONESUCH")], ..AdminConfig::default() };
        let error = serve(&missing, Health::new(), Metrics::new("1"), Router::new()).await.err().unwrap();
        assert!(error.to_string().starts_with("admin.tokens: shop: the secret's environment variable"), "{error}");
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn beyond_loopback_only_probes_and_metrics_are_open() {
        let check = async |token: Option<&str>, path: &str, expected: StatusCode| {
            let tokens = token.map(|token| (token.to_owned(), Access::whole())).into_iter().collect();
            let guard = Guard { tokens, loopback: false };
            let api = Router::new().route("/api/incidents", get(|| async { "secret" }));
            let router = router(guard, Health::new(), Metrics::new("1"), api);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
            let task = tokio::spawn(Serve { listener, address, router }.run(stop.clone()));
            let answer = request(address, path, "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {}", expected.as_u16())), "{path}: {answer}");
            assert!(!answer.contains("secret"), "{path}: {answer}");
            stop.cancel();
            task.await.unwrap().unwrap();
        };
        check(None, "/livez", StatusCode::OK).await;
        check(None, "/metrics", StatusCode::OK).await;
        for path in ["/api/incidents", "/api/log"] {
            check(None, path, StatusCode::FORBIDDEN).await;
            check(Some("token"), path, StatusCode::UNAUTHORIZED).await;
        }
    }

    #[tokio::test]
    async fn changes_what_is_logged() {
        telemetry::init("error").unwrap();
        let endpoint = serve(&AdminConfig::default(), Health::new(), Metrics::new("1"), Router::new()).await.unwrap();
        let (address, stop) = (endpoint.address(), CancellationToken::new());
        let task = tokio::spawn(endpoint.run(stop.clone()));
        assert!(request(address, "/api/log", "").await.ends_with("\r\n\r\nerror\n"));
        assert!(!tracing::enabled!(target: "epicenter_bus", tracing::Level::DEBUG));

        let said = send(address, "PUT /api/log", "", "warn,epicenter_bus=debug").await;
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("epicenter_bus=debug"), "{said}");
        assert!(tracing::enabled!(target: "epicenter_bus", tracing::Level::DEBUG));
        assert!(!tracing::enabled!(target: "epicenter_sink", tracing::Level::DEBUG));

        let said = send(address, "PUT /api/log", "", "epicenter_bus=loud").await;
        assert!(said.starts_with("HTTP/1.1 400") && said.contains("write a level, or targets with levels"), "{said}");
        assert!(tracing::enabled!(target: "epicenter_bus", tracing::Level::DEBUG), "a wrong filter changes nothing");
        stop.cancel();
        task.await.unwrap().unwrap();
    }
}
