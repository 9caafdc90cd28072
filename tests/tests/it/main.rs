//! The harness itself, and what goes into a cluster, on the real servers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chart;
mod exporter;
mod kafka;
mod kube;
mod monitoring;
mod rbac;
mod sink;

/// The process is there, and is more than an entry that nobody has waited for.
fn is_running(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}
