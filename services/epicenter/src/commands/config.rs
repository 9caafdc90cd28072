//! `epicenter config`.

use std::process::ExitCode;

use super::{print, print_json, settings};
use crate::cli::{Config, Global};
use crate::settings::Settings;

pub(super) fn run(what: Config, global: &Global) -> anyhow::Result<ExitCode> {
    match what {
        Config::Defaults => print_json(&Settings::default())?,
        Config::Show => print_json(&settings(global)?)?,
        Config::Check => {
            let settings = settings(global)?;
            crate::rules::configured(&settings.rules)?;
            crate::alerts::configured(&settings.alerts)?;
            print("the configuration is right\n")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
