//! Incidents and rules on a terminal.

mod detail;
mod difference;
mod table;
mod tree;

use std::io::IsTerminal;

use epicenter_model::{Severity, Timestamp};

pub use detail::detail;
pub use difference::difference;
pub use table::{Columns, groups, incidents, rules, silences};
pub use tree::explained;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// No colours.
    pub const PLAIN: Self = Self(false);

    /// Colours when standard output is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
    pub fn detect() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// `text` in the colour of a severity.
    pub fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Critical => "1;31",
            Severity::High => "31",
            Severity::Medium => "33",
            Severity::Low => "36",
            Severity::Info => "2",
        };
        self.code(code, text)
    }

    /// `text` that stands out.
    pub fn strong(self, text: &str) -> String {
        self.code("1", text)
    }

    /// `text` that stands back.
    pub fn faint(self, text: &str) -> String {
        self.code("2", text)
    }
}

/// An instant for people: UTC, to the second.
pub fn instant(at: Timestamp) -> String {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000);
    seconds.to_string().replacen('T', " ", 1)
}

/// A length of time in ms for people: its two largest units.
pub fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, 0) => format!("{m}m"),
        (0, 0, m, s) => format!("{m}m{s}s"),
        (0, h, 0, _) => format!("{h}h"),
        (0, h, m, _) => format!("{h}h{m}m"),
        (d, 0, ..) => format!("{d}d"),
        (d, h, ..) => format!("{d}d{h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_spans_in_two_units() {
        for (millis, text) in
            [(-5, "0s"), (59_999, "59s"), (60_000, "1m"), (61_000, "1m1s"), (3_660_000, "1h1m"), (90_000_000, "1d1h")]
        {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn shows_instants_to_the_second() {
        assert_eq!(instant(Timestamp::from_micros(1_999_999)), "1970-01-01 00:00:01Z");
    }
}
