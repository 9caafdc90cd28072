//! Requests to the API server, with a deadline and a size limit on everything that comes back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use epicenter_model::Timestamp;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::core::Status;
use kube::{Client, Config};
use leaky_bucket::RateLimiter;
use rustls::CertificateError;
use tokio::time::Instant;

use crate::config::ExporterConfig;
use crate::health::Health;
use crate::project::{self, ProjectError};
use epicenter_runtime::{Clock, with_causes};

/// A peer that is gone is noticed after `KEEPALIVE + PROBES × INTERVAL`, 90 s: a watch of Events may be silent for hours.
const KEEPALIVE: Duration = Duration::from_secs(45);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;
/// An error is no longer than that, bytes.
const MAX_STATUS: usize = 64 * 1024;

/// A client that is fit for watches: TCP keepalive is on, so that a silent watch whose peer is gone ends; and kube's own
/// retries are off, since they would park a watch for minutes, unseen (`kube-client` `client/retry.rs`). Behind a proxy it
/// is kube's own connector, without keepalive.
///
/// # Errors
/// What kube finds wrong with the configuration, such as a certificate that cannot be read.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    choose_cryptography();
    config.default_retry = false;
    config.read_timeout = None;
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(config.connect_timeout);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
    tcp.set_keepalive_retries(Some(PROBES));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https);
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// Chooses ring for the TLS of this process, unless somebody chose before. Kube's clients take what is chosen; where a library brings
/// another one, as the archive's does, nothing is chosen by itself, and they would panic.
pub fn choose_cryptography() {
    // An error says that somebody has chosen.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
}

/// Why the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It answered that it does not, or cannot.
    #[error("{code} {reason}: {message}")]
    Status {
        /// HTTP status.
        code: u16,
        /// Reason, such as `Expired`.
        reason: String,
        /// In words.
        message: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
        /// It has not come to the resourceVersion that was asked for.
        ahead: bool,
    },
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// It cannot be reached, or the connection broke.
    #[error("{}", with_causes(.0))]
    Connection(#[from] kube::Error),
    /// The answer is larger than allowed.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit, bytes.
        limit: usize,
    },
    /// The answer makes no sense.
    #[error("the answer makes no sense: {0}")]
    Malformed(#[from] ProjectError),
}

impl ApiError {
    /// The resourceVersion, or the page, is no longer to be had.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Status { code: 410, .. })
    }

    /// The cluster's history is shorter than what was read of it.
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self, Self::Status { ahead: true, .. })
    }

    /// The resource is not there or not allowed, or its selector is refused: somebody must mend it.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Status { code: 400 | 403 | 404, .. })
    }

    /// The same request may succeed later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 408 | 429 | 500..),
            Self::Deadline(_) | Self::Connection(_) => true,
            Self::TooLong { .. } | Self::Malformed(_) => false,
        }
    }

    /// What, and how to mend it where the API server's words do not say it. `of` is what was asked for.
    pub(crate) fn explained(&self, of: &str) -> String {
        let mend = match self {
            Self::Status { code: 400, .. } => format!("; mend exporter.selectors.{of}: the API server refuses it"),
            Self::Status { code: 401, .. } => "; the credentials are wrong or have expired: renew them".to_owned(),
            Self::Status { code: 403, .. } => format!("; grant list and watch on {of} to the exporter's account"),
            Self::Status { code: 404, .. } => format!("; leave {of} out of exporter.objects if it is not to be had"),
            Self::Connection(error) => {
                refused(error).map_or_else(String::new, |why| format!("; {}", of_certificate(why)))
            }
            _ => String::new(),
        };
        format!("{self}{mend}")
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Why the API server's certificate is not accepted, when that is what went wrong.
fn refused(error: &kube::Error) -> Option<&CertificateError> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            // Its source is that of what it holds.
            Some(error) => error.get_ref().map(|held| held as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// How that is mended.
fn of_certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the API server's certificate, unless this machine's clock is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "reach the API server by a name of its certificate, or set one as tls-server-name in the kubeconfig"
        }
        CertificateError::UnknownIssuer => {
            "set certificate-authority in the kubeconfig to the authority that signed the API server's certificate"
        }
        _ => "mend the API server's certificate",
    }
}

/// The error that a `Status` in JSON stands for; `code` and `retry_after` are those of the answer's head.
pub(crate) fn status_error(code: u16, retry_after: Option<Duration>, body: &[u8]) -> ApiError {
    // Proxies answer in plain text.
    let plain =
        || Status { message: String::from_utf8_lossy(&body[..body.len().min(256)]).into_owned(), ..Status::default() };
    let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| plain());
    let details = status.details.as_ref();
    let code = if status.code == 0 { code } else { status.code };
    let known = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    let asked = details.map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
    ApiError::Status {
        code,
        reason: if status.reason.is_empty() { known.unwrap_or_default().to_owned() } else { status.reason },
        message: status.message,
        retry_after: retry_after.or(asked.map(|seconds| Duration::from_secs(seconds.into()))),
        ahead: details
            .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge")),
    }
}

/// The API server of one cluster.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    deadline: Duration,
    limit: Option<Arc<RateLimiter>>,
    health: Health,
    clock: Clock,
}

impl Api {
    pub(crate) fn new(client: Client, config: &ExporterConfig, health: Health, clock: Clock) -> Self {
        let limit = |per_second: u32| {
            let burst = usize::try_from(config.request_burst).unwrap_or(usize::MAX);
            let refill = Duration::from_secs(1) / per_second;
            Arc::new(RateLimiter::builder().initial(burst).max(burst).refill(1).interval(refill).build())
        };
        let limit = (config.requests_per_second > 0).then(|| limit(config.requests_per_second));
        Self { client, deadline: config.request_timeout(), limit, health, clock }
    }

    /// Asks, and gives the answer's body, of which only the head has come.
    pub(crate) async fn open(&self, uri: &str) -> Result<Incoming, ApiError> {
        if let Some(limit) = &self.limit {
            let began = Instant::now();
            limit.acquire_one().await;
            self.health.limited(began.elapsed());
        }
        let request = Request::get(uri).header(header::ACCEPT, "application/json").body(Body::empty());
        let request = request.map_err(kube::Error::HttpError)?;
        let asked = (self.clock)();
        let answer = self.in_time(self.client.send(request)).await??;
        let (head, body) = answer.into_parts();
        let mut body = Incoming { body, deadline: self.deadline };
        let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        if let Some(date) = text(header::DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let theirs = Timestamp::from_millis(date.timestamp().as_millisecond());
            // It has whole seconds, and was written between question and answer: what may be nothing is taken for that.
            let least = theirs.millis_since((self.clock)());
            let most = theirs.plus_millis(1_000).millis_since(asked);
            self.health.clock_ahead(if least <= 0 && most >= 0 { 0 } else { (least + most) / 2 });
        }
        if head.status.is_success() {
            return Ok(body);
        }
        let retry_after = text(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let body = body.all(MAX_STATUS).await.unwrap_or_default();
        Err(status_error(head.status.as_u16(), retry_after, &body))
    }

    /// Asks, and gives the whole answer, which is no longer than `limit` bytes.
    pub(crate) async fn get(&self, uri: &str, limit: usize) -> Result<Bytes, ApiError> {
        self.open(uri).await?.all(limit).await
    }

    /// The cluster's identity: the uid of its `kube-system` namespace.
    pub(crate) async fn cluster_uid(&self) -> Result<String, ApiError> {
        let namespace = self.get("/api/v1/namespaces/kube-system", MAX_STATUS * 16).await?;
        Ok(project::object_of(project::Kind::Namespace, &namespace)?.object.uid)
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, ApiError> {
        tokio::time::timeout(self.deadline, work).await.map_err(|_| ApiError::Deadline(self.deadline))
    }
}

/// The body of an answer.
pub(crate) struct Incoming {
    body: Body,
    deadline: Duration,
}

impl Incoming {
    /// The next part; `None` at the end. Waits as long as it takes.
    pub(crate) async fn part(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    async fn all(&mut self, limit: usize) -> Result<Bytes, ApiError> {
        let mut whole = BytesMut::new();
        let deadline = self.deadline;
        while let Some(part) =
            tokio::time::timeout(deadline, self.part()).await.map_err(|_| ApiError::Deadline(deadline))??
        {
            if whole.len() + part.len() > limit {
                return Err(ApiError::TooLong { limit });
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_errors_of_api_servers_and_of_proxies() {
        let gone = status_error(200, None, br#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#);
        assert!(gone.is_gone() && !gone.is_ahead());
        assert_eq!(gone.to_string(), "410 Expired: too old");

        let ahead = br#"{"code":504,"reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1}}"#;
        let ahead = status_error(504, None, ahead);
        assert!(ahead.is_ahead() && !ahead.is_unavailable());
        assert_eq!(ahead.retry_after(), Some(Duration::from_secs(1)));

        let busy = status_error(429, Some(Duration::from_secs(7)), b"Too many requests, please try again later.\n");
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
        assert!(busy.to_string().starts_with("429 Too Many Requests: Too many requests"), "{busy}");

        assert!(status_error(403, None, b"").is_unavailable());
    }
}
