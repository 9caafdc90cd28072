//! An entry, ready for matching.

use epicenter_model::{Category, Entity, Event, Role, Severity};
use regex::{Regex, RegexBuilder};

use crate::class::Classes;
use crate::scheduling::Predicates;
use crate::source::{EntryFile, EntrySource, Example, Names};
use crate::template::{EntityTemplate, OBJECT_FIELDS};

/// A class and what it means here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Meaning {
    pub class: String,
    pub category: Category,
    pub severity: Severity,
    pub role: Role,
}

impl Meaning {
    /// The meaning that the class table gives to `class`.
    pub fn of(class: &str, classes: &Classes) -> Result<Self, String> {
        let found = classes.get(class).ok_or_else(|| format!("`{class}` is not in classes.yaml"))?;
        Ok(Self { class: class.to_owned(), category: found.category, severity: found.severity, role: found.role })
    }
}

/// Which names fit: any, or some that are exact or begin alike.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<(String, bool)>);

impl Pattern {
    pub fn new(names: &Names) -> Self {
        let part = |name: &String| match name.strip_suffix('*') {
            Some(prefix) => (prefix.to_owned(), true),
            None => (name.clone(), false),
        };
        Self(names.as_slice().iter().map(part).collect())
    }

    pub fn fits(&self, name: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|(text, open)| if *open { name.starts_with(text.as_str()) } else { name == text })
    }

    /// Each name, and whether it is only a beginning.
    pub fn names(&self) -> &[(String, bool)] {
        &self.0
    }
}

/// An entry of the catalogue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub file: String,
    /// Number in the file, from 1, and reasons.
    pub label: String,
    component: Pattern,
    kind: Pattern,
    event_type: Option<String>,
    pub reason: Pattern,
    message: Option<Regex>,
    pub meaning: Meaning,
    entities: Vec<EntityTemplate>,
    predicates: Option<Predicates>,
    pub examples: Vec<(Event, Example)>,
}

/// Why an entry cannot be used: the field, and the problem.
type Problem = (&'static str, String);

impl Entry {
    /// Reads the `number`th entry of a file.
    pub fn parse(
        (file, number): (&str, usize),
        defaults: &EntryFile,
        source: &EntrySource,
        classes: &Classes,
    ) -> Result<Self, Problem> {
        let component = source.component.as_ref().unwrap_or(&defaults.component);
        let kind = source.kind.as_ref().unwrap_or(&defaults.kind);
        if source.reason.as_slice().is_empty() {
            return Err(("reason", "must name a reason; `*` stands for any".to_owned()));
        }
        let message = source.message.as_deref().map(anchored).transpose().map_err(|error| ("message", error))?;
        let captures: Vec<&str> = message.iter().flat_map(|regex| regex.capture_names().flatten()).collect();
        if let Some(reserved) = captures.iter().find(|name| OBJECT_FIELDS.contains(name)) {
            return Err(("message", format!("`{reserved}` means the object's own: give the capture another name")));
        }
        let mut meaning = Meaning::of(&source.class, classes).map_err(|error| ("class", error))?;
        meaning.severity = source.severity.unwrap_or(meaning.severity);
        meaning.role = source.role.unwrap_or(meaning.role);
        let entities = source.entities.iter().map(|entity| EntityTemplate::parse(entity, &captures));
        let entities = entities.collect::<Result<_, _>>().map_err(|error| ("entities", error))?;
        let event = |example: &Example| example.event(component, kind, source.event_type.as_deref(), &source.reason);
        Ok(Self {
            file: file.to_owned(),
            label: format!("entry {number} ({})", source.reason.as_slice().join(", ")),
            component: Pattern::new(component),
            kind: Pattern::new(kind),
            event_type: source.event_type.clone(),
            reason: Pattern::new(&source.reason),
            message,
            meaning,
            entities,
            predicates: Predicates::parse(&source.predicates, classes).map_err(|error| ("predicates", error))?,
            examples: source.examples.iter().map(|example| (event(example), example.clone())).collect(),
        })
    }

    /// Whether `event` is one of this kind; `message` is its text, bounded and without the recorder's prefix. The reason
    /// is known to fit.
    pub fn fits(&self, event: &Event, message: &str) -> bool {
        self.component.fits(&event.component)
            && self.kind.fits(&event.regarding.kind)
            && self.event_type.as_ref().is_none_or(|wanted| *wanted == event.event_type)
            && self.message.as_ref().is_none_or(|regex| regex.is_match(message))
    }

    /// What `event`, which fits, means, and the objects that its text names.
    pub fn read(&self, event: &Event, message: &str) -> (&Meaning, Vec<Entity>) {
        let mut entities = Vec::new();
        if !self.entities.is_empty() {
            let captures = self.message.as_ref().and_then(|regex| regex.captures(message));
            for template in &self.entities {
                template.expand(event, captures.as_ref(), &mut entities);
            }
        }
        let dominant = self.predicates.as_ref().and_then(|table| table.dominant(event, message, &mut entities));
        (dominant.unwrap_or(&self.meaning), entities)
    }
}

/// A regular expression that fits from the start of the text, so that a message cannot imitate another further in.
fn anchored(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})"))
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| format!("not a regular expression: {error}"))
}
