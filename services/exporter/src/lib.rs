//! The exporter: everything that is known of one cluster, from its API server into one ordered log.
//!
//! [`run`] reads one cluster, [`Fleet`] many, which come and go while it runs. Each resource has a watch of its own that starts from the position in the log; all feed one
//! bounded queue to one committer, which gives out log time and puts records and positions into one commit, for one writer to
//! the log. So the log has one order. While it is away, commits wait in a spool, or the watches are not read.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod api;
mod backlog;
mod claim;
mod cluster;
mod committer;
mod config;
mod farewell;
mod fleet;
mod health;
mod lease;
mod lines;
mod list;
mod observation;
mod position;
pub mod project;
mod redact;
mod resource;
mod seen;
mod spool;
mod watch;
mod writer;

pub use api::{ApiError, choose_cryptography, client};
pub use claim::Claims;
pub use cluster::{ExporterError, Log, run};
pub use config::{ExporterConfig, Selector};
pub use farewell::{FarewellError, farewell};
pub use fleet::{AccessError, Fleet, FleetConfig, Found, LABEL, Origin, OriginError};
pub use health::{Health, Snapshot, WatchState};
pub use lease::LeaseConfig;
pub use redact::{RedactConfig, Replace};
pub use resource::Resource;
pub use spool::SpoolConfig;
