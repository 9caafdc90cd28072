//! Rehearses an upgrade, and the way back, with services of an older version.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, workspace};
use crate::servers;
use crate::test::{ARCHIVE, succeed};

/// Builds the services of the version `from` in a worktree of its own, beside the test servers, and runs them beside those of this tree.
pub fn run(from: &str) -> Result<()> {
    let cache = servers::cache()?;
    servers::install_all(&cache, false)?;
    let commit = git(&["rev-parse", "--verify", "--end-of-options", &format!("{from}^{{commit}}")])?;
    let home = cache.join("upgrade");
    let (tree, target) = (home.join(&commit), home.join("target"));
    if !tree.exists() {
        git(&["worktree", "add", "--detach", text(&tree)?, &commit])?;
    }
    let mut build = cargo()?;
    build.current_dir(&tree).env("CARGO_TARGET_DIR", &target);
    build.args(["build", "--locked", "-p", "epicenter", "--features", "tls"]);
    succeed(&mut build, &format!("cargo build of {from}"))?;
    // With the features of all other tests: without them half of the dependencies would be built once more.
    let features = format!("{ARCHIVE},epicenter-tests/upgrade");
    let pipeline = ["--workspace", "--features", &features, "--test", "pipeline"];
    // Who runs the tests of one package is given no program of another.
    succeed(cargo()?.arg("build").args(pipeline).args(["--bin", "epicenter"]), "cargo build of this tree")?;
    let mut test = cargo()?;
    test.env("EPICENTER_TEST_CACHE", &cache).env("EPICENTER_TEST_OLD", target.join("debug/epicenter"));
    test.arg("test").args(pipeline);
    test.args(["upgrade::", "--", "--nocapture"]);
    succeed(&mut test, &format!("the upgrade from {from}"))
}

/// What git answers.
fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").current_dir(workspace()).args(arguments).output().context("running git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}
