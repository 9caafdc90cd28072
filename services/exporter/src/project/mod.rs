//! From what the API server sends to what is recorded, without building what is not kept: specs, managedFields and
//! everything else that is not named here is skipped while reading.
//!
//! Pure; `epicenter replay` reads files by the same functions.

mod event;
mod kind;
mod meta;
mod object;
mod pod;

use epicenter_model::{Event, ObjectFacts};
use serde::Deserialize;

pub use kind::Kind;

/// Why JSON is no Event or object. Never retryable: the same bytes fail again.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It is no JSON, is cut off, or a field has another type than Kubernetes gives it.
    #[error("malformed at `{path}`: {source}; it is not what a Kubernetes API server writes")]
    Malformed {
        /// Path of the field, `.` for the document itself.
        path: String,
        /// What is wrong there, with line and column.
        source: serde_json::Error,
    },
    /// An object of another kind, where an Event was expected.
    #[error("it is a {kind} of {api_version}, not an Event of v1 or events.k8s.io")]
    NotAnEvent {
        /// Its kind.
        kind: String,
        /// Its apiVersion.
        api_version: String,
    },
    /// An object that has no name.
    #[error("a {kind} without `metadata.name`: nothing can refer to it")]
    Nameless {
        /// Its kind.
        kind: &'static str,
    },
}

/// Reads an Event, of core/v1 or events.k8s.io/v1. Whatever is missing or null is left empty.
pub fn event(json: &[u8]) -> Result<Event, ProjectError> {
    event::project(read(json)?)
}

/// Reads an object, by its own apiVersion and kind; `None` when nothing is kept of such objects.
pub fn object(json: &[u8]) -> Result<Option<ObjectFacts>, ProjectError> {
    let of: meta::TypeMeta = read(json)?;
    let api_version = of.api_version.unwrap_or_default();
    match Kind::of(&api_version, &of.kind.unwrap_or_default()) {
        Some(kind) => object_of(kind, json).map(|facts| Some(with_api_version(facts, api_version))),
        None => Ok(None),
    }
}

/// Reads an object that is known to be of `kind`: the items of a list do not say what they are.
pub fn object_of(kind: Kind, json: &[u8]) -> Result<ObjectFacts, ProjectError> {
    match kind {
        Kind::Pod => object::pod(read(json)?),
        other => object::other(other, read(json)?),
    }
}

fn with_api_version(mut facts: ObjectFacts, api_version: String) -> ObjectFacts {
    facts.object.api_version = api_version;
    facts
}

/// Reads without paths, which costs nothing; reads again with them when that fails.
pub(crate) fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, ProjectError> {
    serde_json::from_slice(json).map_err(|source| {
        let path = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(json))
            .err()
            .map_or_else(|| ".".to_owned(), |error| error.path().to_string());
        ProjectError::Malformed { path, source }
    })
}

#[cfg(test)]
mod tests;
