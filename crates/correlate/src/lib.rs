//! The engine: from the enriched Events of one cluster to a few explained incidents.
//!
//! Pure, deterministic and bounded: [`apply`] takes one record, changes a [`ClusterState`], and says which incidents
//! changed and which entries of the state are to be written. No I/O, no clock: time is the log's.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod class;
mod effects;
mod rules;
mod state;

pub use class::{ClassInfo, Classes};
pub use effects::Effects;
pub use rules::{Rules, RulesError};
pub use state::{ClusterState, StateError, apply};

/// Version of the engine, written with every change.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");
