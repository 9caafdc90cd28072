//! `epicenter completion`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::print;
use crate::cli::Cli;

pub(super) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "epicenter", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
