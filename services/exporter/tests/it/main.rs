//! The exporter against an API server that does what API servers do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;
mod fleet;
mod lease;
mod requests;
mod selection;
mod watch;
