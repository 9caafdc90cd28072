//! What a receiver is told.

use std::collections::BTreeMap;

use epicenter_model::{Incident, IncidentState, Timestamp};
use serde::{Deserialize, Serialize};

/// Why a receiver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The incident is open, and the receiver did not know.
    Firing,
    /// It has become more severe.
    Worse,
    /// It is still open.
    Repeat,
    /// It is over.
    Resolved,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Worse => "worse",
            Self::Repeat => "repeat",
            Self::Resolved => "resolved",
        }
    }
}

/// What a receiver is told of an incident. Telling it again, after a crash, is the same to the byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Why.
    pub kind: Kind,
    /// How often the incident was repeated in this version, this one included.
    pub repeats: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// The incident, without members.
    pub incident: Incident,
    /// What names the incident to the receiver: as it was when it was told first, or became more severe.
    pub labels: BTreeMap<String, String>,
    /// What named it before, when that was something else.
    pub before: Option<BTreeMap<String, String>>,
}

impl Notice {
    /// Names the notice among all of all receivers: cluster, incident and version, and which repetition it is.
    pub fn key(&self) -> String {
        let Incident { cluster, id, version, .. } = &self.incident;
        match self.kind {
            Kind::Repeat => format!("{cluster}/{id}/{version}/{}", self.repeats),
            _ => format!("{cluster}/{id}/{version}"),
        }
    }

    /// One line.
    pub fn summary(&self) -> String {
        let Incident { severity, title, cluster, .. } = &self.incident;
        match self.kind {
            Kind::Firing => format!("[{severity}] {cluster}: {title}"),
            Kind::Worse => format!("[{severity}, worse than before] {cluster}: {title}"),
            Kind::Repeat => format!("[{severity}, still open] {cluster}: {title}"),
            Kind::Resolved => format!("[{}] {cluster}: {title}", self.incident.state),
        }
    }

    /// A few sentences.
    pub fn description(&self) -> String {
        let mut sentences = self.incident.explanation.clone();
        if let (IncidentState::Merged, Some(into)) = (self.incident.state, &self.incident.merged_into) {
            sentences.push(format!("It is part of incident {into}."));
        }
        sentences.join(" ")
    }

    /// What to type to see more.
    pub fn command(&self) -> String {
        format!("epicenter show {}", self.incident.id)
    }
}

/// What names an incident to receivers that know labels.
pub(crate) fn labels(incident: &Incident) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), "EpicenterIncident".to_owned()),
        ("incident".to_owned(), incident.id.clone()),
        ("cluster".to_owned(), incident.cluster.clone()),
        ("severity".to_owned(), incident.severity.name().to_owned()),
        ("category".to_owned(), incident.category.name().to_owned()),
        ("class".to_owned(), incident.cause.class.clone()),
    ]);
    if let [namespace] = incident.impact.namespaces.as_slice() {
        labels.insert("namespace".to_owned(), namespace.clone());
    }
    labels
}
