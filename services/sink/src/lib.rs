//! Publishes incidents: as the public `incidents` table, as `Incident` objects in the cluster, and as one Event on the
//! workload per transition.
//!
//! [`Publisher`] folds `incident.changes` into whole documents, exactly once, by the kernel. [`run_objects`] follows
//! those documents and makes one cluster's objects converge to them: what it does twice has no effect, and a guard in
//! the custom resource definition ([`crd_yaml`]) refuses to go back.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod api;
mod bounds;
mod crd;
mod event;
#[cfg(test)]
mod fake;
mod follow;
mod install;
mod objects;
mod publish;
mod rank;
mod schema;
mod writer;

pub use crd::{Condition, IncidentObject, IncidentSpec, IncidentStatus, MAX_STATUS_BYTES, crd_yaml};
pub use event::{REPORTING_CONTROLLER, REPORTING_CONTROLLER_PREFIX};
pub use install::{InstallError, install_crd};
pub use objects::{ObjectsConfig, run_objects};
pub use publish::{MAX_MEMBERS, Publisher, spec};
