//! Reads a file of alerts: all of it, or all that is wrong with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use epicenter_model::Severity;
use epicenter_rules::{Content, IncidentCondition, Node, Problem, Problems, Wrong};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::receiver::{Address, Receiver, ReceiverSource};
use crate::rule::{Rule, Rules};

/// The largest file, bytes.
const LARGEST: usize = 1 << 20;
/// Each receiver has a thread and a reader of its own.
const MOST_RECEIVERS: usize = 32;
const MOST_RULES: usize = 200;
const GROUP_WAIT: Duration = Duration::from_secs(30);
const REPEAT_INTERVAL: Duration = Duration::from_secs(4 * 3600);
const SECTIONS: [&str; 3] = ["receivers", "rules", "watchdog"];

/// Who is told of which incidents.
#[derive(Debug)]
pub struct Alerts {
    /// Who can be told.
    pub receivers: Vec<Arc<Receiver>>,
    /// Who is told of what.
    pub rules: Arc<Rules>,
    /// The dead-man's switch.
    pub watchdog: Option<Watchdog>,
}

/// Who is told that the pipeline works, and how often: when that stops, something is broken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    /// How often.
    #[serde(deserialize_with = "duration", default = "every")]
    pub every: Duration,
    /// Receivers of kind `alertmanager`: they get an alert `EpicenterWatchdog` that always fires.
    #[serde(default)]
    pub receivers: Vec<String>,
    /// A URL that is called.
    pub heartbeat: Option<Address>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSource {
    name: String,
    when: Option<String>,
    #[serde(default = "low")]
    severity: Severity,
    #[serde(default)]
    receivers: Vec<String>,
    #[serde(default)]
    mute: bool,
    #[serde(default, rename = "continue")]
    goes_on: bool,
    #[serde(deserialize_with = "duration", default = "group_wait")]
    group_wait: Duration,
    #[serde(deserialize_with = "duration", default = "repeat_interval")]
    repeat_interval: Duration,
}

fn every() -> Duration {
    Duration::from_secs(60)
}

fn low() -> Severity {
    Severity::Low
}

fn group_wait() -> Duration {
    GROUP_WAIT
}

fn repeat_interval() -> Duration {
    REPEAT_INTERVAL
}

/// `30s`, `5m`, `4h`, `1h 30m`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| duration.try_into().ok());
    parsed.ok_or_else(|| D::Error::custom(format!("`{text}` is no duration such as 30s, 5m or 4h")))
}

impl Alerts {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// All that is wrong, each with its line and field.
    pub fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader { file, problems: Vec::new() };
        let alerts = reader.alerts(text);
        reader.problems.sort_by_key(|problem| problem.line);
        match alerts {
            Some(alerts) if reader.problems.is_empty() => Ok(alerts),
            _ => Err(Problems(reader.problems)),
        }
    }

    /// The receiver of that name.
    pub fn receiver(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }
}

struct Reader<'f> {
    file: &'f str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, (line, field, what): Wrong) {
        self.problems.push(Problem { file: self.file.to_owned(), line, field, what });
    }

    fn alerts(&mut self, text: &str) -> Option<Alerts> {
        if text.len() > LARGEST {
            self.wrong((1, String::new(), format!("it has {} bytes, {LARGEST} are allowed", text.len())));
            return None;
        }
        let document = Node::parse(text).map_err(|wrong| self.wrong(wrong)).ok()?;
        let Content::Table(rows) = &document.content else {
            let what = format!("must be a table with the sections {}", SECTIONS.join(", "));
            self.wrong((document.line, String::new(), what));
            return None;
        };
        for (key, line, _) in rows.iter().filter(|(key, ..)| !SECTIONS.contains(&key.as_str())) {
            let what = format!("is no section of a file of alerts: there are {}", SECTIONS.join(", "));
            self.wrong((*line, key.clone(), what));
        }
        let receivers = self.receivers(&document);
        let rules = self.rules(&document, &receivers);
        let watchdog = self.watchdog(&document, &receivers);
        let receivers = receivers.into_iter().map(Arc::new).collect();
        Some(Alerts { receivers, rules: Arc::new(Rules(rules)), watchdog })
    }

    /// The items of a section that can be read, each with its place.
    fn items<'n, T: DeserializeOwned>(
        &mut self,
        document: &'n Node,
        section: &str,
        most: usize,
    ) -> Vec<(String, &'n Node, T)> {
        let Some(node) = document.get(section) else { return Vec::new() };
        let Content::List(items) = &node.content else {
            self.wrong((node.line, section.to_owned(), "must be a list".to_owned()));
            return Vec::new();
        };
        if items.len() > most {
            self.wrong((node.line, section.to_owned(), format!("has {} items, {most} are allowed", items.len())));
        }
        let mut found = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{section}[{index}]");
            match item.read::<T>(&place) {
                Ok(read) => found.push((place, item, read)),
                Err(wrong) => self.wrong(wrong),
            }
        }
        found
    }

    fn receivers(&mut self, document: &Node) -> Vec<Receiver> {
        let mut receivers: Vec<Receiver> = Vec::new();
        for (place, item, source) in self.items::<ReceiverSource>(document, "receivers", MOST_RECEIVERS) {
            let twice = receivers.iter().any(|other| other.name == source.name);
            let (receiver, mut wrongs) = source.read();
            if twice {
                wrongs.push(("name", format!("`{}` is used twice: give it another", receiver.name)));
            }
            for (field, what) in wrongs {
                self.wrong((item.line_of(&field.split('.').collect::<Vec<_>>()), format!("{place}.{field}"), what));
            }
            receivers.push(receiver);
        }
        if receivers.is_empty() && self.problems.is_empty() {
            let what = "there is none: name who is told, such as {name: screen, stdout: {}}".to_owned();
            self.wrong((document.line, "receivers".to_owned(), what));
        }
        receivers
    }

    fn rules(&mut self, document: &Node, receivers: &[Receiver]) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (place, item, source) in self.items::<RuleSource>(document, "rules", MOST_RULES) {
            let mut wrong = |field: &str, what: String| {
                self.wrong((item.line_of(&[field]), format!("{place}.{field}"), what));
            };
            if source.name.is_empty() || rules.iter().any(|rule| rule.name == source.name) {
                wrong("name", "must be a name that no other rule has".to_owned());
            }
            if source.receivers.is_empty() != source.mute {
                wrong("receivers", "name at least one, or say `mute: true`, and not both".to_owned());
            }
            for name in unknown(&source.receivers, receivers) {
                wrong("receivers", format!("no receiver is called `{name}`"));
            }
            if source.repeat_interval < Duration::from_secs(60) {
                wrong("repeat_interval", "must be at least 1m".to_owned());
            }
            let when = match source.when.as_deref().map(IncidentCondition::compile).transpose() {
                Ok(when) => when,
                Err(what) => {
                    wrong("when", what);
                    None
                }
            };
            let RuleSource { name, severity, receivers, goes_on, group_wait, repeat_interval, .. } = source;
            rules.push(Rule { name, severity, when, receivers, goes_on, group_wait, repeat_interval });
        }
        rules
    }

    fn watchdog(&mut self, document: &Node, receivers: &[Receiver]) -> Option<Watchdog> {
        let node = document.get("watchdog")?;
        let watchdog = node.read::<Watchdog>("watchdog").map_err(|wrong| self.wrong(wrong)).ok()?;
        let mut wrong = |field: &str, what: String| {
            self.wrong((node.line_of(&[field]), format!("watchdog.{field}"), what));
        };
        if watchdog.every < Duration::from_secs(10) {
            wrong("every", "must be at least 10s".to_owned());
        }
        if watchdog.receivers.is_empty() && watchdog.heartbeat.is_none() {
            wrong("receivers", "name an alertmanager, or a `heartbeat` URL".to_owned());
        }
        for name in unknown(&watchdog.receivers, receivers) {
            wrong("receivers", format!("no receiver is called `{name}`"));
        }
        for name in &watchdog.receivers {
            if receivers.iter().any(|receiver| receiver.name == *name && !receiver.keeps_alive()) {
                wrong("receivers", format!("`{name}` is no alertmanager: only that tells when an alert is missing"));
            }
        }
        if let Some(Err(what)) = watchdog.heartbeat.as_ref().map(Address::check) {
            wrong("heartbeat", what);
        }
        Some(watchdog)
    }
}

fn unknown<'n>(names: &'n [String], receivers: &[Receiver]) -> BTreeSet<&'n String> {
    names.iter().filter(|name| !receivers.iter().any(|receiver| receiver.name == **name)).collect()
}

#[cfg(test)]
mod tests;
