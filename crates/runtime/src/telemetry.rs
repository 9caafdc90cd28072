//! Logs: for people on a terminal, one JSON object per line elsewhere. Always to stderr; stdout is for results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    // Fails when there is a subscriber already, as in tests.
    let _ = if terminal {
        subscriber.with_target(false).try_init()
    } else {
        subscriber.json().flatten_event(true).try_init()
    };
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::try_new(filter).map_err(|source| FilterError { filter: filter.to_owned(), source })
}
