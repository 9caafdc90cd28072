//! `epicenter replay`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{print, print_json};
use crate::cli::{Listing, Replay};
use crate::engine::Engine;
use crate::pipeline::{self, Outcome, Progress};
use crate::render::{self, Columns, Paint};
use crate::replay::document::{self, Content};
use crate::replay::timeline::Timeline;
use crate::replay::{ReplayError, file};

pub(super) fn run(arguments: &Replay) -> anyhow::Result<ExitCode> {
    let mut contents = Vec::new();
    for path in &arguments.files {
        contents.push(document::parse(path, &file::read(path)?)?);
    }
    for skipped in contents.iter().flat_map(|content| &content.skipped) {
        eprintln!("epicenter: {skipped}");
    }
    let timeline = timeline(&arguments.cluster, contents, &arguments.files)?;
    let outcome = through(timeline)?;
    for letter in &outcome.dead_letters {
        eprintln!("epicenter: the {} could not process a record: {}", letter.service, letter.error);
    }
    match arguments.output {
        Listing::Json => print_json(&outcome.incidents)?,
        Listing::Table => print(&render::incidents(&outcome.incidents, Columns::Narrow, Paint::detect()))?,
        Listing::Wide => print(&render::incidents(&outcome.incidents, Columns::Wide, Paint::detect()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The timeline of what the files hold; an error when that has no Event.
fn timeline(cluster: &str, contents: Vec<Content>, files: &[PathBuf]) -> Result<Timeline, ReplayError> {
    let timeline = Timeline::new(cluster, contents);
    if timeline.events() == 0 {
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        return Err(ReplayError::NoEvents { files: names.join(", "), objects: timeline.len() });
    }
    Ok(timeline)
}

/// Runs a timeline through the pipeline, with a progress bar when standard error is a terminal.
pub(super) fn through(timeline: Timeline) -> anyhow::Result<Outcome> {
    let engine = Engine::builtin();
    let progress = Progress::default();
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} records {elapsed}").context("progress bar")?;
    let bar = ProgressBar::new(0).with_style(style).with_message("correlating");
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| pipeline::run(&engine, timeline, &progress));
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
