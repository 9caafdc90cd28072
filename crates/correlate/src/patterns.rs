//! The rules of patterns, ready for use: which classes each is about, and from where on it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::EnrichedEvent;
use rustc_hash::FxHashSet;
use serde::Deserialize;

const DAY_MS: f64 = 86_400_000.0;

/// A pattern, by the name that it has in files of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pattern {
    /// An incident was there before: how often, when, where, and how it ended.
    Recurrence,
    /// The first incident of its class in its cluster, or on its object.
    FirstSeen,
}

/// A pattern as it stands in YAML. What a later rule of the same id does not say stays as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatternRule {
    pub id: Pattern,
    /// Nothing of it is told.
    #[serde(default)]
    pub off: bool,
    /// The classes that it is about.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Those of them that it is not about.
    #[serde(default)]
    pub except: Vec<String>,
    /// Changes of a workload that can end its trouble.
    #[serde(default)]
    pub fixes: Vec<String>,
    /// Classes that tell of load when their text has `load_text`.
    #[serde(default)]
    pub load: Vec<String>,
    #[serde(default)]
    pub load_text: Option<String>,
    /// For how long the cluster must be known, days.
    #[serde(default)]
    pub after_days: Option<f64>,
}

impl Pattern {
    pub fn name(self) -> &'static str {
        match self {
            Self::Recurrence => "recurrence",
            Self::FirstSeen => "first-seen",
        }
    }

    /// What can be set of it beside `off`, `classes` and `except`.
    fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Recurrence => &["fixes", "load", "load_text"],
            Self::FirstSeen => &["after_days"],
        }
    }
}

impl PatternRule {
    /// A field that is set and is not one of this pattern's.
    pub fn stray(&self) -> Option<&'static str> {
        let set = [
            ("fixes", !self.fixes.is_empty()),
            ("load", !self.load.is_empty()),
            ("load_text", self.load_text.is_some()),
            ("after_days", self.after_days.is_some()),
        ];
        set.into_iter().find(|(name, set)| *set && !self.id.takes().contains(name)).map(|(name, _)| name)
    }

    /// What the pattern can have beside `off`, for an error.
    pub fn takes(&self) -> String {
        [&["classes", "except"][..], self.id.takes()].concat().join(", ")
    }

    /// What it says, in one line.
    pub fn says(&self) -> String {
        let set =
            |name: &str, classes: &[String]| (!classes.is_empty()).then(|| format!("{name} {}", classes.join(" ")));
        let off = self.off.then(|| "off".to_owned());
        let days = self.after_days.map(|days| format!("after {days} days"));
        let lists = [("of", &self.classes), ("not of", &self.except), ("fixes", &self.fixes), ("load", &self.load)];
        let parts = lists.iter().filter_map(|(name, classes)| set(name, classes));
        off.into_iter().chain(parts).chain(days).collect::<Vec<_>>().join(", ")
    }

    /// A number that makes no sense.
    pub fn senseless(&self) -> Option<&'static str> {
        self.after_days.filter(|days| !(0.0..=365.0).contains(days)).map(|_| "after_days")
    }
}

/// What is in force of one pattern.
#[derive(Clone, Debug, Default)]
struct Setting {
    off: bool,
    classes: FxHashSet<Arc<str>>,
    after_ms: i64,
}

/// All patterns, as they are in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatternRules {
    settings: BTreeMap<Pattern, Setting>,
    fixes: FxHashSet<Arc<str>>,
    load: FxHashSet<Arc<str>>,
    load_text: String,
}

/// The classes that a rule names, resolved.
pub(crate) struct Named {
    pub classes: FxHashSet<Arc<str>>,
    pub except: FxHashSet<Arc<str>>,
    pub fixes: FxHashSet<Arc<str>>,
    pub load: FxHashSet<Arc<str>>,
}

impl PatternRules {
    /// Takes a rule over what was said of its pattern before.
    pub fn add(&mut self, rule: PatternRule, named: Named) {
        let setting = self.settings.entry(rule.id).or_default();
        setting.off = rule.off;
        if !named.classes.is_empty() {
            setting.classes = named.classes;
        }
        setting.classes.retain(|class| !named.except.contains(class));
        if let Some(days) = rule.after_days {
            setting.after_ms = (days * DAY_MS) as i64;
        }
        if !named.fixes.is_empty() {
            self.fixes = named.fixes;
        }
        if !named.load.is_empty() {
            self.load = named.load;
        }
        if let Some(text) = rule.load_text {
            self.load_text = text;
        }
    }

    fn about(&self, pattern: Pattern, class: &str) -> Option<&Setting> {
        self.settings.get(&pattern).filter(|setting| !setting.off && setting.classes.contains(class))
    }

    /// It is told that an incident of this class was there before.
    pub fn recurs(&self, class: &str) -> bool {
        self.about(Pattern::Recurrence, class).is_some()
    }

    /// For how long a cluster must be known until the first incident of this class is called so, ms.
    pub fn first_after_ms(&self, class: &str) -> Option<i64> {
        self.about(Pattern::FirstSeen, class).map(|setting| setting.after_ms)
    }

    /// A change of this class can end the trouble of its workload.
    pub fn is_fix(&self, class: &str) -> bool {
        self.fixes.contains(class)
    }

    /// The Event tells that its namespace is under load.
    pub fn is_load(&self, event: &EnrichedEvent) -> bool {
        self.load.contains(event.class.as_str()) && event.event.note.contains(&self.load_text)
    }
}
