//! Requests to a registry.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::{Method, Request};

use super::RegistryConfig;
use crate::SecretError;
use crate::authorities::authorities;

/// The largest answer, bytes.
const MOST: u64 = 4 * 1024 * 1024;
/// Versions of a subject and new ones must read each other, all of them.
const LEVEL: &str = "FULL_TRANSITIVE";
/// `error_code`s of Confluent's API.
const NO_SUBJECT: u64 = 40401;
const NO_SCHEMA: u64 = 40403;

/// Why a registry does not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The authorities of `registry.ca` cannot be read. Not retryable.
    #[error("registry.ca {0}")]
    Authorities(String),
    /// A secret cannot be had. Retryable: it may be mounted later.
    #[error("the schema registry's credentials: {0}")]
    Credentials(String),
    /// There is no answer. Retryable.
    #[error("the schema registry {url} cannot be reached: {why}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        why: String,
    },
    /// It answers that it will not, or cannot. Retryable: somebody may mend it.
    #[error("the schema registry {url} answers {status} to {request}: {why}")]
    Refused {
        /// Its address.
        url: String,
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// What it says, and how to mend it.
        why: String,
    },
    /// Schemas of this version are not registered. Retryable: they may be, later.
    #[error("the schema registry {url} has no {}: register the schemas of this version with `epicenter schemas register`", subjects.join(", "))]
    Unregistered {
        /// Its address.
        url: String,
        /// Under which subjects they are missing.
        subjects: Vec<String>,
    },
    /// The process is to stop.
    #[error("stopped before the schema registry answered")]
    Stopped,
}

impl From<SecretError> for RegistryError {
    fn from(error: SecretError) -> Self {
        Self::Credentials(error.to_string())
    }
}

/// Asks a registry. Blocks; each request has a deadline.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    config: RegistryConfig,
}

/// What a registry answers.
enum Answer {
    Found(Value),
    /// It says that there is no such thing.
    Missing,
    /// It says that a schema cannot stand beside the others of its subject.
    Incompatible(String),
}

impl Client {
    /// A client of the registry that `config` names. Nothing is asked yet.
    pub fn new(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let tls = authorities(config.ca.as_deref()).map_err(RegistryError::Authorities)?;
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_millis(config.timeout_ms)))
            .user_agent("epicenter")
            .build();
        Ok(Self { agent: agent.into(), config: config.clone() })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        self.config.url.trim_end_matches('/')
    }

    /// The schema of an id.
    pub fn schema(&self, id: u32) -> Result<Option<String>, RegistryError> {
        match self.ask(Method::GET, &format!("/schemas/ids/{id}"), None)? {
            Answer::Found(found) => Ok(found["schema"].as_str().map(str::to_owned)),
            Answer::Missing | Answer::Incompatible(_) => Ok(None),
        }
    }

    /// The id that a schema has under a subject.
    pub fn id(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        match self.ask(Method::POST, &format!("/subjects/{subject}"), Some(of(schema)))? {
            Answer::Found(found) => Ok(number(&found)),
            Answer::Missing | Answer::Incompatible(_) => Ok(None),
        }
    }

    /// Registers a schema under a subject, if it is not there; gives its id, or why it cannot stand beside the others.
    pub fn register(&self, subject: &str, schema: &str) -> Result<Result<u32, String>, RegistryError> {
        let path = format!("/subjects/{subject}/versions");
        match self.ask(Method::POST, &path, Some(of(schema)))? {
            Answer::Found(found) => Ok(number(&found).ok_or_else(|| format!("it answered without an id: {found}"))),
            Answer::Missing => Ok(Err("it knows no such subject, and makes none".to_owned())),
            Answer::Incompatible(why) => Ok(Err(why)),
        }
    }

    /// Has the registry see to it that all versions of a subject read each other. `false` when there is no such subject.
    pub fn protect(&self, subject: &str) -> Result<bool, RegistryError> {
        let path = format!("/config/{subject}");
        let answer = self.ask(Method::PUT, &path, Some(json!({"compatibility": LEVEL})))?;
        Ok(matches!(answer, Answer::Found(_)))
    }

    /// What a subject is held to, when that is less than that all versions read each other.
    pub fn unprotected(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let path = format!("/config/{subject}?defaultToGlobal=true");
        let Answer::Found(found) = self.ask(Method::GET, &path, None)? else { return Ok(Some("nothing".to_owned())) };
        let level = found["compatibilityLevel"].as_str().unwrap_or("nothing");
        Ok(Some(level.to_owned()).filter(|level| level != LEVEL))
    }

    /// Whether a schema could be registered beside those that are there; `None` when there is no such subject.
    pub fn fits(&self, subject: &str, schema: &str) -> Result<Option<Result<(), String>>, RegistryError> {
        let path = format!("/compatibility/subjects/{subject}/versions?verbose=true");
        Ok(match self.ask(Method::POST, &path, Some(of(schema)))? {
            Answer::Found(found) if found["is_compatible"] == true => Some(Ok(())),
            Answer::Found(found) => {
                let messages = found["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let why = messages.collect::<Vec<_>>().join("; ");
                Some(Err(if why.is_empty() { "the registry does not say why".to_owned() } else { why }))
            }
            Answer::Missing => None,
            Answer::Incompatible(why) => Some(Err(why)),
        })
    }

    fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, RegistryError> {
        let request = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let unreachable =
            |error: ureq::Error| RegistryError::Unreachable { url: self.url().to_owned(), why: error.to_string() };
        let mut builder = Request::builder().method(method).uri([self.url(), path].concat());
        builder = builder.header("content-type", "application/vnd.schemaregistry.v1+json");
        if let Some(authorization) = self.authorization()? {
            builder = builder.header("authorization", authorization);
        }
        let body = body.map_or_else(String::new, |body| body.to_string());
        let mut response = builder
            .body(body)
            .map_err(ureq::Error::from)
            .and_then(|request| self.agent.run(request))
            .map_err(unreachable)?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MOST).read_to_string().map_err(unreachable)?;
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        let code = answer.as_ref().and_then(|answer| answer["error_code"].as_u64());
        let said = answer.as_ref().and_then(|answer| answer["message"].as_str()).map(str::to_owned);
        match (status, answer, code) {
            (200, Some(found), _) => Ok(Answer::Found(found)),
            (404, _, Some(NO_SUBJECT | NO_SCHEMA)) => Ok(Answer::Missing),
            (409, ..) => Ok(Answer::Incompatible(said.unwrap_or_default())),
            _ => {
                let mend = match status {
                    200 | 404 => "; is registry.url the Confluent API? That of Apicurio is below /apis/ccompat/v7",
                    401 | 403 => "; look at registry.username, registry.password and registry.token",
                    _ => "",
                };
                let said = said.unwrap_or_else(|| text.chars().take(200).collect());
                Err(RegistryError::Refused { url: self.url().to_owned(), request, status, why: said + mend })
            }
        }
    }

    /// Read for each request: secrets are renewed.
    fn authorization(&self) -> Result<Option<String>, RegistryError> {
        let RegistryConfig { username, password, token, .. } = &self.config;
        if token.is_set() {
            return Ok(Some(format!("Bearer {}", token.read()?)));
        }
        if username.is_empty() {
            return Ok(None);
        }
        let pair = format!("{username}:{}", password.read()?);
        Ok(Some(format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))))
    }
}

fn of(schema: &str) -> Value {
    json!({ "schema": schema })
}

fn number(found: &Value) -> Option<u32> {
    found["id"].as_u64().and_then(|id| id.try_into().ok())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::Secret;

    /// Answers one request; gives what was asked.
    fn once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                reader.read_line(&mut head).unwrap();
                length = head[start..].strip_prefix("content-length: ").map_or(length, |n| n.trim().parse().unwrap());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, body) = answer.split_once(' ').unwrap();
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            head
        });
        (url, asked)
    }

    fn client(url: &str) -> Client {
        Client::new(&RegistryConfig { url: url.to_owned(), ..RegistryConfig::default() }).unwrap()
    }

    #[track_caller]
    fn check(answer: &'static str, expected: Result<Option<&str>, &str>) {
        let (url, _) = once(answer);
        let found = client(&url).schema(7).map_err(|error| error.to_string());
        let expected = expected.map(|schema| schema.map(str::to_owned));
        assert_eq!(found, expected.map_err(|why| format!("the schema registry {url} answers {why}")));
    }

    #[test]
    fn only_a_registry_that_says_so_does_not_know_a_schema() {
        check(r#"200 {"schema": "{}"}"#, Ok(Some("{}")));
        check(r#"404 {"error_code": 40403, "message": "Schema 7 not found"}"#, Ok(None));
        let at = "GET /schemas/ids/7";
        let api = "is registry.url the Confluent API? That of Apicurio is below /apis/ccompat/v7";
        check("404 no such page", Err(&format!("404 to {at}: no such page; {api}")));
        check("200 <html>", Err(&format!("200 to {at}: <html>; {api}")));
        let credentials = "look at registry.username, registry.password and registry.token";
        check(r#"401 {"message": "who is it?"}"#, Err(&format!("401 to {at}: who is it?; {credentials}")));
        check("500 the disk is full", Err(&format!("500 to {at}: the disk is full")));
    }

    #[test]
    fn tells_why_a_schema_does_not_fit() {
        let (url, _) = once(r#"409 {"error_code": 409, "message": "a field is missing"}"#);
        assert_eq!(client(&url).register("s", "{}"), Ok(Err("a field is missing".to_owned())));
        let (url, _) = once(r#"200 {"is_compatible": false, "messages": ["a", "b"]}"#);
        assert_eq!(client(&url).fits("s", "{}"), Ok(Some(Err("a; b".to_owned()))));
        let (url, _) = once(r#"404 {"error_code": 40401}"#);
        assert_eq!(client(&url).fits("s", "{}"), Ok(None));
    }

    #[test]
    fn says_who_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let secret = Secret { file: Some(file.path().to_owned()), env: None };
        let check = |change: &dyn Fn(&mut RegistryConfig), expected: &str| {
            let (url, asked) = once(r#"200 {"id": 7}"#);
            let mut config = RegistryConfig { url, ..RegistryConfig::default() };
            change(&mut config);
            assert_eq!(Client::new(&config).unwrap().id("s", "{}"), Ok(Some(7)));
            let head = asked.join().unwrap();
            assert!(head.starts_with("POST /subjects/s HTTP/1.1\r\n") && head.contains(expected), "{head}");
        };
        check(&|_| {}, "user-agent: epicenter\r\n");
        check(&|config| config.token = secret.clone(), "authorization: Bearer secret\r\n");
        let basic = |config: &mut RegistryConfig| {
            (config.username, config.password) = ("me".to_owned(), secret.clone());
        };
        check(&basic, "authorization: Basic bWU6c2VjcmV0\r\n");
    }

    #[test]
    fn names_a_file_of_authorities_that_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = RegistryConfig { ca: Some(file.path().to_owned()), ..RegistryConfig::default() };
        let error = Client::new(&config).unwrap_err().to_string();
        assert_eq!(error, format!("registry.ca {}: it has no certificate (PEM)", file.path().display()));
    }
}
