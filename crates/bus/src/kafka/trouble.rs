//! What keeps clients from the brokers, or from what they may do there, and how to mend it.
//!
//! librdkafka tells it beside its calls, which only time out. So every client has a [`Context`] that listens.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, NoCustomPartitioner, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientContext, Message as _};

use super::token::{Token, TokenError, Tokens};

/// Where to read what is to be granted.
pub(super) const GRANTS: &str = "`epicenter topics acls` prints what each service needs";

/// What stands in the way of an installation's clients, by what is concerned.
#[derive(Default)]
pub(super) struct Trouble {
    found: Mutex<BTreeMap<String, Obstacle>>,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// What the client says.
    pub(super) why: String,
    /// How to mend it.
    pub(super) mend: String,
    /// A broker answered, and refused or was refused: trying again does not help.
    pub(super) by_refusal: bool,
}

#[cfg(feature = "tls")]
impl Obstacle {
    /// `host:port` of the broker whose certificate this client refused.
    pub(super) fn refused_by(&self) -> Option<&str> {
        let (_, rest) = self.why.split_once("://").filter(|_| self.why.contains(REFUSED_CERTIFICATE))?;
        rest.split(['/', ' ']).next()
    }
}

/// How librdkafka says that it refused a certificate; not why.
const REFUSED_CERTIFICATE: &str = "certificate verify failed";

/// How librdkafka begins to say that it was given no token. What follows is a [`TokenError`].
const NO_TOKEN: &str = "Failed to acquire SASL OAUTHBEARER token: ";

/// How a broker says that it does not take a token (RFC 7628, 3.2.2).
const INVALID_TOKEN: &str = "invalid_token";

/// The key of what concerns all clients.
const CONNECTION: &str = "";

impl Trouble {
    /// All of it, for people.
    pub(super) fn text(&self) -> Option<String> {
        let found = self.found.lock();
        let lines: Vec<_> =
            found
                .iter()
                .map(|(concerned, Obstacle { why, mend, .. })| {
                    if concerned == CONNECTION {
                        format!("{why}. {mend}")
                    } else {
                        format!("{concerned}: {why}. {mend}")
                    }
                })
                .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// What keeps all clients from the brokers.
    pub(super) fn connection(&self) -> Option<Obstacle> {
        self.found.lock().get(CONNECTION).cloned()
    }

    /// A client got through: what kept all from it is gone.
    pub(super) fn connected(&self) {
        self.found.lock().remove(CONNECTION);
    }

    /// Something else is known of what keeps all clients from the brokers.
    #[cfg(feature = "tls")]
    pub(super) fn explain(&self, obstacle: Obstacle) {
        self.found.lock().insert(CONNECTION.to_owned(), obstacle);
    }

    /// `concerned` stands still.
    pub(super) fn stands(&self, concerned: &str, why: String, mend: String) {
        self.found.lock().insert(concerned.to_owned(), Obstacle { why, mend, by_refusal: true });
    }

    /// `concerned` goes on, or is no longer ours.
    pub(super) fn goes_on(&self, concerned: &str) {
        self.found.lock().remove(concerned);
    }

    fn hear(&self, client: &str, code: Code, reason: &str) {
        let Some((concerned, obstacle)) = obstacle(client, code, reason) else { return };
        let mut found = self.found.lock();
        // That no broker is left says less than why one was refused.
        if code != Code::AllBrokersDown || !found.contains_key(&concerned) {
            found.insert(concerned, obstacle);
        }
    }
}

/// What an error that librdkafka tells beside its calls means, and whom it concerns; `None` for what passes by itself.
fn obstacle(client: &str, code: Code, reason: &str) -> Option<(String, Obstacle)> {
    if let Some(TokenError { why, mend }) = reason.split_once(NO_TOKEN).and_then(|(_, said)| TokenError::read(said)) {
        return Some((CONNECTION.to_owned(), Obstacle { why, mend, by_refusal: true }));
    }
    let by_refusal = !matches!(code, Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve);
    let mut concerned = CONNECTION.to_owned();
    let mend = match code {
        Code::SSL if reason.contains(REFUSED_CERTIFICATE) => {
            "Check ssl.ca.location (or ssl.ca.pem), and the broker's certificate".to_owned()
        }
        Code::SSL => {
            "Check ssl.certificate.*, ssl.key.* and ssl.ca.*, and which certificates the broker asks for".to_owned()
        }
        Code::Authentication | Code::SaslAuthenticationFailed if reason.contains(INVALID_TOKEN) => {
            "Check who issues the tokens, of which audience and scope, and that the brokers take such ones".to_owned()
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "Check sasl.mechanism, sasl.username and the secret sasl.password, and that the brokers know this user"
                .to_owned()
        }
        Code::BrokerTransportFailure if is_hung_up(reason) => {
            "Set bus.kafka.properties.security.protocol to SSL or SASL_SSL, if that port speaks TLS".to_owned()
        }
        Code::BrokerTransportFailure if reason.contains("PLAINTEXT broker listener?") => {
            "Use the broker's TLS port, or set bus.kafka.properties.security.protocol to what this one speaks"
                .to_owned()
        }
        Code::Resolve => "Check the names in bus.kafka.bootstrap, and those that the brokers advertise".to_owned(),
        Code::AllBrokersDown => "Check bus.kafka.bootstrap, the brokers and the network".to_owned(),
        Code::GroupAuthorizationFailed => {
            concerned = format!("group {client}");
            format!("Grant Read on group {client}: {GRANTS}")
        }
        Code::TransactionalIdAuthorizationFailed => {
            concerned = format!("transactional id {client}");
            format!("Grant Write on transactional id {client}: {GRANTS}")
        }
        Code::TopicAuthorizationFailed => {
            concerned = format!("topics of {client}");
            format!("Grant Read on that topic: {GRANTS}")
        }
        _ => return None,
    };
    Some((concerned, Obstacle { why: reason.trim_end_matches('.').to_owned(), mend, by_refusal }))
}

/// The broker hung up at the first word of a client that speaks without TLS.
fn is_hung_up(reason: &str) -> bool {
    reason.contains("Disconnected") && reason.contains("in state APIVERSION_QUERY") && !reason.contains("ssl://")
}

/// Listens to a client.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) trouble: Arc<Trouble>,
    /// Its group or transactional id, with prefix.
    pub(super) client: String,
    /// The topic that the brokers last refused to a transaction.
    refused: Arc<Mutex<Option<String>>>,
    tokens: Option<Arc<dyn Tokens>>,
}

impl Context {
    pub(super) fn new(trouble: &Arc<Trouble>, client: String, tokens: Option<Arc<dyn Tokens>>) -> Self {
        Self { trouble: Arc::clone(trouble), client, refused: Arc::default(), tokens }
    }

    /// The token of OAUTHBEARER, as it is now.
    pub(super) fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self.tokens.as_ref().ok_or("neither bus.kafka.token_file nor bus.kafka.token_endpoint is set")?;
        let Token { value, principal, until } = tokens.token()?;
        Ok(OAuthToken { token: value, principal_name: principal, lifetime_ms: until })
    }

    /// The brokers took the client in, as a member of its group or as the owner of its transactional id.
    pub(super) fn admitted(&self) {
        self.trouble.connected();
        for concerned in ["group", "topics of", "transactional id"] {
            self.trouble.goes_on(&format!("{concerned} {}", self.client));
        }
    }

    /// A record for `topic` could not be written.
    pub(super) fn failed(&self, topic: &str, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed) {
            *self.refused.lock() = Some(topic.to_owned());
        }
    }

    /// The topic that was refused to the client's transaction, since this was asked last.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().take()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.token()
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        // The error of the transaction does not tell the topic (rdkafka_txnmgr.c).
        if facility == "ADDPARTS"
            && message.contains("uthorization failed")
            && let Some(topic) = message.split('"').nth(1)
        {
            *self.refused.lock() = Some(topic.to_owned());
        }
        // A connection that the other side closes is told here only: the protocol is the wrong one, or TLS refused the client.
        if facility == "FAIL" {
            let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
            let code = if reason.contains("SSL alert") { Code::SSL } else { Code::BrokerTransportFailure };
            self.trouble.hear(&self.client, code, reason);
        }
        tracing::debug!(target: "librdkafka", client = self.client, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.trouble.hear(&self.client, code, reason);
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, outcome: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if let Err((error, message)) = outcome {
            self.failed(message.topic(), error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(heard: &[(Code, &str)], expected: &[&str]) {
        let trouble = Trouble::default();
        heard.iter().for_each(|(code, reason)| trouble.hear("epicenter.enricher", *code, reason));
        let text = trouble.text().unwrap_or_default();
        assert_eq!(text.is_empty(), expected.is_empty(), "{text}");
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn tells_what_to_mend() {
        let refused = "ssl://k:9093/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed";
        check(&[(Code::SSL, refused)], &["ssl://k:9093/1", "ssl.ca.location"]);
        check(&[(Code::Authentication, "sasl_ssl://k:9093/1: invalid credentials")], &["k:9093", "sasl.password"]);
        let tls = "k:9093/1: Disconnected: connection closed by peer (after 0ms in state APIVERSION_QUERY)";
        let plain = "ssl://k:9092/1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?";
        check(&[(Code::BrokerTransportFailure, tls)], &["security.protocol to SSL or SASL_SSL"]);
        check(&[(Code::BrokerTransportFailure, plain)], &["TLS port"]);
        let expired = "Failed to acquire SASL OAUTHBEARER token: it expired. Check bus.kafka.token_file";
        check(&[(Code::Authentication, expired)], &["it expired. Check bus.kafka.token_file"]);
        let invalid = "sasl_ssl://k:9093/1: SASL authentication error: {\"status\":\"invalid_token\"}";
        check(&[(Code::Authentication, invalid)], &["invalid_token", "who issues the tokens"]);
        check(&[(Code::GroupAuthorizationFailed, "no")], &["Grant Read on group epicenter.enricher", "topics acls"]);
        let refused = (Code::SSL, "handshake failed");
        check(&[refused, (Code::AllBrokersDown, "1/1 brokers are down")], &["handshake failed. Check ssl.certificate"]);
        check(&[(Code::AllBrokersDown, "1/1 brokers are down")], &["1/1 brokers are down. Check bus.kafka.bootstrap"]);
        check(&[(Code::BrokerTransportFailure, "Disconnected"), (Code::PartitionEOF, "")], &[]);
    }
}
