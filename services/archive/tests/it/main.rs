//! From a log in a directory to tables in another.
#![allow(clippy::unwrap_used, clippy::panic)]

mod api;
mod ask;
mod flaky;
mod live;
mod log;
mod maintain;
mod moved;
mod once;
mod report;
