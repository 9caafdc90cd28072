//! Alertmanager, from its Debian package: its Go module lacks the built console. The package is unpacked and not installed,
//! which would start a daemon.

use std::process::Command;

use anyhow::{Context, Result};

use super::Build;
use super::tool::run;
use crate::progress::step;

const PACKAGE: &str = "prometheus-alertmanager";

/// `usr/bin/prometheus-alertmanager`.
pub fn build(build: &Build<'_>) -> Result<()> {
    let Build { target, scratch, .. } = build;
    let download = || {
        let mut download = Command::new("apt-get");
        run(download.args(["download", PACKAGE]).current_dir(scratch))
    };
    // A fresh machine has no lists of packages yet.
    let found = step(&format!("{PACKAGE}: downloading"), || {
        download().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|_| download()))
    });
    found.with_context(|| format!("the Debian package {PACKAGE} cannot be had by apt-get"))?;
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "dpkg-deb --extract ./*.deb \"$1\"", "unpack"]).arg(target).current_dir(scratch);
    run(&mut unpack).map(drop)
}
