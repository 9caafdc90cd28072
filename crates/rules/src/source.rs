//! What a file of rules says of Events, as it stands in YAML.

use epicenter_model::{Category, Role, Severity};
use serde::Deserialize;

/// What to do with some Events.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventSource {
    /// Names it in messages and metrics.
    pub id: String,
    /// Classes that the catalogue gives to the Events; a trailing `*` stands for any ending. All when absent.
    #[serde(default)]
    pub classes: Vec<String>,
    /// A condition in CEL. Always true when absent.
    pub when: Option<String>,
    pub then: Action,
}

/// What becomes of an Event.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It goes no further than the enricher.
    Drop,
    /// It stays what it is, whatever later rules say.
    Keep,
    /// It means something else.
    Set(Change),
}

/// What an Event means instead.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Another class; the rest follows from it.
    pub class: Option<String>,
    /// Another category.
    pub category: Option<Category>,
    /// Another severity.
    pub severity: Option<Severity>,
    /// Another role.
    pub role: Option<Role>,
}

impl Action {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Keep => "keep",
            Self::Set(_) => "set",
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyAction;
        impl<'de> serde::de::Visitor<'de> for AnyAction {
            type Value = Action;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`drop`, `keep`, or what to set, such as {severity: low}")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Action, E> {
                match name {
                    "drop" => Ok(Action::Drop),
                    "keep" => Ok(Action::Keep),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Action, A::Error> {
                Change::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Action::Set)
            }
        }
        deserializer.deserialize_any(AnyAction)
    }
}

/// A rule about Events, as it is in force.
#[derive(Debug)]
pub struct EventRule {
    /// Names it in messages and metrics.
    pub id: String,
    /// The file that it stands in.
    pub file: String,
    /// What it does.
    pub then: Action,
    pub(crate) when: Option<crate::condition::Condition>,
}
