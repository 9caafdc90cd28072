//! `epicenter rules`.

use std::process::ExitCode;

use super::replay::{texts, through, timeline};
use super::{print, print_json};
use crate::cli::{Document, Rules};
use crate::difference::Difference;
use crate::engine::Engine;
use crate::pipeline::Heed;
use crate::render::{self, Paint};
use crate::rules::{files, read};

pub(super) fn run(what: &Rules) -> anyhow::Result<ExitCode> {
    match what {
        Rules::Check { files: paths } => {
            let mut all = Vec::new();
            for path in paths {
                all.extend(files(path)?);
            }
            let rules = read(&all)?;
            print(&format!("{} file(s) of rules are right; their hash is {}\n", all.len(), rules.causal.hash()))?;
        }
        Rules::Test { rules, recordings, output, cluster } => {
            let own = Engine::with(read(&files(rules)?)?);
            let texts = texts(recordings)?;
            let before = through(&Engine::builtin(), timeline(cluster, &texts)?, Heed::Events)?;
            let after = through(&own, timeline(cluster, &texts)?, Heed::Events)?;
            let difference = Difference::between(&before, &after);
            match output {
                Document::Json => print_json(&difference)?,
                Document::Text => print(&render::difference(&difference, Paint::detect()))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
