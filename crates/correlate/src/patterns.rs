//! The rules of patterns, ready for use: which classes each is about, and from where on it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::{Category, EnrichedEvent, Role, Severity};
use rustc_hash::FxHashSet;
use serde::Deserialize;

use crate::class::ClassInfo;

const DAY_MS: f64 = 86_400_000.0;
const HOUR_MS: f64 = 3_600_000.0;

/// A pattern, by the name that it has in files of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pattern {
    /// An incident was there before: how often, when, where, and how it ended.
    Recurrence,
    /// The first incident of its class in its cluster, or on its object.
    FirstSeen,
    /// Events come far more often than they do.
    Frequency,
    /// They come more often from day to day.
    SlowRise,
    /// An incident comes and goes.
    Flapping,
    /// One workload causes most of what is heard of the cluster.
    TopTalker,
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
    pub load_text: Option<String>,
    /// For how long the cluster, or the series of Events, must be known, days.
    pub after_days: Option<f64>,
    /// How many at least: in an hour, on a day, or within `within_s`.
    pub least: Option<f64>,
    /// How many times as many as in the hour with the most, or as usual.
    pub times: Option<f64>,
    /// How likely so many are by chance, at most.
    pub odds: Option<f64>,
    /// How much of all, 0 to 1.
    pub share: Option<f64>,
    pub within_s: Option<f64>,
    /// How bad it is where it is all that is wrong.
    pub severity: Option<Severity>,
    /// The title and the sentence, as those of a class.
    pub title: Option<String>,
    pub explain: Option<String>,
    pub kubectl: Option<String>,
}

impl Pattern {
    pub fn name(self) -> &'static str {
        match self {
            Self::Recurrence => "recurrence",
            Self::FirstSeen => "first-seen",
            Self::Frequency => "frequency",
            Self::SlowRise => "slow-rise",
            Self::Flapping => "flapping",
            Self::TopTalker => "top-talker",
        }
    }

    /// The class of the Event that the engine makes of it; those that only say more of an incident make none.
    pub fn class(self) -> &'static str {
        match self {
            Self::Recurrence | Self::FirstSeen => "",
            Self::Frequency => "pattern.frequency",
            Self::SlowRise => "pattern.slow_rise",
            Self::Flapping => "pattern.flapping",
            Self::TopTalker => "pattern.top_talker",
        }
    }

    /// That Event's reason. All begin alike, and no other does.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Recurrence | Self::FirstSeen => "",
            Self::Frequency => "PatternFrequency",
            Self::SlowRise => "PatternSlowRise",
            Self::Flapping => "PatternFlapping",
            Self::TopTalker => "PatternTopTalker",
        }
    }

    /// What can be set of it beside `off`, `classes` and `except`.
    fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Recurrence => &["fixes", "load", "load_text"],
            Self::FirstSeen => &["after_days"],
            Self::Frequency => &["after_days", "least", "times", "odds", "severity", "title", "explain", "kubectl"],
            Self::SlowRise => &["after_days", "least", "times", "severity", "title", "explain", "kubectl"],
            Self::Flapping => &["least", "within_s", "severity", "title", "explain", "kubectl"],
            Self::TopTalker => &["after_days", "least", "share", "times", "severity", "title", "explain", "kubectl"],
        }
    }
}

impl PatternRule {
    fn numbers(&self) -> [(&'static str, Option<f64>, std::ops::RangeInclusive<f64>); 6] {
        [
            ("after_days", self.after_days, 0.0..=365.0),
            ("least", self.least, 1.0..=1e9),
            ("times", self.times, 1.0..=1e6),
            ("odds", self.odds, 1e-100..=0.1),
            ("share", self.share, 0.01..=1.0),
            ("within_s", self.within_s, 60.0..=86_400.0),
        ]
    }

    /// A field that is set and is not one of this pattern's.
    pub fn stray(&self) -> Option<&'static str> {
        let texts = [
            ("fixes", !self.fixes.is_empty()),
            ("load", !self.load.is_empty()),
            ("load_text", self.load_text.is_some()),
            ("severity", self.severity.is_some()),
            ("title", self.title.is_some()),
            ("explain", self.explain.is_some()),
            ("kubectl", self.kubectl.is_some()),
        ];
        let numbers = self.numbers().map(|(name, number, _)| (name, number.is_some()));
        let mut set = texts.into_iter().chain(numbers).filter(|(_, set)| *set);
        set.find(|(name, _)| !self.id.takes().contains(name)).map(|(name, _)| name)
    }

    /// What the pattern can have beside `off`, for an error.
    pub fn takes(&self) -> String {
        [&["classes", "except"][..], self.id.takes()].concat().join(", ")
    }

    /// A number that makes no sense, and those that do.
    pub fn senseless(&self) -> Option<(&'static str, String)> {
        let mut wrong =
            self.numbers().into_iter().filter(|(_, number, sense)| number.is_some_and(|it| !sense.contains(&it)));
        wrong.next().map(|(name, _, sense)| (name, format!("must be from {} to {}", sense.start(), sense.end())))
    }

    /// What it says, in one line.
    pub fn says(&self) -> String {
        let off = self.off.then(|| "off".to_owned());
        let lists = [("of", &self.classes), ("not of", &self.except), ("fixes", &self.fixes), ("load", &self.load)];
        let lists = lists.iter().filter(|(_, classes)| !classes.is_empty());
        let lists = lists.map(|(name, classes)| format!("{name} {}", classes.join(" ")));
        let numbers = self.numbers().into_iter().filter_map(|(name, number, _)| Some(format!("{name} {}", number?)));
        let severity = self.severity.map(|severity| severity.to_string());
        off.into_iter().chain(lists).chain(numbers).chain(severity).collect::<Vec<_>>().join(", ")
    }
}

/// From where on a pattern is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub after_ms: i64,
    pub least: f64,
    pub times: f64,
    pub odds: f64,
    pub share: f64,
    pub within_ms: i64,
}

impl Limits {
    pub fn after_h(&self) -> i64 {
        (self.after_ms as f64 / HOUR_MS) as i64
    }
}

/// What is in force of one pattern.
#[derive(Clone, Debug, Default)]
struct Setting {
    off: bool,
    classes: FxHashSet<Arc<str>>,
    limits: Limits,
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
        let limits = &mut setting.limits;
        let old = *limits;
        *limits = Limits {
            after_ms: rule.after_days.map_or(old.after_ms, |days| (days * DAY_MS) as i64),
            least: rule.least.unwrap_or(old.least),
            times: rule.times.unwrap_or(old.times),
            odds: rule.odds.unwrap_or(old.odds),
            share: rule.share.unwrap_or(old.share),
            within_ms: rule.within_s.map_or(old.within_ms, |seconds| (seconds * 1000.0) as i64),
        };
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

    fn about(&self, pattern: Pattern, class: &str) -> Option<&Limits> {
        let setting = self.settings.get(&pattern).filter(|setting| !setting.off && setting.classes.contains(class))?;
        Some(&setting.limits)
    }

    /// From where on a pattern is told of Events, or incidents, of this class.
    pub fn limits(&self, pattern: Pattern, class: &str) -> Option<Limits> {
        self.about(pattern, class).copied()
    }

    /// From where on it is told that somebody talks the most.
    pub fn of_talkers(&self) -> Option<Limits> {
        self.settings.get(&Pattern::TopTalker).filter(|setting| !setting.off).map(|setting| setting.limits)
    }

    /// Events of this class are counted for the sake of a pattern.
    pub fn counts(&self, class: &str) -> bool {
        [Pattern::Frequency, Pattern::SlowRise, Pattern::TopTalker].iter().any(|it| self.about(*it, class).is_some())
    }

    /// It is told that an incident of this class was there before.
    pub fn recurs(&self, class: &str) -> bool {
        self.about(Pattern::Recurrence, class).is_some()
    }

    /// For how long a cluster must be known until the first incident of this class is called so, ms.
    pub fn first_after_ms(&self, class: &str) -> Option<i64> {
        self.about(Pattern::FirstSeen, class).map(|limits| limits.after_ms)
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

impl PatternRule {
    /// The class of the Events that the engine makes of it: that in `known`, changed by what the rule says.
    pub fn class(&self, known: Option<&ClassInfo>) -> Option<ClassInfo> {
        let class = self.id.class();
        let new = || ClassInfo {
            class: class.to_owned(),
            category: Category::Other,
            severity: Severity::Low,
            role: Role::Symptom,
            title: String::new(),
            explain: String::new(),
            kubectl: String::new(),
            recovers: vec![],
            // It is looked at once an hour.
            quiet_ms: 2 * HOUR_MS as i64,
        };
        let mut info = known.cloned().or_else(|| (!class.is_empty()).then(new))?;
        let set = |to: &mut String, from: &Option<String>| from.iter().for_each(|text| to.clone_from(text));
        set(&mut info.title, &self.title);
        set(&mut info.explain, &self.explain);
        set(&mut info.kubectl, &self.kubectl);
        info.severity = self.severity.unwrap_or(info.severity);
        Some(info)
    }
}
