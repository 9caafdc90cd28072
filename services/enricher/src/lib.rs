//! From what an exporter saw to what it means.
//!
//! [`Enricher`] reads `events.raw`, one whole cluster in order, and writes `events.enriched`:
//!
//! - An Event becomes its *new occurrences*, with its class from the catalogue and the user's rules, and the surroundings of the object that
//!   it is about. A write that was seen before, and a write that brings neither a new occurrence nor another class (a
//!   new label, a reworded message), become nothing.
//! - An object becomes a row of the public table `objects`. What Kubernetes writes only into its status (a container
//!   that ran out of memory, a rollout that is stuck, a node's conditions) becomes a derived Event.
//! - Surroundings that become known within a minute after an Event that lacked them are sent on.
//! - Heartbeats are passed on; a gap ends here.
//!
//! Time is the log's. Nothing depends on how often the process was restarted.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod cluster;
mod derive;
mod enricher;
mod join;
mod late;
mod occurrence;
mod state;
mod table;
mod tally;

pub use enricher::{COMPONENT, Enricher, spec};
