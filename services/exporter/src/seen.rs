//! What one object, as it came with a list or a watch, is to the log.

use std::hash::{DefaultHasher, Hasher};
use std::io;

use epicenter_model::{Event, ObjectFacts};
use rustc_hash::FxHashMap;
use serde::Deserialize;

use crate::observation::Seen;
use crate::project::{self, Kind, ProjectError};
use crate::redact::Redaction;

/// Components of that prefix are ours: what they say of incidents is no evidence for incidents.
const OWN: &str = "epicenter.dev/";

/// A hash of each live object's facts, by a hash of its uid: 16 bytes an object. It suppresses updates that change
/// nothing of what is kept, such as a node's heartbeats.
#[derive(Default)]
pub(crate) struct Known(FxHashMap<u64, u64>);

impl Known {
    /// Remembers the facts; says whether they are new.
    pub(crate) fn insert(&mut self, facts: &mut ObjectFacts) -> bool {
        let version = std::mem::take(&mut facts.resource_version);
        let hash = hash_of(facts);
        facts.resource_version = version;
        self.0.insert(hash_of(&facts.object.uid), hash) != Some(hash)
    }

    pub(crate) fn remove(&mut self, facts: &ObjectFacts) {
        self.0.remove(&hash_of(&facts.object.uid));
    }

    /// It has all objects of `other`.
    pub(crate) fn has_all(&self, other: &Self) -> bool {
        other.0.keys().all(|uid| self.0.contains_key(uid))
    }
}

struct HashWriter(DefaultHasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hash_of(value: &impl serde::Serialize) -> u64 {
    let mut writer = HashWriter(DefaultHasher::new());
    // Neither the writer nor these types can fail.
    let _ = serde_json::to_writer(&mut writer, value);
    writer.0.finish()
}

/// Reads what came with a list or a watch of one scope.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) redaction: Redaction,
    /// The objects that there are.
    pub(crate) known: Known,
}

impl Reading {
    /// An Event, unless it is one of ours.
    pub(crate) fn event(&self, json: &[u8]) -> Result<Option<Event>, ProjectError> {
        let mut event = project::event(json)?;
        self.redaction.event(&mut event);
        Ok(Some(event).filter(|event| !event.component.starts_with(OWN)))
    }

    fn object(&self, kind: Kind, json: &[u8]) -> Result<ObjectFacts, ProjectError> {
        let mut facts = project::object_of(kind, json)?;
        self.redaction.object(&mut facts);
        Ok(facts)
    }

    /// An object of a list, whether it changed or not: what a list does not show is swept.
    pub(crate) fn listed(&mut self, kind: Kind, json: &[u8]) -> Result<Seen, ProjectError> {
        let mut facts = self.object(kind, json)?;
        self.known.insert(&mut facts);
        Ok(Seen::Object { facts: Box::new(facts), deleted: false, listed: true })
    }

    /// An object that was added or modified; nothing when nothing changed that is kept.
    pub(crate) fn changed(&mut self, kind: Kind, json: &[u8]) -> Result<Seen, ProjectError> {
        let mut facts = self.object(kind, json)?;
        if !self.known.insert(&mut facts) {
            return Ok(Seen::Nothing);
        }
        Ok(Seen::Object { facts: Box::new(facts), deleted: false, listed: false })
    }

    /// An object's last state.
    pub(crate) fn deleted(&mut self, kind: Kind, json: &[u8]) -> Result<Seen, ProjectError> {
        let facts = self.object(kind, json)?;
        self.known.remove(&facts);
        Ok(Seen::Object { facts: Box::new(facts), deleted: true, listed: false })
    }

    /// What cannot be read, for dead-letter. Where something is to be left out, nobody knows where it stands in this, nor
    /// what the error quotes of it.
    pub(crate) fn rejected(&self, json: &[u8], error: impl Into<Rejection>) -> Seen {
        let Rejection { what, unquoted } = error.into();
        if self.redaction.is_off() {
            return Seen::Rejected { payload: json.to_vec(), error: what };
        }
        let error = format!("{unquoted}; its {} bytes are held back, since exporter.redact is set", json.len());
        Seen::Rejected { payload: Vec::new(), error }
    }
}

/// Why something goes to dead-letter.
pub(crate) struct Rejection {
    what: String,
    /// The same, without a word of what it is about.
    unquoted: String,
}

impl From<String> for Rejection {
    fn from(what: String) -> Self {
        Self { unquoted: what.clone(), what }
    }
}

impl From<ProjectError> for Rejection {
    fn from(error: ProjectError) -> Self {
        let what = error.to_string();
        let unquoted = match error {
            ProjectError::Malformed { path, .. } => format!("malformed at `{path}`"),
            _ => what.clone(),
        };
        Self { what, unquoted }
    }
}

/// The place of an Event in a list of Events.
pub(crate) fn key_of(event: &Event) -> String {
    format!("{}/{}", event.namespace, event.name)
}

/// The resourceVersion of an object of which perhaps nothing else can be read.
pub(crate) fn version_of(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Versioned {
        metadata: Version,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        resource_version: String,
    }
    serde_json::from_slice::<Versioned>(json).ok().map(|object| object.metadata.resource_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppresses_what_changes_nothing_that_is_kept() {
        let pod = |version: &str, phase: &str| {
            format!(
                r#"{{"metadata":{{"name":"a","uid":"u","resourceVersion":"{version}"}},"status":{{"phase":"{phase}"}}}}"#
            )
        };
        let mut reading = Reading::default();
        let mut recorded = |version, phase| {
            matches!(reading.changed(Kind::Pod, pod(version, phase).as_bytes()), Ok(Seen::Object { .. }))
        };
        assert!(recorded("1", "Pending"));
        assert!(!recorded("2", "Pending"));
        assert!(recorded("3", "Running"));
        assert!(!recorded("4", "Running"));
    }

    #[test]
    fn never_reads_its_own_events() {
        let reading = Reading::default();
        let by =
            |component: &str| reading.event(format!(r#"{{"reportingController":"{component}"}}"#).as_bytes()).unwrap();
        assert!(by("epicenter.dev/sink").is_none());
        assert!(by("kubelet").is_some());
    }
}
