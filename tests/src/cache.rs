//! Where the test servers are: built once by `cargo xtask servers`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// `$EPICENTER_TEST_CACHE`, else `~/.cache/epicenter`.
pub fn root() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("EPICENTER_TEST_CACHE") {
        return Ok(directory.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set: set EPICENTER_TEST_CACHE to a directory")?;
    Ok(PathBuf::from(home).join(".cache/epicenter"))
}

/// A file or folder of the cache that must be there.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = root()?.join(name);
    ensure!(path.exists(), "{} is missing: run `cargo xtask servers` once", path.display());
    Ok(path)
}
