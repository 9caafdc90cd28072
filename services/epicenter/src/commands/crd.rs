//! `epicenter crd`.

use std::process::ExitCode;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    super::print(&epicenter_sink::crd_yaml())?;
    Ok(ExitCode::SUCCESS)
}
