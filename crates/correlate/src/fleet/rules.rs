//! What concerns several clusters, as data: `fleet.yaml`.

use std::sync::LazyLock;

use epicenter_model::{Category, Entity, Severity};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const TEXT: &str = include_str!("../../fleet.yaml");

/// The rules of the fleet.
#[derive(Clone, Debug)]
pub struct FleetRules {
    pub(crate) silent: Silent,
    pub(crate) shared: Vec<Shared>,
    hash: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    silent: Silent,
    shared: Vec<Shared>,
}

/// When a cluster counts as silent, and what is said then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Silent {
    pub after_s: i64,
    pub class: String,
    pub category: Category,
    pub severity: Severity,
    pub title: String,
    pub why: String,
    pub look: String,
}

/// A trouble that clusters can have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    pub id: String,
    pub classes: Vec<String>,
    /// The kind of the thing that they share.
    pub entity: String,
    /// How many clusters it takes.
    pub clusters: usize,
    pub within_s: i64,
    /// How sure it is that one cause explains the first two.
    pub weight: f64,
    pub title: String,
    pub why: String,
}

impl FleetRules {
    /// The built-in rules.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<FleetRules> = LazyLock::new(|| {
            let File { silent, shared } = serde_saphyr::from_str(TEXT).expect("the built-in rules are read by a test");
            FleetRules { hash: hash(silent.after_s), silent, shared }
        });
        &BUILTIN
    }

    /// These rules with another time after which a cluster counts as silent, s.
    pub fn silent_after(mut self, seconds: i64) -> Self {
        self.silent.after_s = seconds;
        self.hash = hash(seconds);
        self
    }

    /// Names these rules: 16 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Other clusters may have incidents of this class for the same reason.
    pub(crate) fn concerns(&self, class: &str) -> bool {
        self.of(class).next().is_some()
    }

    /// Those of `entities` that other clusters may share, for an incident of this class.
    pub(crate) fn shared(&self, class: &str, entities: impl Iterator<Item = Entity>) -> Vec<Entity> {
        let mut shared: Vec<_> =
            entities.filter(|entity| self.of(class).any(|rule| rule.entity == entity.kind)).collect();
        shared.sort();
        shared.dedup();
        shared
    }

    /// The rules about a class.
    pub(crate) fn of<'r>(&'r self, class: &'r str) -> impl Iterator<Item = &'r Shared> + 'r {
        self.shared.iter().filter(move |rule| rule.classes.iter().any(|known| known == class))
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Shared> {
        self.shared.iter().find(|rule| rule.id == id)
    }
}

/// What can be set counts as well.
fn hash(silent_after_s: i64) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(format!("{silent_after_s}\0{TEXT}"))[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_can_be_read_and_make_sense() {
        let rules = FleetRules::builtin();
        assert!(rules.silent.after_s > 0 && rules.silent.title.contains("{name}"));
        for (index, rule) in rules.shared.iter().enumerate() {
            let known = rules.shared[..index].iter().any(|other| other.id == rule.id);
            assert!(!known && rule.clusters >= 2 && rule.within_s > 0, "{}", rule.id);
            assert!(rule.weight > 0.0 && rule.weight < 1.0 && !rule.classes.is_empty(), "{}", rule.id);
            assert!(rule.title.contains("{name}") && !rule.why.is_empty(), "{}", rule.id);
        }
        assert_eq!(rules.hash().len(), 16);
    }
}
