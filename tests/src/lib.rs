//! The test harness: real servers on loopback, on free ports, that end with the test.
#![allow(clippy::missing_errors_doc)]

pub mod cache;
pub mod counting;
pub mod kafka;
pub mod ports;
pub mod process;
