//! One attempt to tell a receiver.

use std::time::Duration;

use bytes::Bytes;
use epicenter_runtime::with_causes;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::Service as _;

use crate::otlp;
use crate::receiver::{Receiver, Request};

/// A receiver that has not answered by then is away.
const DEADLINE: Duration = Duration::from_secs(10);
/// Of a refusal's text that much is told, bytes.
const SAID: usize = 4096;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was taken.
    Taken,
    /// It never will be, for this reason: it concerns this notice alone.
    Refused(String),
    /// Not now.
    Away {
        why: String,
        /// The receiver asks to wait so long.
        retry_after: Option<Duration>,
    },
}

/// A client for all receivers of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Post {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Post {
    /// Trusts the certificates of this machine, or those of `SSL_CERT_FILE`.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector()?) })
    }

    /// Sends `request` once.
    pub async fn send(&self, request: Request) -> Outcome {
        let Request { url, headers, body } = request;
        // Only there is success not always one.
        let otlp = headers.iter().any(|(name, value)| *name == "content-type" && value == otlp::MEDIA);
        let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
        // The path may be a secret: only the host is told.
        let host = host.unwrap_or_default();
        let mut builder = http::Request::builder().method(Method::POST).uri(url);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        builder = builder.header(header::USER_AGENT, concat!("epicenter/", env!("CARGO_PKG_VERSION")));
        let away = |why: String| Outcome::Away { why: format!("{host}: {why}"), retry_after: None };
        let request = match builder.body(Full::new(Bytes::from(body))) {
            Ok(request) => request,
            Err(error) => return away(format!("{error}: check its URL and secrets")),
        };
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| with_causes(&error))?;
            let (head, body) = answer.into_parts();
            let said = Limited::new(body, SAID).collect().await.map(|said| said.to_bytes()).unwrap_or_default();
            Ok::<_, String>((head, said))
        };
        match tokio::time::timeout(DEADLINE, exchange).await {
            Err(_) => away(format!("no answer within {} s", DEADLINE.as_secs())),
            Ok(Err(why)) => away(why),
            Ok(Ok((head, said))) => {
                let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                if let Some(why) = otlp::refusal(&said).filter(|_| otlp && head.status.is_success()) {
                    return Outcome::Refused(format!("{host} does not take the record: {why}"));
                }
                let said = String::from_utf8_lossy(&said);
                judge(head.status, retry_after, &host, said.trim())
            }
        }
    }
}

fn connector() -> std::io::Result<HttpsConnector<HttpConnector>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(DEADLINE / 2));
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider())?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

/// Connects to the server of `receiver`, by TLS when that is how it is told, and sends nothing. Its host, or why it cannot be reached from
/// here; `None` when it is none of a network.
pub async fn reach(receiver: &Receiver) -> Option<Result<String, String>> {
    let url = match receiver.url()? {
        Ok(url) => url,
        Err(why) => return Some(Err(why)),
    };
    let Ok(uri) = url.parse::<http::Uri>() else { return Some(Err("its URL is none".to_owned())) };
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut connector = match connector() {
        Ok(connector) => connector,
        Err(error) => return Some(Err(format!("the certificates that are trusted: {error}"))),
    };
    Some(match tokio::time::timeout(DEADLINE, connector.call(uri)).await {
        Err(_) => Err(format!("{host}: no answer within {} s", DEADLINE.as_secs())),
        Ok(Err(error)) => Err(format!("{host}: {}", with_causes(&*error))),
        Ok(Ok(_)) => Ok(host),
    })
}

fn provider() -> impl Into<std::sync::Arc<rustls::crypto::CryptoProvider>> {
    rustls::crypto::ring::default_provider()
}

/// An answer that is about the notice refuses it; one that is about the receiver, or about who asks, may change.
fn judge(status: StatusCode, retry_after: Option<&str>, host: &str, said: &str) -> Outcome {
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let why =
        if said.is_empty() { format!("{host} answers {status}") } else { format!("{host} answers {status}: {said}") };
    let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let waits = [401, 403, 404, 407, 408, 425, 429].contains(&status.as_u16());
    if status.is_success() {
        Outcome::Taken
    } else if status.is_client_error() && !waits {
        Outcome::Refused(why)
    } else {
        Outcome::Away { why, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, retry_after: Option<&str>, expected: &str) {
        let outcome = judge(StatusCode::from_u16(status).unwrap(), retry_after, "host", "no\nway");
        let shown = match outcome {
            Outcome::Taken => "taken".to_owned(),
            Outcome::Refused(why) => format!("refused: {why}"),
            Outcome::Away { why, retry_after } => format!("away: {why} {retry_after:?}"),
        };
        assert!(shown.starts_with(expected), "{shown}");
    }

    #[test]
    fn knows_what_can_heal() {
        check(200, None, "taken");
        check(202, None, "taken");
        check(400, None, "refused: host answers 400 Bad Request: noway");
        check(422, None, "refused");
        check(429, Some("7"), "away: host answers 429 Too Many Requests: noway Some(7s)");
        check(503, Some("soon"), "away: host answers 503 Service Unavailable: noway None");
        for status in [302, 401, 403, 404, 500] {
            check(status, None, "away");
        }
    }
}
