//! The engine: from the enriched Events of one cluster to a few explained incidents.
//!
//! Pure, deterministic and bounded: [`apply`] takes one record, changes a [`ClusterState`], and says which incidents
//! changed; the state says which of its entries are to be written. No I/O, no clock: time is the log's.
//!
//! An Event's way: its object and what that is linked with (`entity`, `neighbours`, `owners`, `function`), the causal rules that
//! could explain it (`rules`, `parents`, data in `rules/*.yaml`), its incident (`assemble`, `merge`, `common_cause`), what it ends
//! (`lifecycle`) or a planned change excuses (`quiet`), the most likely root (`rank`), and what is told (`tell`, `explain`), also to
//! the fleet (`signal`).
//! What people say of incidents comes the same way (`command`, `voice`), also that two are one, or one is two (`part`). What the Events at a
//! root say is quoted (`quotes`). What was known of an incident's like before it, is remembered (`remember`, `memory`, `recurrence`, `habit`) and told
//! (`recall`); what comes more often than usual is counted (`rates`, `series`), and becomes an Event of the engine's own (`anomaly`).
//!
//! [`Fleet`] is the same for all clusters together: from what each of them signals to incidents that several share, and to
//! clusters that are silent.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod anomaly;
mod assemble;
mod bounds;
mod class;
mod command;
mod common_cause;
mod edge;
mod effects;
mod entity;
mod explain;
mod fleet;
mod function;
mod habit;
mod incoming;
mod lifecycle;
mod listed;
mod live;
mod memory;
mod merge;
mod neighbours;
mod owners;
mod parents;
mod part;
mod partings;
mod patterns;
mod phrase;
mod quiet;
mod quotes;
mod rank;
mod rates;
mod recall;
mod recurrence;
mod remember;
mod row;
mod rules;
mod score;
mod series;
mod signal;
mod silences;
mod source;
mod state;
mod store;
mod tell;
mod template;
mod timers;
mod uids;
mod voice;
mod wire;
mod words;
mod workloads;

pub use bounds::{Bounds, Dropped};
pub use class::{ClassInfo, Classes};
pub use effects::Effects;
pub use fleet::{Fleet, FleetRules};
pub use habit::day_and_minute;
pub use listed::Listed;
pub use recurrence::fingerprint;
pub use rules::{Rules, RulesBuilder, RulesError};
pub use source::RuleFile;
pub use state::{ClusterState, apply};
pub use wire::StateError;

/// Version of the engine, written with every change.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");
