//! The classes of Events.

use std::collections::BTreeMap;

use epicenter_model::{Category, Role, Severity};
use serde::{Deserialize, Serialize};

/// What all Events of one class have in common.
///
/// Texts are templates: `{kind}`, `{namespace}`, `{name}` (the object), `{container}`, `{node}`, `{workload}`, `{blamed}` (the object
/// to blame, where that is another), `{image}`, `{config}` (the config map or secret), and the lower-case kind of an object
/// that the Event's text names (`{registry}`, `{secret}`, `{persistentvolume}`). What stands in `[brackets with {placeholders}]` is
/// left out where one is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The heart of an incident's title, such as `cannot pull image {image}`.
    pub title: String,
    /// What it is about.
    pub category: Category,
    /// How bad it is, when nothing says otherwise.
    pub severity: Severity,
    /// The part it plays.
    pub role: Role,
    /// Classes that are over, for the same object, when this one appears.
    #[serde(default)]
    pub recovers: Vec<String>,
    /// How long an incident with this root stays silent until it counts as over, ms of log time.
    #[serde(default = "quiet_ms")]
    pub quiet_ms: i64,
    /// One sentence for somebody who has just been woken up.
    #[serde(default)]
    pub explain: String,
    /// What to run first.
    #[serde(default = "kubectl")]
    pub kubectl: String,
}

/// Ten minutes: twice the longest back-off of a container or an image pull (300 s), after which a fault that still
/// lasts has shown itself again.
fn quiet_ms() -> i64 {
    600_000
}

fn kubectl() -> String {
    "kubectl describe {kind} {name} -n {namespace}".to_owned()
}

/// All classes, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Classes(BTreeMap<String, Class>);

impl Classes {
    pub(crate) fn new(classes: BTreeMap<String, Class>) -> Self {
        Self(classes)
    }

    /// Adds a class, unless there is one of that name.
    pub(crate) fn add(&mut self, name: &str, class: Class) -> bool {
        let free = !self.0.contains_key(name);
        if free {
            self.0.insert(name.to_owned(), class);
        }
        free
    }

    /// Takes `name` out of what `class` recovers.
    pub(crate) fn unrecover(&mut self, class: &str, name: &str) {
        if let Some(class) = self.0.get_mut(class) {
            class.recovers.retain(|wanted| wanted != name);
        }
    }

    /// The class of this name.
    pub fn get(&self, name: &str) -> Option<&Class> {
        self.0.get(name)
    }

    /// All of them, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Class)> {
        self.0.iter().map(|(name, class)| (name.as_str(), class))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces a trailing `*` in `recovers` by the causes and symptoms that it stands for. Gives the class and the name that is
    /// not among them, if any.
    pub(crate) fn resolve(&mut self) -> Result<(), (String, String)> {
        let bad = |class: &Class| matches!(class.role, Role::Cause | Role::Symptom);
        let names: Vec<(String, bool)> = self.0.iter().map(|(name, class)| (name.clone(), bad(class))).collect();
        for (class, Class { recovers, .. }) in &mut self.0 {
            let mut resolved = Vec::new();
            for wanted in recovers.iter() {
                let before = resolved.len();
                resolved.extend(
                    names
                        .iter()
                        .filter(|(name, bad)| match wanted.strip_suffix('*') {
                            Some(prefix) => name.starts_with(prefix) && *bad,
                            None => name == wanted,
                        })
                        .map(|(name, _)| name.clone()),
                );
                if resolved.len() == before {
                    return Err((class.clone(), wanted.clone()));
                }
            }
            resolved.sort();
            resolved.dedup();
            *recovers = resolved;
        }
        Ok(())
    }
}
