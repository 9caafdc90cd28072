//! Who is told, and in what form.

use epicenter_model::Timestamp;
use epicenter_runtime::Secret;
use serde::Deserialize;

use crate::notice::Notice;
use crate::{alertmanager, otlp, slack, webhook};

/// Who is told.
#[derive(Debug)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// It is told of ends too.
    pub send_resolved: bool,
    /// Notices in a minute, at most.
    pub per_minute: u32,
    pub(crate) target: Target,
}

#[derive(Debug)]
pub(crate) enum Target {
    Alertmanager(Endpoint),
    Webhook(Webhook),
    Slack(Endpoint),
    Otlp(Endpoint),
    Stdout,
}

/// Where to send, and with which right.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    pub url: Address,
    /// The whole value of the header `Authorization`.
    #[serde(default)]
    pub authorization: Secret,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    pub url: Address,
    #[serde(default)]
    pub authorization: Secret,
    /// With what notices are signed.
    #[serde(default)]
    pub secret: Secret,
    #[serde(default)]
    pub mode: Mode,
}

/// How a CloudEvent is put into a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// All of it in the body.
    #[default]
    Structured,
    /// Its attributes in headers, its data in the body.
    Binary,
}

/// A URL, or where it is when it is secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a URL, or {file: PATH} or {env: NAME} for where it is")]
pub enum Address {
    /// The URL.
    Plain(String),
    /// Where it is.
    Hidden(Secret),
}

impl Address {
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Plain(url) => check_url(url),
            Self::Hidden(secret) if secret.file.is_some() == secret.env.is_some() => {
                Err("name either `file` or `env`, not both".to_owned())
            }
            Self::Hidden(_) => Ok(()),
        }
    }

    pub(crate) fn read(&self) -> Result<String, String> {
        match self {
            Self::Plain(url) => Ok(url.clone()),
            Self::Hidden(secret) => {
                let url = secret.read().map_err(|error| error.to_string())?;
                // The URL itself is not to be told.
                check_url(&url).map_err(|_| "what the secret holds is no URL such as https://host/path".to_owned())?;
                Ok(url)
            }
        }
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let right = url.parse::<http::Uri>().is_ok_and(|uri| {
        uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")) && !url.contains('@')
    });
    if right { Ok(()) } else { Err("must be a URL such as https://host/path, without a password in it".to_owned()) }
}

/// A POST. Made anew for each attempt: secrets may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where.
    pub url: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body: JSON, or what the header `content-type` says.
    pub body: Vec<u8>,
}

impl Receiver {
    /// What kind of receiver it is.
    pub fn kind(&self) -> &'static str {
        match self.target {
            Target::Alertmanager(_) => "alertmanager",
            Target::Webhook(_) => "webhook",
            Target::Slack(_) => "slack",
            Target::Otlp(_) => "otlp",
            Target::Stdout => "stdout",
        }
    }

    /// Its URL; `None` for standard output. An error says what is wrong with a secret.
    pub(crate) fn url(&self) -> Option<Result<String, String>> {
        match &self.target {
            Target::Alertmanager(at) | Target::Slack(at) | Target::Otlp(at) => Some(at.url.read()),
            Target::Webhook(at) => Some(at.url.read()),
            Target::Stdout => None,
        }
    }

    /// It forgets an alert that it does not hear of for a while; in return it repeats by itself.
    pub fn keeps_alive(&self) -> bool {
        matches!(self.target, Target::Alertmanager(_))
    }

    /// It is told again of what goes on. A log of transitions is not.
    pub fn repeats(&self) -> bool {
        !matches!(self.target, Target::Alertmanager(_) | Target::Otlp(_))
    }

    /// The request that tells `notice` at `now`; `None` for standard output. An error says what is wrong with a secret.
    pub fn request(&self, notice: &Notice, now: Timestamp) -> Result<Option<Request>, String> {
        match &self.target {
            Target::Alertmanager(at) => at.request("/api/v2/alerts", alertmanager::body(&[notice], now)).map(Some),
            Target::Webhook(at) => webhook::request(at, &self.name, notice, now).map(Some),
            Target::Slack(at) => at.request("", slack::body(notice)).map(Some),
            Target::Otlp(at) => at.post(otlp::PATH, otlp::MEDIA, otlp::body(notice)).map(Some),
            Target::Stdout => Ok(None),
        }
    }

    /// What is told, without secrets: for people who try a file.
    pub fn text(&self, notice: &Notice) -> String {
        match &self.target {
            Target::Alertmanager(_) => alertmanager::body(&[notice], notice.at),
            Target::Webhook(_) => webhook::body(&self.name, notice),
            Target::Slack(_) => slack::body(notice),
            Target::Otlp(_) => otlp::text(notice),
            Target::Stdout => line(notice),
        }
    }
}

/// A notice for standard output.
pub(crate) fn line(notice: &Notice) -> String {
    let said = format!("{} {} {}", notice.kind.name(), notice.incident.id, notice.summary());
    // A message must not forge a line.
    said.replace(char::is_control, " ")
}

impl Endpoint {
    /// A POST of JSON.
    pub(crate) fn request(&self, path: &str, body: String) -> Result<Request, String> {
        self.post(path, "application/json", body.into_bytes())
    }

    pub(crate) fn post(&self, path: &str, media: &str, body: Vec<u8>) -> Result<Request, String> {
        let url = self.url.read()?;
        let mut headers = vec![("content-type", media.to_owned())];
        if self.authorization.is_set() {
            headers.push(("authorization", self.authorization.read().map_err(|error| error.to_string())?));
        }
        Ok(Request {
            url: format!("{}{path}", if path.is_empty() { &url } else { url.trim_end_matches('/') }),
            headers,
            body,
        })
    }
}

/// A receiver as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiverSource {
    pub name: String,
    #[serde(default = "yes")]
    send_resolved: bool,
    #[serde(default = "sixty")]
    per_minute: u32,
    alertmanager: Option<Endpoint>,
    webhook: Option<Webhook>,
    slack: Option<Endpoint>,
    otlp: Option<Endpoint>,
    stdout: Option<Empty>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

fn yes() -> bool {
    true
}

fn sixty() -> u32 {
    60
}

impl ReceiverSource {
    /// The receiver, and what is wrong with it by field.
    pub fn read(self) -> (Receiver, Vec<(&'static str, String)>) {
        let Self { name, send_resolved, per_minute, alertmanager, webhook, slack, otlp, stdout } = self;
        let mut wrong = Vec::new();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
            wrong.push(("name", "must have 1 to 40 of a-z, 0-9 and -".to_owned()));
        }
        if !(1..=6000).contains(&per_minute) {
            wrong.push(("per_minute", "must be 1 to 6000".to_owned()));
        }
        let mut check = |field, address: &Address, secrets: &[(&'static str, &Secret)]| {
            if let Err(what) = address.check() {
                wrong.push((field, what));
            }
            for (field, _) in secrets.iter().filter(|(_, it)| it.file.is_some() && it.env.is_some()) {
                wrong.push((*field, "name either `file` or `env`, not both".to_owned()));
            }
        };
        if let Some(at) = &alertmanager {
            check("alertmanager.url", &at.url, &[("alertmanager.authorization", &at.authorization)]);
        }
        if let Some(at) = &webhook {
            let secrets = [("webhook.authorization", &at.authorization), ("webhook.secret", &at.secret)];
            check("webhook.url", &at.url, &secrets);
        }
        if let Some(at) = &slack {
            check("slack.url", &at.url, &[("slack.authorization", &at.authorization)]);
        }
        if let Some(at) = &otlp {
            check("otlp.url", &at.url, &[("otlp.authorization", &at.authorization)]);
        }
        let targets = [
            alertmanager.map(Target::Alertmanager),
            webhook.map(Target::Webhook),
            slack.map(Target::Slack),
            otlp.map(Target::Otlp),
            stdout.map(|Empty {}| Target::Stdout),
        ];
        let mut targets = targets.into_iter().flatten();
        let target = targets.next();
        if target.is_none() || targets.next().is_some() {
            wrong.push(("name", "must be exactly one of alertmanager, webhook, slack, otlp and stdout".to_owned()));
        }
        (Receiver { name, send_resolved, per_minute, target: target.unwrap_or(Target::Stdout) }, wrong)
    }
}
