//! Rules of one's own: YAML files that extend the catalogue and the causal rules, and say what to do with Events for which
//! a condition in [CEL](https://cel.dev) holds.
//!
//! [`RuleSet::read`] takes the files' texts, and gives all that follows from them, or all that is wrong with them. A [`Classifier`]
//! says what an Event means under them; without such rules it costs nothing above the catalogue. Pure: no I/O, no clock.
//! CEL stays in this crate.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod classes;
mod classifier;
mod condition;
mod document;
mod incident;
mod read;
mod source;
mod subject;

pub use classes::classes;
pub use classifier::{Classifier, Reading};
pub use document::{Content, Node, Wrong};
pub use incident::IncidentCondition;
pub use read::{Problem, Problems, RuleSet};
pub use source::{Action, EventRule};
