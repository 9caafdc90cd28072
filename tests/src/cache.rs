//! Where the test servers are: built once by `cargo xtask servers`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Which servers, and which version of each: `cargo xtask servers` reads the same file.
const VERSIONS: &str = include_str!("../servers.txt");

/// `$EPICENTER_TEST_CACHE`, else `~/.cache/epicenter`.
pub fn root() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("EPICENTER_TEST_CACHE") {
        return Ok(directory.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set: set EPICENTER_TEST_CACHE to a directory")?;
    Ok(PathBuf::from(home).join(".cache/epicenter"))
}

/// The version of a server.
pub fn version(name: &str) -> Result<&'static str> {
    let mut versions = VERSIONS.lines().filter_map(|line| line.split_once(' '));
    let found = versions.find(|(known, _)| *known == name);
    Ok(found.with_context(|| format!("tests/servers.txt names no `{name}`"))?.1)
}

/// The folder of a server.
pub fn server(name: &str) -> Result<PathBuf> {
    let path = root()?.join(format!("{name}-{}", version(name)?));
    ensure!(path.exists(), "{} is missing: run `cargo xtask servers` once", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_nobody_builds_is_named() {
        assert_eq!(server("zookeeper").unwrap_err().to_string(), "tests/servers.txt names no `zookeeper`");
    }
}
