//! The exporter: everything that is known of one cluster, from its API server into one ordered log.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod project;
