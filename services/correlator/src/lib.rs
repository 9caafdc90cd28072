//! From enriched Events to changes of incidents.
//!
//! [`Correlator`] reads `events.enriched`, hands each record to the engine ([`epicenter_correlate`]) with its cluster's
//! state, and writes what changed to `incident.changes`. It decides nothing itself.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod classes;
mod correlator;

pub use classes::classes;
pub use correlator::{Correlator, spec};
