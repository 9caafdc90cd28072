//! The binary on a real API server: as one process, what a user sees and that nothing is lost or repeated when it is
//! killed; and as services on a real broker.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod alerts;
mod audit;
mod collector;
mod compaction;
mod faults;
mod fleet;
mod incidents;
mod installation;
mod live;
mod lossless;
mod lost;
mod migrate;
mod outage;
mod registry;
mod scene;
mod services;
mod spool;
mod storm;
mod topics;
#[cfg(feature = "upgrade")]
mod upgrade;
mod voice;
mod writer;

use std::path::Path;
use std::process::Command;

use epicenter_tests::kube::ControlPlane;
use epicenter_tests::process::{Process, binary};

/// `epicenter up` on that control plane, with its log in `directory`.
fn up(plane: &ControlPlane, directory: &Path) -> Process {
    let mut command = Command::new(binary().unwrap());
    command.args(["up", "--cluster", "test", "--kubeconfig"]).arg(plane.kubeconfig());
    command.arg("--data-dir").arg(directory.join("data"));
    Process::spawn("epicenter up", &mut command, &directory.join("up.log")).unwrap()
}
