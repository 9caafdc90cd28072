//! Alertmanager, from its Debian package: its Go module lacks the built console.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Build, debian};

/// Where Debian's build looks for its templates, whatever it is told.
const SHARE: &str = "/usr/share/prometheus/alertmanager";

/// `usr/bin/prometheus-alertmanager`.
pub fn build(build: &Build<'_>) -> Result<()> {
    debian::unpack(build, "prometheus-alertmanager")
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
