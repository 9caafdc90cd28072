//! Lints, and every test of the workspace against real servers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo::cargo;
use crate::servers;
use crate::totals::Totals;

/// Builds the archive in, and its tests.
pub const ARCHIVE: &str = "epicenter-tests/archive,epicenter-bench/archive";
/// The same, with the tests whose servers build long.
const FULL: &str = "epicenter-tests/full,epicenter-bench/archive";
/// Cases that each of its tests with hostile input tries.
const FULL_CASES: &str = "2000";

/// Lints, sets up the servers, and runs the tests. Ends as `cargo test` does; the totals are its last line.
pub fn run(full: bool, arguments: &[String]) -> Result<ExitCode> {
    let cache = servers::cache()?;
    servers::install_all(&cache, full)?;
    lint()?;
    let mut command = cargo()?;
    command.args(["test", "--no-fail-fast"]);
    if !arguments.iter().any(|argument| argument == "-p" || argument.starts_with("--package")) {
        command.args(["--workspace", "--features", if full { FULL } else { ARCHIVE }]);
    }
    command.args(arguments).env("EPICENTER_TEST_CACHE", &cache);
    if full {
        command.env("EPICENTER_TEST_FULL", "1");
        if std::env::var_os("EPICENTER_FUZZ").is_none() {
            command.env("EPICENTER_FUZZ", FULL_CASES);
        }
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("running cargo test")?;
    let mut output = BufReader::new(child.stdout.take().context("cargo test has no output")?);
    let mut totals = Totals::default();
    let mut terminal = std::io::stdout().lock();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        terminal.write_all(&line)?;
        totals.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait()?;
    writeln!(terminal, "\n{totals}")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Formatting and clippy.
pub fn lint() -> Result<()> {
    succeed(cargo()?.args(["fmt", "--all", "--check"]), "cargo fmt")?;
    succeed(
        cargo()?.args(["clippy", "--workspace", "--features", FULL, "--all-targets", "--", "-D", "warnings"]),
        "cargo clippy --workspace --all-targets",
    )
}

/// Runs a command whose end must be a good one.
pub fn succeed(command: &mut Command, name: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("running {name}"))?;
    ensure!(status.success(), "{name} found something to mend, see above");
    Ok(())
}
