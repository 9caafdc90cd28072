//! From enriched Events to changes of incidents.
//!
//! [`Correlator`] reads `events.enriched`, hands each record to the engine ([`epicenter_correlate`]) with its cluster's
//! state, and writes what changed to `incident.changes`. It decides nothing itself.
//!
//! What several clusters may have in common it writes to `fleet.signals` as well, in the same commit; [`FleetCorrelator`]
//! makes incidents of the fleet of that.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod correlator;
mod fleet;

pub use correlator::{Correlator, check_state, spec};
pub use fleet::{FleetCorrelator, fleet_spec};
