//! Incidents and rules on a terminal.

mod detail;
mod difference;
mod table;
mod timeline;
mod tree;

use std::io::IsTerminal;

use epicenter_model::Severity;

pub use detail::detail;
pub use difference::difference;
pub use epicenter_model::{instant, span};
pub use table::{Columns, groups, incidents, rules, silences};
pub use timeline::timeline;
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
