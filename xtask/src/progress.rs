//! One line per step, with the time it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs one step: a spinner while it lasts when standard error is a terminal, and one line when it is done.
pub fn step<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let spinner = ProgressBar::new_spinner();
    if spinner.is_hidden() {
        eprintln!("{what} ...");
    } else {
        spinner.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
        spinner.set_message(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(120));
    }
    let result = run();
    spinner.finish_and_clear();
    let took = started.elapsed().as_secs_f32();
    eprintln!("{what}: {} after {took:.1} s", if result.is_ok() { "done" } else { "failed" });
    result.with_context(|| what.to_owned())
}
