//! That something goes on: on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::ProgressBar;

/// How often it turns.
const TURN: Duration = Duration::from_millis(120);

/// Turns beside `what` until it is finished or dropped.
pub(super) fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.enable_steady_tick(TURN);
    spinner
}
