//! Events of applications, in two forms: CloudEvents 1.0 in JSON, alone or in a batch (cloudevents/spec
//! `cloudevents/formats/json-format.md`), and a smaller one of our own.

use epicenter_model::{Event, ObjectRef, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The component of Events that applications have sent, in front of the source that they name.
const COMPONENT: &str = "application/";
/// Events in one request.
const MOST: usize = 1000;
/// The longest name, bytes: that of an object in Kubernetes.
const NAME: usize = 253;
/// The longest message, bytes.
const MESSAGE: usize = 8 * 1024;

/// Kinds whose `apiVersion` need not be said.
const KINDS: [(&str, &str); 14] = [
    ("Pod", "v1"),
    ("Node", "v1"),
    ("Namespace", "v1"),
    ("Service", "v1"),
    ("PersistentVolumeClaim", "v1"),
    ("PersistentVolume", "v1"),
    ("Deployment", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("Job", "batch/v1"),
    ("CronJob", "batch/v1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2"),
    ("Ingress", "networking.k8s.io/v1"),
];

/// In which form a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/cloudevents+json`: one.
    CloudEvent,
    /// `application/cloudevents-batch+json`: an array of them.
    CloudEvents,
    /// `application/json`: one of the small form, or an array of them.
    Json,
}

/// Why a body has no events. Never retryable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{what}")]
pub struct FormError {
    /// Which event, and which field.
    place: String,
    /// What is wrong with it, and how to mend it.
    what: String,
}

/// How bad it is, as the application says.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    #[default]
    Warning,
    Info,
    /// What was told before is over.
    Recovered,
}

/// The small form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Small {
    id: String,
    source: String,
    reason: String,
    message: String,
    regarding: Regarding,
    #[serde(default)]
    level: Level,
    time: Option<Timestamp>,
}

/// A CloudEvent. Attributes that are not named here are extensions, and are passed over.
#[derive(Debug, Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    subject: Option<String>,
    time: Option<Timestamp>,
    data: Option<Data>,
}

/// What is looked at of a CloudEvent's `data`.
#[derive(Debug, Deserialize)]
struct Data {
    message: String,
    #[serde(default)]
    level: Level,
    reason: Option<String>,
    regarding: Option<Regarding>,
}

/// An object: `Kind/namespace/name`, `Kind/name` for what has no namespace, or in full.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Regarding {
    Short(String),
    #[serde(rename_all = "camelCase")]
    Full {
        api_version: String,
        kind: String,
        #[serde(default)]
        namespace: String,
        name: String,
    },
}

impl MediaType {
    /// By the value of a `content-type` header.
    pub fn of(header: &str) -> Option<Self> {
        let media = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match media.as_str() {
            "application/cloudevents+json" => Self::CloudEvent,
            "application/cloudevents-batch+json" => Self::CloudEvents,
            "application/json" => Self::Json,
            _ => return None,
        })
    }
}

/// The Events that a body has. The same event, by its id and its source, is the same Event: it counts once, within two hours
/// of its cluster's log time.
///
/// # Errors
/// The first thing that is wrong, and where. Nothing is to be taken of such a body.
pub fn read(media: MediaType, body: &[u8]) -> Result<Vec<Event>, FormError> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| FormError { place: String::new(), what: format!("the body is not JSON: {error}") })?;
    let items = match (media, document) {
        (MediaType::CloudEvents | MediaType::Json, Value::Array(items)) => items,
        (MediaType::CloudEvent | MediaType::Json, one @ Value::Object(_)) => vec![one],
        (MediaType::CloudEvent, _) => {
            return Err(whole(
                "a CloudEvent is a JSON object; a batch has the content-type application/cloudevents-batch+json",
            ));
        }
        (MediaType::CloudEvents, _) => return Err(whole("a batch of CloudEvents is a JSON array")),
        (MediaType::Json, _) => return Err(whole("the body must be an event, or an array of events")),
    };
    if items.len() > MOST {
        return Err(whole(&format!(
            "the body has {} events and {MOST} are allowed: send several requests",
            items.len()
        )));
    }
    let mut events = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let event = match media {
            MediaType::Json => parse::<Small>(item).and_then(Small::event),
            MediaType::CloudEvent | MediaType::CloudEvents => parse::<CloudEvent>(item).and_then(CloudEvent::event),
        };
        events.push(event.map_err(|FormError { place, what }| {
            let place = if place.is_empty() { String::new() } else { format!("`{place}`: ") };
            FormError { place: format!("event {index}: {place}"), what }
        })?);
    }
    Ok(events)
}

fn whole(what: &str) -> FormError {
    FormError { place: String::new(), what: what.to_owned() }
}

fn wrong(field: &str, what: impl Into<String>) -> FormError {
    FormError { place: field.to_owned(), what: what.into() }
}

fn parse<T: DeserializeOwned>(item: Value) -> Result<T, FormError> {
    serde_path_to_error::deserialize(item).map_err(|error| {
        let place = error.path().to_string();
        FormError { place: if place == "." { String::new() } else { place }, what: error.inner().to_string() }
    })
}

impl CloudEvent {
    fn event(self) -> Result<Event, FormError> {
        if self.specversion != "1.0" {
            return Err(wrong("specversion", format!("must be \"1.0\" and is {:?}", self.specversion)));
        }
        let data = self.data.ok_or_else(|| wrong("data", "is missing: it must have at least a `message`"))?;
        let regarding = data.regarding.or(self.subject.map(Regarding::Short)).ok_or_else(|| {
            wrong("subject", "is missing: name the object that it is about, such as Deployment/shop/checkout, there or in `data.regarding`")
        })?;
        // The end of com.example.shop.PaymentFailed.
        let named = self.r#type.rsplit('.').next().unwrap_or_default().to_owned();
        Small {
            id: self.id,
            source: self.source,
            reason: data.reason.unwrap_or(named),
            message: data.message,
            regarding,
            level: data.level,
            time: self.time,
        }
        .event()
    }
}

impl Small {
    fn event(self) -> Result<Event, FormError> {
        let Self { id, source, reason, message, regarding, level, time } = self;
        let texts =
            [("id", &id, NAME), ("source", &source, NAME), ("reason", &reason, NAME), ("message", &message, MESSAGE)];
        for (field, text, most) in texts {
            if text.is_empty() || text.len() > most {
                return Err(wrong(field, format!("has {} bytes and must have 1 to {most}", text.len())));
            }
        }
        let regarding = regarding.object()?;
        let digest = Sha256::digest([source.as_str(), &id].join("\0"));
        let uid = data_encoding::HEXLOWER.encode(&digest[..16]);
        let event_type = match level {
            Level::Error => "Error",
            Level::Warning => "Warning",
            Level::Info => "Normal",
            Level::Recovered => "Recovered",
        };
        Ok(Event {
            namespace: if regarding.namespace.is_empty() { "default".to_owned() } else { regarding.namespace.clone() },
            name: format!("{}.{}", regarding.name, &uid[..16]),
            uid,
            resource_version: "1".to_owned(),
            regarding,
            reason,
            note: message,
            event_type: event_type.to_owned(),
            component: [COMPONENT, &source].concat(),
            instance: id,
            event_at: time,
            ..Event::default()
        })
    }
}

impl Regarding {
    fn object(self) -> Result<ObjectRef, FormError> {
        let object = match self {
            Self::Full { api_version, kind, namespace, name } => {
                ObjectRef { api_version, ..ObjectRef::named(&kind, &namespace, &name) }
            }
            Self::Short(text) => {
                let parts: Vec<&str> = text.split('/').collect();
                let (kind, namespace, name) = match parts[..] {
                    [kind, namespace, name] => (kind, namespace, name),
                    [kind, name] => (kind, "", name),
                    _ => {
                        return Err(wrong(
                            "regarding",
                            format!(
                                "{text:?} names no object: write Kind/namespace/name, such as Deployment/shop/checkout"
                            ),
                        ));
                    }
                };
                let Some((_, api_version)) = KINDS.iter().find(|(known, _)| *known == kind) else {
                    return Err(wrong(
                        "regarding",
                        format!(
                            "the apiVersion of {kind:?} is not known: write {{\"apiVersion\", \"kind\", \"namespace\", \"name\"}}"
                        ),
                    ));
                };
                ObjectRef { api_version: (*api_version).to_owned(), ..ObjectRef::named(kind, namespace, name) }
            }
        };
        let parts = [&object.api_version, &object.kind, &object.name];
        let bad = |text: &str| text.len() > NAME || text.contains(|c: char| c.is_control() || c.is_whitespace());
        if parts.iter().any(|part| part.is_empty()) || parts.iter().any(|part| bad(part)) || bad(&object.namespace) {
            return Err(wrong(
                "regarding",
                "kind, namespace and name must be those of an object, of up to 253 bytes without blanks",
            ));
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests;
