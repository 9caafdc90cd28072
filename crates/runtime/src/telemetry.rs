//! Logs: for people on a terminal, one JSON object per line elsewhere. Always to stderr; stdout is for results.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// What is logged can be changed while the process runs: there is one log, and this is its filter.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// A filter that `tracing` does not understand.
#[derive(Debug, thiserror::Error)]
#[error("log filter `{filter}`: {source}; write a level, or targets with levels, such as `info,epicenter_bus=debug`")]
pub struct FilterError {
    filter: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Checks a filter.
pub fn check(filter: &str) -> Result<(), FilterError> {
    parse(filter).map(drop)
}

/// Starts logging by `RUST_LOG`, or by `filter` when that is not set. Only the first call has an effect.
pub fn init(filter: &str) -> Result<(), FilterError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => parse(&filter)?,
        _ => parse(filter)?,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    // Fails when there is a subscriber already, as in tests.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        // The one subscriber has the one handle.
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// The filter in force; `None` before [`init`].
pub fn filter() -> Option<String> {
    FILTER.get()?.with_current(ToString::to_string).ok()
}

/// Logs by `filter` from now on. Without effect before [`init`].
pub fn set_filter(filter: &str) -> Result<(), FilterError> {
    let filter = parse(filter)?;
    let shown = filter.to_string();
    if FILTER.get().is_some_and(|handle| handle.reload(filter).is_ok()) {
        tracing::warn!(filter = shown, "the log filter was changed");
    }
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::try_new(filter).map_err(|source| FilterError { filter: filter.to_owned(), source })
}
