//! `epicenter rules`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::replay::{texts, through, timeline};
use super::{print, show};
use crate::cli::Rules;
use crate::difference::Difference;
use crate::engine::Engine;
use crate::pipeline::Heed;
use crate::render::{self, Paint};
use crate::rules::{Unreadable, files, read};

/// Names and texts of the files at all these paths.
fn all(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Unreadable> {
    Ok(paths.iter().map(|path| files(path)).collect::<Result<Vec<_>, _>>()?.concat())
}

pub(super) fn run(what: &Rules) -> anyhow::Result<ExitCode> {
    match what {
        Rules::Check { files: paths } => {
            let all = all(paths)?;
            let rules = read(&all)?;
            print(&format!("{} file(s) of rules are right; their hash is {}\n", all.len(), rules.causal.hash()))?;
        }
        Rules::List { files: paths, output } => {
            let listed = read(&all(paths)?)?.listed();
            show(*output, &listed, || render::rules(&listed, Paint::detect()))?;
        }
        Rules::Test { rules, recordings, output, cluster } => {
            let own = Engine::with(read(&files(rules)?)?);
            let texts = texts(recordings)?;
            let before = through(&Engine::builtin(), timeline(cluster, &texts)?, Heed::Events)?;
            let after = through(&own, timeline(cluster, &texts)?, Heed::Events)?;
            let difference = Difference::between(&before, &after);
            show(*output, &difference, || render::difference(&difference, Paint::detect()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
