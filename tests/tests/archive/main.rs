//! The archive as a process, on a real broker, held against what another engine counts.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kills;
mod live;
mod log;
mod mornings;
#[cfg(feature = "full")]
mod s3;
mod site;
