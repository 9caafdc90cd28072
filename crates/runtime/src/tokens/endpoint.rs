//! Tokens that an identity provider issues for the credentials of a client (RFC 6749, 4.4).

use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;
use epicenter_bus::{Token, TokenError, Tokens};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded;

use super::{Claims, LIFE};
use crate::authorities::authorities;
use crate::{Secret, SecretError, now};

/// The largest answer, bytes.
const MOST: u64 = 256 * 1024;
/// Of what an endpoint says instead of a token that much is told, characters.
const SAID: usize = 300;
/// An endpoint that gave no token is not asked again for that time, ms: all clients of a process have their tokens from here.
const PAUSE: i64 = 1_000;

/// Where to ask for tokens of OAUTHBEARER, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenEndpointConfig {
    /// The token endpoint of the identity provider; empty for none.
    pub url: String,
    /// The client's name there.
    pub client_id: String,
    /// Its secret, which is read for each request.
    pub client_secret: Secret,
    /// What the tokens are asked for, if that has to be said.
    pub scope: String,
    /// A file with the authorities (PEM) that may sign its certificate; those that browsers trust when it is not set.
    pub ca: Option<PathBuf>,
    /// An answer is waited for so long, ms.
    pub timeout_ms: u64,
}

impl Default for TokenEndpointConfig {
    fn default() -> Self {
        let (client_secret, ca) = (Secret::default(), None);
        // The thread that polls a client waits for it.
        Self {
            url: String::new(),
            client_id: String::new(),
            client_secret,
            scope: String::new(),
            ca,
            timeout_ms: 5_000,
        }
    }
}

impl TokenEndpointConfig {
    /// There is one.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty()
    }

    /// What is wrong with it, by key.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !self.is_set() {
            if *self != Self::default() {
                problems.push(("url", "is missing: name the token endpoint of the identity provider".to_owned()));
            }
            return problems;
        }
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            problems.push(("url", "must begin with http:// or https://".to_owned()));
        }
        if self.url.contains('@') {
            problems.push(("url", "a secret does not belong here: set client_id and client_secret".to_owned()));
        }
        if self.client_id.is_empty() {
            problems.push(("client_id", "is missing: whom does the identity provider know?".to_owned()));
        }
        if self.client_secret.file.is_some() == self.client_secret.env.is_some() {
            problems.push(("client_secret", SecretError::NotOnePlace.to_string()));
        }
        if !(1..=10_000).contains(&self.timeout_ms) {
            problems.push(("timeout_ms", "must be 1 to 10000".to_owned()));
        }
        problems
    }
}

/// A token endpoint, and the token that it gave last, which is shared by all clients of a process and asked for anew when three
/// quarters of its life are over. While the endpoint gives none, the last one counts as long as it lives.
#[derive(Debug)]
pub struct TokenEndpoint {
    config: TokenEndpointConfig,
    agent: ureq::Agent,
    held: Mutex<Held>,
}

impl Tokens for TokenEndpoint {
    fn token(&self) -> Result<Token, TokenError> {
        let now = now().as_millis();
        self.held.lock().token(now, || self.ask(now))
    }
}

impl TokenEndpoint {
    /// The endpoint that `config` names. Nothing is asked yet.
    ///
    /// # Errors
    /// What is wrong with the file of authorities. Not retryable.
    pub fn new(config: &TokenEndpointConfig) -> Result<Self, String> {
        let agent = ureq::Agent::config_builder()
            .tls_config(authorities(config.ca.as_deref())?)
            .http_status_as_error(false)
            // A secret goes to where it is configured to go.
            .max_redirects(0)
            .timeout_global(Some(Duration::from_millis(config.timeout_ms)))
            .user_agent("epicenter")
            .build();
        Ok(Self { config: config.clone(), agent: agent.into(), held: Mutex::default() })
    }

    fn ask(&self, now: i64) -> Result<Token, TokenError> {
        let TokenEndpointConfig { url, client_id, client_secret, scope, .. } = &self.config;
        let secret = client_secret.read().map_err(|error| {
            wrong(format!("of bus.kafka.token_endpoint.client_secret, {error}"), "Put the client's secret there")
        })?;
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let credentials = BASE64.encode(format!("{}:{}", encode(client_id), encode(&secret)).as_bytes());
        let mut form = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            form.push(("scope", scope.as_str()));
        }
        let request = self.agent.post(url).header("authorization", format!("Basic {credentials}"));
        let exchange = request.header("accept", "application/json").send_form(form).and_then(|mut answer| {
            let text = answer.body_mut().with_config().limit(MOST).read_to_string()?;
            Ok((answer.status().as_u16(), text))
        });
        let (status, text) = exchange.map_err(|error| {
            let mend = "Check bus.kafka.token_endpoint.url and its ca, the identity provider and the network";
            wrong(format!("the token endpoint {url} cannot be reached: {error}"), mend)
        })?;
        let token = read(&text, now).ok_or_else(|| refusal(url, status, &text))?;
        if token.until <= now {
            let seconds = (now - token.until) / 1000;
            return Err(wrong(
                format!("the token endpoint {url} gives a token that expired {seconds} s ago"),
                "Compare the clocks of this machine and of the identity provider",
            ));
        }
        Ok(token)
    }
}

/// The token that an endpoint answers with.
fn read(text: &str, now: i64) -> Option<Token> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let value = answer["access_token"].as_str().filter(|token| !token.is_empty())?;
    let claims = Claims::of(value);
    // There are providers that write numbers as texts.
    let seconds = &answer["expires_in"];
    let seconds = seconds.as_f64().or_else(|| seconds.as_str()?.parse().ok());
    let lives = seconds.map(|seconds| now + (seconds * 1000.0) as i64);
    let until = lives.into_iter().chain(claims.expires()).min().unwrap_or(now + LIFE);
    Some(Token { value: value.to_owned(), principal: claims.sub, until })
}

/// What an endpoint says instead (RFC 6749, 5.2).
fn refusal(url: &str, status: u16, text: &str) -> TokenError {
    let answer: Option<Value> = serde_json::from_str(text).ok();
    let of = |key: &str| answer.as_ref().and_then(|answer| answer[key].as_str());
    let code = of("error").unwrap_or_default();
    let said = match of("error_description") {
        Some(description) => format!("{code}: {description}"),
        // Another answer may hold secrets.
        None if answer.is_some() => code.to_owned(),
        None => text.to_owned(),
    };
    let said: String = said.chars().filter(|c| !c.is_control()).take(SAID).collect();
    let said = if said.is_empty() { "nothing that is an error of OAuth" } else { said.trim_end_matches('.') };
    let mend = match (status, code) {
        (401, _) | (_, "invalid_client") => {
            "Check bus.kafka.token_endpoint.client_id and client_secret, and that the identity provider knows this client"
        }
        (_, "invalid_scope") => "Check bus.kafka.token_endpoint.scope",
        (_, "unauthorized_client" | "unsupported_grant_type") => {
            "Let the identity provider issue tokens to this client by the grant client_credentials"
        }
        (200..=399 | 404 | 405, _) => {
            "Check bus.kafka.token_endpoint.url: the identity provider's configuration calls it token_endpoint"
        }
        _ => "Look at the identity provider",
    };
    wrong(format!("the token endpoint {url} answers {status} without a token: {said}"), mend)
}

fn wrong(why: String, mend: &str) -> TokenError {
    TokenError { why, mend: mend.to_owned() }
}

/// The token that was given last.
#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    /// From then on another one is asked for, ms since the epoch.
    renew: i64,
    /// Why there was none, and until when that counts.
    refused: Option<(TokenError, i64)>,
}

impl Held {
    /// A token that is good at `now`, asked for if it has to be.
    fn token(&mut self, now: i64, ask: impl FnOnce() -> Result<Token, TokenError>) -> Result<Token, TokenError> {
        let good = self.token.clone().filter(|token| now < token.until);
        if let Some(token) = good.as_ref().filter(|_| now < self.renew) {
            return Ok(token.clone());
        }
        if let Some((error, _)) = self.refused.as_ref().filter(|(_, until)| now < *until) {
            return good.ok_or_else(|| error.clone());
        }
        match ask() {
            Ok(token) => {
                *self = Self { renew: now + (token.until - now) / 4 * 3, token: Some(token.clone()), refused: None };
                Ok(token)
            }
            Err(error) => {
                if good.is_some() {
                    tracing::warn!(%error, "the last token of the brokers counts until it expires");
                }
                self.refused = Some((error.clone(), now + PAUSE));
                good.ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signed;
    use super::*;

    #[test]
    fn is_asked_for_before_the_last_one_expires() {
        let mut held = Held::default();
        let token = |value: &str, until| Token { value: value.to_owned(), principal: String::new(), until };
        let error = || TokenError { why: "away".to_owned(), mend: "Look".to_owned() };
        let mut check = |now, answer: Option<Result<Token, TokenError>>, expected: Result<&str, &str>| {
            let asks = answer.is_some();
            let mut asked = false;
            let found = held.token(now, || {
                asked = true;
                answer.unwrap_or_else(|| Err(error()))
            });
            let found = found.as_ref().map(|token| token.value.as_str()).map_err(|error| error.why.as_str());
            assert_eq!((found, asked), (expected, asks), "at {now}");
        };
        check(0, Some(Err(error())), Err("away"));
        check(PAUSE - 1, None, Err("away"));
        check(PAUSE, Some(Ok(token("a", 101_000))), Ok("a"));
        check(75_999, None, Ok("a"));
        // librdkafka asks at four fifths of what is left.
        check(85_000, Some(Ok(token("b", 185_000))), Ok("b"));
        check(160_000, Some(Err(error())), Ok("b"));
        check(160_999, None, Ok("b"));
        check(161_000, Some(Err(error())), Ok("b"));
        check(185_000, Some(Err(error())), Err("away"));
        check(190_000, Some(Ok(token("c", 290_000))), Ok("c"));
    }

    #[test]
    fn lives_as_long_as_both_say() {
        let check = |text: &str, expected: Option<(&str, i64)>| {
            let found = read(text, 1_000_000);
            assert_eq!(found.as_ref().map(|token| (token.principal.as_str(), token.until)), expected, "{text}");
        };
        let answer = |token: &str, more: &str| format!(r#"{{"access_token":"{token}","token_type":"Bearer"{more}}}"#);
        check(&answer("opaque", ""), Some(("", 1_000_000 + LIFE)));
        check(&answer("opaque", r#","expires_in":60"#), Some(("", 1_060_000)));
        check(&answer("opaque", r#","expires_in":"60""#), Some(("", 1_060_000)));
        let token = signed(r#"{"sub":"me","exp":1030}"#);
        check(&answer(&token, r#","expires_in":60"#), Some(("me", 1_030_000)));
        check(&answer(&token, r#","expires_in":7"#), Some(("me", 1_007_000)));
        check(&answer("", ""), None);
        check("<html>", None);
    }

    #[test]
    fn says_what_to_mend() {
        let check = |status, text: &str, expected: &[&str]| {
            let said = refusal("https://id/token", status, text).to_string();
            assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        };
        let client = r#"{"error":"invalid_client","error_description":"Bad secret."}"#;
        check(401, client, &["answers 401", "invalid_client: Bad secret. Check", "client_secret"]);
        check(400, r#"{"error":"invalid_scope"}"#, &["invalid_scope. Check bus.kafka.token_endpoint.scope"]);
        check(400, r#"{"error":"unauthorized_client"}"#, &["the grant client_credentials"]);
        check(404, "no such page", &["no such page", "token_endpoint.url"]);
        check(302, "", &["token_endpoint.url"]);
        let secret = refusal("https://id/token", 200, r#"{"refresh_token":"secret"}"#).to_string();
        assert!(!secret.contains("secret"), "{secret}");
        check(503, "busy", &["busy. Look at the identity provider"]);
    }

    #[test]
    fn names_what_is_missing() {
        let check = |change: &dyn Fn(&mut TokenEndpointConfig), expected: &[&str]| {
            let client_secret = Secret { env: Some("SECRET".to_owned()), file: None };
            let (url, client_id) = ("https://id/token".to_owned(), "me".to_owned());
            let mut config = TokenEndpointConfig { url, client_id, client_secret, ..TokenEndpointConfig::default() };
            change(&mut config);
            let keys: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, expected);
        };
        check(&|_| {}, &[]);
        check(&|config| *config = TokenEndpointConfig::default(), &[]);
        check(&|config| config.url.clear(), &["url"]);
        check(&|config| config.url = "id/token".to_owned(), &["url"]);
        check(&|config| config.url = "https://me:secret@id/token".to_owned(), &["url"]);
        check(&|config| config.client_id.clear(), &["client_id"]);
        check(&|config| config.client_secret = Secret::default(), &["client_secret"]);
        check(&|config| config.timeout_ms = 0, &["timeout_ms"]);
    }
}
