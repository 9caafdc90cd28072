//! Alertmanager, from its Debian package: its Go module lacks the built console. The package is unpacked and not installed,
//! which would start a daemon.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Build;
use super::tool::run;
use crate::progress::step;

const PACKAGE: &str = "prometheus-alertmanager";
/// Where Debian's build looks for its templates, whatever it is told.
const SHARE: &str = "/usr/share/prometheus/alertmanager";

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

/// Lets what was unpacked into `target` be found where the package would have it, unless it is there. The machine may be
/// newer than the cache.
pub fn link(target: &Path) -> Result<()> {
    let share = Path::new(SHARE);
    // A link whose end is gone is replaced.
    if share.exists() {
        return Ok(());
    }
    let unpacked = target.join(SHARE.trim_start_matches('/'));
    let link = || {
        std::fs::create_dir_all(share.parent().unwrap_or(share))?;
        std::fs::remove_file(share).or_else(|error| if share.is_symlink() { Err(error) } else { Ok(()) })?;
        symlink(&unpacked, share)
    };
    link().with_context(|| {
        format!("Alertmanager looks for its templates in {SHARE}: as root, `ln -s {} {SHARE}`", unpacked.display())
    })
}
