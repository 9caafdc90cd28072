//! The cargo that runs this.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::servers;

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Where what it builds is kept: beside the servers unless `CARGO_TARGET_DIR` says otherwise.
pub fn target() -> Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => workspace().join(target),
        None => servers::cache()?.join("target"),
    })
}

/// Cargo in the workspace, which builds into [`target`].
pub fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace()).env("CARGO_TARGET_DIR", target()?);
    // What it told this program of its own package. Build scripts look at it, such as ring's: what depends on them would be built anew
    // with each change between `cargo test` and `cargo xtask test`.
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_this_package_goes_no_further() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "cargo runs this");
        let command = cargo().unwrap();
        assert!(command.get_envs().any(|(name, value)| name == "CARGO_PKG_NAME" && value.is_none()));
        assert!(command.get_envs().any(|(name, value)| name == "CARGO_TARGET_DIR" && value.is_some()));
    }
}
