//! What a record leads to.

use epicenter_model::{FleetRecord, IncidentChange};

/// What [`apply`](crate::apply) or [`Fleet::apply`](crate::Fleet::apply) decided. It only appends: one value may collect the effects of many records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Changes of incidents, in order.
    pub changes: Vec<IncidentChange>,
    /// What the fleet is to hear of the cluster, in order.
    pub signals: Vec<FleetRecord>,
    /// The delta of the durable state: key, and value or `None` to delete. A later entry replaces an earlier one of the
    /// same key. Keys are unique within a cluster and begin with a tag byte; values are smaller than 64 KiB.
    pub puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}
