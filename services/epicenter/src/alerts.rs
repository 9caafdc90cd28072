//! Files of alerts, from where they are configured or typed.

use std::path::Path;

use epicenter_alerts::Alerts;
use epicenter_runtime::{ConfigErrors, Problem};

use crate::rules::{Unreadable, files};
use crate::settings::AlertsConfig;

/// Reads the file at `path`.
pub fn read(path: &Path) -> anyhow::Result<Alerts> {
    let (name, text) = file(path)?;
    Ok(Alerts::read(&name, &text)?)
}

/// Those that a configuration names, if any.
pub fn configured(config: &AlertsConfig) -> Result<Option<Alerts>, ConfigErrors> {
    if config.file.is_empty() {
        return Ok(None);
    }
    let (name, text) = file(Path::new(&config.file)).map_err(|error| {
        let (origin, key) = (error.path.display().to_string(), "alerts.file".to_owned());
        ConfigErrors(vec![Problem { origin, key, what: error.source.to_string() }])
    })?;
    Alerts::read(&name, &text).map(Some).map_err(|problems| {
        let problem = |problem: epicenter_rules::Problem| Problem {
            origin: format!("{}:{}", problem.file, problem.line),
            key: problem.field,
            what: problem.what,
        };
        ConfigErrors(problems.0.into_iter().map(problem).collect())
    })
}

fn file(path: &Path) -> Result<(String, String), Unreadable> {
    let one = |files: Vec<(String, String)>| match files.len() {
        1 => files.into_iter().next(),
        _ => None,
    };
    let none = || Unreadable { path: path.to_owned(), source: std::io::Error::other("is not one file") };
    one(files(path)?).ok_or_else(none)
}
