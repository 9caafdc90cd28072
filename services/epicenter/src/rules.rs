//! Files of rules, from where they are configured or typed.

use std::path::{Path, PathBuf};

use epicenter_rules::RuleSet;
use epicenter_runtime::{ConfigErrors, Problem};

use crate::settings::RulesConfig;

/// A file or directory of rules that cannot be read. Not retryable.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct Unreadable {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: std::io::Error,
}

/// Names and texts of the files at `path`: of itself, or of the files `*.yaml` in a directory, in order of name.
pub fn files(path: &Path) -> Result<Vec<(String, String)>, Unreadable> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Unreadable { path, source }
    };
    let mut paths = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(unreadable(path))? {
            let path = entry.map_err(unreadable(path))?.path();
            // A ConfigMap that is mounted has links and directories that begin with a dot.
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if yaml && !hidden && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
        let text = String::from_utf8(bytes)
            .map_err(|error| unreadable(&path)(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

/// The rules of these files, which are preferred to the built-in ones.
pub fn read(files: &[(String, String)]) -> Result<RuleSet, epicenter_rules::Problems> {
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    RuleSet::read(&borrowed)
}

/// The rules that are in force under a configuration.
pub fn configured(config: &RulesConfig) -> Result<RuleSet, ConfigErrors> {
    if config.directory.is_empty() {
        return Ok(RuleSet::builtin());
    }
    let directory = Path::new(&config.directory);
    let files = files(directory).map_err(|error| {
        let key = "rules.directory".to_owned();
        let what = error.source.to_string();
        ConfigErrors(vec![Problem { origin: error.path.display().to_string(), key, what }])
    })?;
    read(&files).map_err(|problems| {
        let problem = |problem: epicenter_rules::Problem| Problem {
            origin: format!("{}:{}", problem.file, problem.line),
            key: problem.field,
            what: problem.what,
        };
        ConfigErrors(problems.0.into_iter().map(problem).collect())
    })
}
