//! Numbers and times in sentences.

use std::fmt::Write;

use epicenter_model::Timestamp;

/// Adds a number of things.
pub(crate) fn push_plural(text: &mut String, count: i64, noun: &str) {
    let end = if count == 1 { "" } else { "s" };
    _ = write!(text, "{count} {noun}{end}");
}

/// A number of things.
pub(crate) fn plural(count: i64, noun: &str) -> String {
    let mut text = String::new();
    push_plural(&mut text, count, noun);
    text
}

/// `11:02:04 UTC` of an RFC 3339 instant.
pub(crate) fn clock(at: Timestamp) -> String {
    let second = at.as_micros().div_euclid(1_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// As a sentence begins.
pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
