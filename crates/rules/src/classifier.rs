//! What an Event means, by the catalogue and by rules of one's own.

use std::sync::Arc;

use epicenter_catalog::{Catalog, Classified};
use epicenter_model::Event;
use rustc_hash::FxHashMap;

use crate::source::{Action, Change, EventRule};
use crate::subject::Subjects;

/// Says what Events mean.
#[derive(Debug)]
pub struct Classifier {
    catalog: Arc<Catalog>,
    rules: Vec<EventRule>,
    /// The rules that may concern a class, in their order; none for a class that is not in it.
    by_class: FxHashMap<String, Vec<usize>>,
    subjects: Option<Subjects>,
}

/// What an Event means, and how that came.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Its meaning.
    pub meaning: Classified<'a>,
    /// The rule that decided, if any.
    pub rule: Option<&'a EventRule>,
    /// Rules of which it could not be told whether they hold, and why; they count as not holding.
    pub failed: Vec<(&'a EventRule, String)>,
}

impl Reading<'_> {
    /// Whether it goes no further.
    pub fn is_dropped(&self) -> bool {
        self.rule.is_some_and(|rule| rule.then == Action::Drop)
    }
}

impl Classifier {
    /// By the built-in catalogue alone.
    pub fn builtin() -> Self {
        Self { catalog: Arc::clone(Catalog::builtin()), rules: vec![], by_class: FxHashMap::default(), subjects: None }
    }

    /// By `catalog`, and by `rules`, each with the classes that it may concern.
    pub(crate) fn new(catalog: Arc<Catalog>, rules: Vec<(EventRule, Vec<String>)>) -> Self {
        let mut by_class: FxHashMap<String, Vec<usize>> = FxHashMap::default();
        let mut kept = Vec::new();
        for (index, (rule, classes)) in rules.into_iter().enumerate() {
            for class in classes {
                by_class.entry(class).or_default().push(index);
            }
            kept.push(rule);
        }
        let conditions = || kept.iter().filter_map(|rule| rule.when.as_ref());
        let subjects = conditions().next().is_some().then(|| Subjects::new(conditions()));
        Self { catalog, rules: kept, by_class, subjects }
    }

    /// The rules about Events, in the order in which they are asked.
    pub fn rules(&self) -> &[EventRule] {
        &self.rules
    }

    /// The catalogue, with the classes and entries of one's own.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What `event`, of `cluster`, means. The first rule that holds decides.
    pub fn read(&self, cluster: &str, event: &Event) -> Reading<'_> {
        let meaning = self.catalog.classify(event);
        let mut reading = Reading { meaning, rule: None, failed: Vec::new() };
        let Some(candidates) = self.by_class.get(reading.meaning.class) else { return reading };
        let mut subject = None;
        for rule in candidates.iter().map(|index| &self.rules[*index]) {
            let holds = match (&rule.when, &self.subjects) {
                (Some(when), Some(subjects)) => {
                    when.holds(subject.get_or_insert_with(|| subjects.of(cluster, event, &reading.meaning)))
                }
                _ => Ok(true),
            };
            match holds {
                Ok(false) => {}
                Ok(true) => {
                    if let Action::Set(change) = &rule.then {
                        self.set(&mut reading.meaning, change);
                    }
                    reading.rule = Some(rule);
                    break;
                }
                Err(problem) => reading.failed.push((rule, problem)),
            }
        }
        reading
    }

    fn set<'a>(&'a self, meaning: &mut Classified<'a>, change: &'a Change) {
        if let Some((name, class)) =
            change.class.as_deref().and_then(|name| Some((name, self.catalog.classes().get(name)?)))
        {
            meaning.class = name;
            (meaning.category, meaning.severity, meaning.role) = (class.category, class.severity, class.role);
        }
        meaning.category = change.category.unwrap_or(meaning.category);
        meaning.severity = change.severity.unwrap_or(meaning.severity);
        meaning.role = change.role.unwrap_or(meaning.role);
    }
}
