//! The YAML files as they are written.

use std::collections::BTreeMap;

use epicenter_model::{Entity, Event, ObjectRef, Role, Severity};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::class::Class;
use crate::entry::Reading;

/// A catalogue that cannot be used; says where, and what to mend. Never retryable.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Not YAML, or an unknown, missing or mistyped field; the cause shows the line.
    #[error("{file}: {source}")]
    Yaml {
        /// The file.
        file: String,
        /// What the parser says.
        source: Box<serde_saphyr::Error>,
    },
    /// A field whose value makes no sense.
    #[error("{file}: {entry}: {field}: {problem}")]
    Invalid {
        /// The file.
        file: String,
        /// The entry: its number in the file, from 1, and its reasons; or the class.
        entry: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it, and how to mend it.
        problem: String,
    },
    /// No file of that name was given.
    #[error("{file} is missing: the class table must be among the files")]
    Missing {
        /// The file.
        file: &'static str,
    },
}

/// The class table, `classes.yaml`.
pub(crate) type ClassFile = BTreeMap<String, Class>;

/// All entries for one emitting component, as they stand in YAML. Only [`Builder`](crate::Builder) looks into it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryFile {
    /// Names of the component; of all entries that do not give their own.
    pub(crate) component: Names,
    /// Kinds of the regarding object; likewise.
    #[serde(default)]
    pub(crate) kind: Names,
    pub(crate) entries: Vec<EntrySource>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntrySource {
    pub component: Option<Names>,
    pub kind: Option<Names>,
    /// The Event's `type`, when it matters.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub reason: Names,
    /// Regular expression, anchored at the start of the message.
    pub message: Option<String>,
    pub class: String,
    pub severity: Option<Severity>,
    pub role: Option<Role>,
    #[serde(default)]
    pub entities: Vec<EntitySource>,
    /// What the message may say further in; the first case that it does say refines the class.
    #[serde(default)]
    pub cases: Vec<CaseSource>,
    /// Tiers of predicates of a FailedScheduling message; see `scheduling.rs`.
    #[serde(default)]
    pub predicates: Vec<Vec<PredicateSource>>,
    #[serde(default)]
    pub examples: Vec<Example>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseSource {
    /// Regular expression, anywhere in the message.
    pub text: String,
    pub class: String,
    #[serde(default)]
    pub entities: Vec<EntitySource>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntitySource {
    pub kind: String,
    #[serde(default)]
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredicateSource {
    /// Beginnings of the predicate's text; one `*` in it stands for anything.
    pub text: Names,
    pub class: String,
    /// Kind of the object that `*` names, in the pod's namespace.
    pub entity: Option<String>,
}

/// An input and what is expected of it. What is left out comes from the entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Example {
    component: Option<String>,
    kind: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    field_path: String,
    #[serde(default = "example_namespace")]
    namespace: String,
    #[serde(default = "example_name")]
    name: String,
    /// The expected class; the entry's own when left out.
    pub class: Option<String>,
    /// The expected entities, as `Kind name` or `Kind namespace/name`, in any order.
    #[serde(default)]
    entities: Vec<String>,
}

fn example_namespace() -> String {
    "shop".to_owned()
}

fn example_name() -> String {
    "web-1".to_owned()
}

impl Example {
    /// The Event that it describes, for an entry of these components, kinds and reasons.
    pub fn event(&self, component: &Names, kind: &Names, event_type: Option<&str>, reason: &Names) -> Event {
        let kind = self.kind.clone().unwrap_or_else(|| kind.sample("Pod"));
        let namespace = if kind == "Node" { String::new() } else { self.namespace.clone() };
        Event {
            component: self.component.clone().unwrap_or_else(|| component.sample("example")),
            regarding: ObjectRef::named(&kind, &namespace, &self.name),
            event_type: self.event_type.as_deref().or(event_type).unwrap_or("Normal").to_owned(),
            reason: self.reason.clone().unwrap_or_else(|| reason.sample("Example")),
            note: self.message.clone(),
            field_path: self.field_path.clone(),
            ..Event::default()
        }
    }
}

impl Example {
    /// What `reading` has otherwise than expected.
    pub fn differences(&self, reading: &Reading<'_>) -> Vec<String> {
        let describe = |Entity { kind, namespace, name }: &Entity| match namespace.as_str() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        };
        let mut differences = Vec::new();
        let class = &reading.meaning.class;
        if let Some(expected) = self.class.as_ref().filter(|expected| *expected != class) {
            differences.push(format!("{:?} is {class}, not {expected}", self.message));
        }
        let mut entities: Vec<String> = reading.entities.iter().map(describe).collect();
        let mut expected = self.entities.clone();
        entities.sort();
        expected.sort();
        if entities != expected {
            differences.push(format!("{:?} names {entities:?}, not {expected:?}", self.message));
        }
        differences
    }
}

/// One name or several, each exact or with a `*` at its end. Nothing is any name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Names {
    #[default]
    Any,
    One(String),
    Several(Vec<String>),
}

impl Names {
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::Any => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    /// A name that fits.
    fn sample(&self, fallback: &str) -> String {
        let name = self.as_slice().first().map_or("", |name| name.trim_end_matches('*'));
        if name.is_empty() { fallback } else { name }.to_owned()
    }
}

/// Reads one file.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CatalogError> {
    serde_saphyr::from_str(text)
        .map_err(|source| CatalogError::Yaml { file: file.to_owned(), source: Box::new(source) })
}
