//! What a condition can look at, in CEL's terms.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, Env, ExecutionError, Value};
use epicenter_catalog::Classified;
use epicenter_model::{Event, ObjectRef};
use regex::Regex;
use rustc_hash::FxHashMap;

use crate::condition::{Condition, Vocabulary};

/// The variable with the Event's fields.
const EVENT: &str = "event";

/// The other variables: where the Event is from, and what it means without rules of one's own.
const VARIABLES: [&str; 5] = ["cluster", "class", "category", "severity", "role"];

/// The fields of [`EVENT`], as `epicenter events -o json` spells them.
const FIELDS: [&str; 14] = [
    "reason",
    "note",
    "type",
    "regarding",
    "related",
    "namespace",
    "name",
    "component",
    "instance",
    "host",
    "action",
    "fieldPath",
    "labels",
    "annotations",
];

/// Those of them that are objects, and the fields of these.
const OBJECTS: [&str; 2] = ["regarding", "related"];
const OBJECT: [&str; 4] = ["apiVersion", "kind", "namespace", "name"];

/// What a condition over an Event can look at.
pub(crate) static OF_EVENTS: Vocabulary = Vocabulary {
    root: EVENT,
    what: "an Event",
    fields: &FIELDS,
    tables: &OBJECTS,
    table: &OBJECT,
    variables: &VARIABLES,
};

/// How much of a text is looked at, bytes; the catalogue looks at as much.
const TEXT: usize = 4096;
/// How many labels and annotations are looked at.
const PAIRS: usize = 64;

/// Makes subjects of Events.
pub(crate) struct Subjects {
    env: Arc<Env>,
    fields: Vec<&'static str>,
    patterns: Arc<FxHashMap<String, Regex>>,
}

impl std::fmt::Debug for Subjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subjects").field("fields", &self.fields).finish_non_exhaustive()
    }
}

impl Subjects {
    /// For these conditions: with the fields that they look at and no others.
    pub fn new<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Self {
        let (mut fields, mut patterns) = (Vec::new(), FxHashMap::default());
        for condition in conditions {
            fields.extend(&condition.fields);
            patterns.extend(condition.patterns.iter().cloned());
        }
        fields.sort_unstable();
        fields.dedup();
        Self { env: Arc::new(Env::stdlib()), fields, patterns: Arc::new(patterns) }
    }

    /// An Event of `cluster` with the meaning that the catalogue gives it.
    pub fn of(&self, cluster: &str, event: &Event, meaning: &Classified<'_>) -> Context<'static, 'static> {
        let mut subject = Context::with_env(Arc::clone(&self.env));
        let fields: HashMap<String, Value> =
            self.fields.iter().map(|name| ((*name).to_owned(), field(event, name))).collect();
        subject.add_variable_from_value(EVENT, fields);
        let Classified { class, category, severity, role, .. } = meaning;
        for (name, value) in VARIABLES.into_iter().zip([cluster, class, category.name(), severity.name(), role.name()])
        {
            subject.add_variable_from_value(name, value.to_owned());
        }
        add_patterns(&mut subject, &self.patterns);
        subject
    }
}

/// Lets `subject` match against `patterns`, which were compiled with their condition.
pub(crate) fn add_patterns(subject: &mut Context<'_, '_>, patterns: &Arc<FxHashMap<String, Regex>>) {
    if patterns.is_empty() {
        return;
    }
    let patterns = Arc::clone(patterns);
    let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| match patterns.get(&*pattern) {
        Some(regex) => Ok(regex.is_match(&text)),
        None => Err(ExecutionError::function_error("matches", "the pattern is not written out")),
    };
    // Only an overload of the same name would be in its way: the library is built without its own.
    let _ = subject.add_function("matches", matches);
}

fn field(event: &Event, name: &str) -> Value {
    match name {
        "reason" => text(&event.reason),
        "note" => text(&event.note),
        "type" => text(&event.event_type),
        "regarding" => object(&event.regarding),
        "related" => event.related.as_ref().map_or_else(|| object(&ObjectRef::default()), object),
        "namespace" => text(&event.namespace),
        "name" => text(&event.name),
        "component" => text(&event.component),
        "instance" => text(&event.instance),
        "host" => text(&event.host),
        "action" => text(&event.action),
        "fieldPath" => text(&event.field_path),
        "labels" => pairs(&event.labels),
        "annotations" => pairs(&event.annotations),
        _ => Value::Null,
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(Arc::new(text[..text.floor_char_boundary(TEXT)].to_owned()))
}

pub(crate) fn object(object: &ObjectRef) -> Value {
    let fields = [&object.api_version, &object.kind, &object.namespace, &object.name];
    OBJECT.into_iter().zip(fields).map(|(name, value)| (name.to_owned(), text(value))).collect::<HashMap<_, _>>().into()
}

fn pairs(pairs: &BTreeMap<String, String>) -> Value {
    pairs.iter().take(PAIRS).map(|(key, value)| (key.clone(), text(value))).collect::<HashMap<_, _>>().into()
}
