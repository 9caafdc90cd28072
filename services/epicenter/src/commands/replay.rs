//! `epicenter replay`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{print, print_json, print_yaml};
use crate::cli::{Listing, Replay};
use crate::engine::Engine;
use crate::pipeline::{self, Heed, Outcome, Progress};
use crate::render::{self, Columns, Paint};
use crate::replay::document::{self, Content};
use crate::replay::timeline::Timeline;
use crate::replay::{ReplayError, file};
use crate::settings::Settings;

pub(super) fn run(settings: &Settings, arguments: &Replay) -> anyhow::Result<ExitCode> {
    let engine = Engine::configured(settings)?;
    let texts = texts(&arguments.files)?;
    let outcome = through(&engine, timeline(&arguments.cluster, &texts)?, Heed::Incidents)?;
    for letter in &outcome.dead_letters {
        eprintln!("epicenter: the {} could not process a record: {}", letter.service, letter.error);
    }
    if arguments.explain {
        let paint = Paint::detect();
        let told = outcome.incidents.iter().map(|incident| render::explained(incident, &engine.rules.causal, paint));
        print(&told.collect::<Vec<_>>().join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.output {
        Listing::Json => print_json(&outcome.incidents)?,
        Listing::Yaml => print_yaml(&outcome.incidents)?,
        Listing::Table => print(&render::incidents(&outcome.incidents, Columns::Narrow, Paint::detect()))?,
        Listing::Wide => print(&render::incidents(&outcome.incidents, Columns::Wide, Paint::detect()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The files with what is in them.
pub(super) fn texts(files: &[PathBuf]) -> Result<Vec<(&Path, String)>, ReplayError> {
    files.iter().map(|path| Ok((path.as_path(), file::read(path)?))).collect()
}

/// The timeline of what files hold; an error when that has no Event.
pub(super) fn timeline(cluster: &str, texts: &[(&Path, String)]) -> Result<Timeline, ReplayError> {
    let contents = texts.iter().map(|(path, text)| document::parse(path, text)).collect::<Result<Vec<_>, _>>()?;
    for skipped in contents.iter().flat_map(|content| &content.skipped) {
        eprintln!("epicenter: {skipped}");
    }
    let timeline = Timeline::new(cluster, contents);
    if timeline.events() == 0 {
        let names: Vec<String> = texts.iter().map(|(file, _)| file.display().to_string()).collect();
        return Err(ReplayError::NoEvents { files: names.join(", "), objects: timeline.len() });
    }
    Ok(timeline)
}

/// Runs a timeline through the pipeline, with a progress bar when standard error is a terminal.
pub(super) fn through(engine: &Engine, timeline: Timeline, heed: Heed) -> anyhow::Result<Outcome> {
    let progress = Progress::default();
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} records {elapsed}").context("progress bar")?;
    let bar = ProgressBar::new(0).with_style(style).with_message("correlating");
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| pipeline::run(engine, timeline, &progress, heed));
        while !run.is_finished() {
            let (written, _, correlated) = progress.now();
            bar.set_length(written.max(correlated));
            bar.set_position(correlated);
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        run.join().expect("the pipeline returns its errors")
    });
    bar.finish_and_clear();
    Ok(outcome?)
}

/// What a compiled-in file holds.
pub(super) fn recorded(name: &str, bytes: &[u8]) -> Result<Content, ReplayError> {
    let path = Path::new(name);
    document::parse(path, &file::text(path, bytes.to_vec())?)
}
