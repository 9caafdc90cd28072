//! An entry, ready for matching.

use epicenter_model::{Category, Entity, Event, Role, Severity};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::class::Classes;
use crate::scheduling::Predicates;
use crate::source::{CaseSource, EntitySource, EntryFile, EntrySource, Example, Names};
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
        let found = classes.get(class).ok_or_else(|| format!("no class is called `{class}`"))?;
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
    /// Number in the file, from 1.
    pub number: usize,
    /// Number and reasons.
    pub label: String,
    component: Pattern,
    kind: Pattern,
    event_type: Option<String>,
    pub reason: Pattern,
    message: Option<Regex>,
    meaning: Meaning,
    entities: Vec<EntityTemplate>,
    cases: Cases,
    predicates: Option<Predicates>,
    pub examples: Vec<(Event, Example)>,
}

/// What an Event that fits an entry comes to.
pub(crate) struct Reading<'a> {
    pub meaning: &'a Meaning,
    pub entities: Vec<Entity>,
    /// The case that refined it, by number.
    pub case: Option<usize>,
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
        // Anchored, so that a message cannot imitate another further in.
        let anchored = |pattern: &String| compile(&format!(r"\A(?:{pattern})"));
        let message = source.message.as_ref().map(anchored).transpose().map_err(|error| ("message", error))?;
        let mut meaning = Meaning::of(&source.class, classes).map_err(|error| ("class", error))?;
        meaning.severity = source.severity.unwrap_or(meaning.severity);
        meaning.role = source.role.unwrap_or(meaning.role);
        let example = |example: &Example| {
            let event = example.event(component, kind, source.event_type.as_deref(), &source.reason);
            let mut example = example.clone();
            example.class.get_or_insert_with(|| source.class.clone());
            (event, example)
        };
        Ok(Self {
            file: file.to_owned(),
            number,
            label: format!("entry {number} ({})", source.reason.as_slice().join(", ")),
            component: Pattern::new(component),
            kind: Pattern::new(kind),
            event_type: source.event_type.clone(),
            reason: Pattern::new(&source.reason),
            entities: templates(&source.entities, message.as_ref()).map_err(|error| ("entities", error))?,
            message,
            meaning,
            cases: Cases::parse(&source.cases, classes).map_err(|error| ("cases", error))?,
            predicates: Predicates::parse(&source.predicates, classes).map_err(|error| ("predicates", error))?,
            examples: source.examples.iter().map(example).collect(),
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
    pub fn read(&self, event: &Event, message: &str) -> Reading<'_> {
        let mut entities = Vec::new();
        expand(&self.entities, self.message.as_ref(), event, message, &mut entities);
        if let Some(table) = &self.predicates {
            let meaning = table.dominant(event, message, &mut entities).unwrap_or(&self.meaning);
            return Reading { meaning, entities, case: None };
        }
        let case = self.cases.first(message);
        let Some(row) = case.and_then(|case| self.cases.rows.get(case)) else {
            return Reading { meaning: &self.meaning, entities, case: None };
        };
        expand(&row.entities, Some(&row.text), event, message, &mut entities);
        Reading { meaning: &row.meaning, entities, case }
    }

    /// How many cases it tells apart.
    pub fn cases(&self) -> usize {
        self.cases.rows.len()
    }
}

/// Phrases, one of which may stand in a message.
#[derive(Debug)]
struct Cases {
    any: RegexSet,
    rows: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    text: Regex,
    meaning: Meaning,
    entities: Vec<EntityTemplate>,
}

impl Cases {
    fn parse(sources: &[CaseSource], classes: &Classes) -> Result<Self, String> {
        let row = |source: &CaseSource| {
            let text = compile(&source.text)?;
            let entities = templates(&source.entities, Some(&text))?;
            Ok(Case { meaning: Meaning::of(&source.class, classes)?, text, entities })
        };
        let texts = sources.iter().map(|source| &source.text);
        Ok(Self {
            any: RegexSetBuilder::new(texts).dot_matches_new_line(true).build().map_err(|error| error.to_string())?,
            rows: sources.iter().map(row).collect::<Result<_, String>>()?,
        })
    }

    fn first(&self, message: &str) -> Option<usize> {
        if self.rows.is_empty() { None } else { self.any.matches(message).iter().next() }
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).dot_matches_new_line(true).build();
    let regex = regex.map_err(|error| format!("not a regular expression: {error}"))?;
    match regex.capture_names().flatten().find(|name| OBJECT_FIELDS.contains(name)) {
        Some(name) => Err(format!("`{name}` means the object's own: give the capture another name")),
        None => Ok(regex),
    }
}

fn templates(sources: &[EntitySource], regex: Option<&Regex>) -> Result<Vec<EntityTemplate>, String> {
    let captures: Vec<&str> = regex.iter().flat_map(|regex| regex.capture_names().flatten()).collect();
    sources.iter().map(|source| EntityTemplate::parse(source, &captures)).collect()
}

fn expand(
    templates: &[EntityTemplate],
    regex: Option<&Regex>,
    event: &Event,
    message: &str,
    entities: &mut Vec<Entity>,
) {
    if !templates.is_empty() {
        let captures = regex.and_then(|regex| regex.captures(message));
        for template in templates {
            template.expand(event, captures.as_ref(), entities);
        }
    }
}
