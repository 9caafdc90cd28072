//! `epicenter report`.

use std::process::ExitCode;

use crate::cli::Report;
use crate::settings::Settings;

#[cfg(not(feature = "archive"))]
pub(super) async fn run(_: &Settings, _: Report) -> anyhow::Result<ExitCode> {
    anyhow::bail!(crate::archive::MISSING)
}

#[cfg(feature = "archive")]
pub(super) async fn run(settings: &Settings, arguments: Report) -> anyhow::Result<ExitCode> {
    use epicenter_archive::report;
    use epicenter_runtime::now;

    use super::{print, print_json, progress};
    use crate::cli::Form;

    let now = now();
    let filter = arguments.asked.filter(now)?;
    let archive = crate::archive::open_here(settings).await?;
    let working = progress::spinner("asking the archive");
    let report = report::Report::of(&archive, &filter, now).await?;
    working.finish_and_clear();
    match arguments.output {
        Form::Md => print(&report::markdown(&report))?,
        Form::Html => print(&report::html(&report))?,
        Form::Json => print_json(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}
