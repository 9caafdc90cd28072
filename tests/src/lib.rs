//! The test harness: real servers on loopback, on free ports, that end with the test.
#![allow(clippy::missing_errors_doc)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod browser;
pub mod cache;
pub mod certificates;
pub mod chart;
pub mod counting;
pub mod faults;
pub mod generated;
pub mod hook;
pub mod http;
pub mod kafka;
pub mod kube;
pub mod ports;
pub mod process;
pub mod python;
pub mod registry;
pub mod wait;
