//! What a record leads to.

use epicenter_model::{FleetRecord, IncidentChange, Silence};

/// What [`apply`](crate::apply) or [`Fleet::apply`](crate::Fleet::apply) decided. It only appends: one value may collect the effects of many records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Changes of incidents, in order.
    pub changes: Vec<IncidentChange>,
    /// What the fleet is to hear of the cluster, in order.
    pub signals: Vec<FleetRecord>,
    /// Silences of the cluster by id, as they are now; `None` for those that are over. In order.
    pub silences: Vec<(String, Option<Silence>)>,
    /// Marks, members and incidents that were looked at: the time that it took follows from that.
    pub work: u64,
}
