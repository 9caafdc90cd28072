//! The class table: what the engine knows of a class of Events. Its data is the catalogue's; this crate does not depend on it.

use std::collections::BTreeMap;

use epicenter_model::{Category, Role, Severity};
use serde::{Deserialize, Serialize};

/// What all Events of one class have in common.
///
/// `title`, `explain` and `kubectl` are templates: `{kind}`, `{namespace}`, `{name}` (the object), `{container}`, `{node}`,
/// `{workload}`, `{blamed}` (the object to blame, where that is another), `{image}`, and the lower-case kind of an object that the
/// Event's text names (`{registry}`, `{secret}`). What stands in `[brackets with {placeholders}]` is left out where one is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassInfo {
    /// Its name, such as `node.not_ready`.
    pub class: String,
    /// What it is about.
    pub category: Category,
    /// How bad it is.
    pub severity: Severity,
    /// The part it plays.
    pub role: Role,
    /// The heart of an incident's title.
    pub title: String,
    /// One sentence for somebody who has just been woken up.
    #[serde(default)]
    pub explain: String,
    /// What to run first.
    #[serde(default)]
    pub kubectl: String,
    /// Classes that are over, for the same object, when this one appears; a trailing `*` stands for any ending.
    #[serde(default)]
    pub recovers: Vec<String>,
    /// How long an incident with this root stays silent until it counts as over, ms of log time.
    pub quiet_ms: i64,
}

/// All classes, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Classes(BTreeMap<String, ClassInfo>);

impl Classes {
    /// The class of this name.
    pub fn get(&self, class: &str) -> Option<&ClassInfo> {
        self.0.get(class)
    }

    /// Adds a class, in place of one of that name.
    pub(crate) fn add(&mut self, info: ClassInfo) {
        self.0.insert(info.class.clone(), info);
    }

    /// All of them, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &ClassInfo> {
        self.0.values()
    }
}

impl FromIterator<ClassInfo> for Classes {
    fn from_iter<I: IntoIterator<Item = ClassInfo>>(classes: I) -> Self {
        Self(classes.into_iter().map(|info| (info.class.clone(), info)).collect())
    }
}

/// Whether `pattern` (a class, or the beginning of one and `*`) names `class`.
pub(crate) fn fits(pattern: &str, class: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => class.starts_with(prefix),
        None => pattern == class,
    }
}
