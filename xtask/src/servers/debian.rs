//! Packages of Debian, unpacked and not installed, which would start daemons.

use std::process::Command;

use anyhow::{Context, Result};

use super::Build;
use super::tool::run;
use crate::progress::step;

/// Unpacks the package as it is for this machine.
pub fn unpack(build: &Build<'_>, package: &str) -> Result<()> {
    let Build { target, scratch, .. } = build;
    let download = || {
        let mut download = Command::new("apt-get");
        run(download.args(["download", package]).current_dir(scratch))
    };
    // A fresh machine has no lists of packages yet.
    let found = step(&format!("{package}: downloading"), || {
        download().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|_| download()))
    });
    found.with_context(|| format!("the Debian package {package} cannot be had by apt-get"))?;
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "dpkg-deb --extract ./*.deb \"$1\"", "unpack"]).arg(target).current_dir(scratch);
    run(&mut unpack).map(drop)
}
