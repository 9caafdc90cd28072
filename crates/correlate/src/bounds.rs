//! How much is remembered at most.

use serde::{Deserialize, Serialize};

/// Bounds of what is remembered of one cluster. What does not fit is counted: see [`Dropped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Objects, real and virtual.
    pub objects: usize,
    /// Incidents that are open or can be reopened.
    pub incidents: usize,
    /// Members of one incident.
    pub members_of_one: usize,
    /// Members of all incidents together.
    pub members: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { objects: 200_000, incidents: 20_000, members_of_one: 10_000, members: 300_000 }
    }
}

/// What did not fit into [`Bounds`], counted since the cluster is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Objects that were forgotten early: too many were heard of within an hour.
    pub objects: u64,
    /// Incidents that were closed early: too many were open.
    pub incidents: u64,
    /// Members that were counted and not remembered.
    pub members: u64,
    /// Events that were not counted as more or less than usual: too many series of them came within an hour.
    #[serde(skip)]
    pub series: u64,
}
