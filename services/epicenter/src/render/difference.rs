//! What other rules would change, for people.

use std::fmt::Write;

use super::Paint;
use crate::difference::{Difference, Events, Meaning, Told};

/// The difference, a line for each group of Events and each incident.
pub fn difference(difference: &Difference, paint: Paint) -> String {
    if difference.is_empty() {
        return "nothing would change\n".to_owned();
    }
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", paint.strong(title));
            lines.iter().for_each(|line| text.extend(["  ", line, "\n"]));
        }
    };
    let dropped = |events: &Events| format!("{} × {}: {}", events.count, events.reason, meaning(&events.before));
    section("Events that would be dropped", difference.dropped.iter().map(dropped).collect());
    let changed = |events: &Events| {
        let after = events.after.as_ref().map_or_else(String::new, meaning);
        format!("{} -> {after}", dropped(events))
    };
    section("Events that would mean something else", difference.changed.iter().map(changed).collect());
    let line = |told: &Told| format!("{}  {} {}  {}", told.id, told.severity, told.class, told.title);
    section("Incidents that would vanish", difference.vanish.iter().map(line).collect());
    section("Incidents that would appear", difference.appear.iter().map(line).collect());
    section(
        "Incidents that would change",
        difference.change.iter().map(|(one, other)| otherwise(one, other)).collect(),
    );
    text
}

fn meaning(meaning: &Meaning) -> String {
    format!("{} ({}, {}, {})", meaning.class, meaning.category, meaning.severity, meaning.role)
}

/// An incident, and what would be told otherwise of it.
fn otherwise(one: &Told, other: &Told) -> String {
    let root = |told: &Told| format!("{} ({})", told.object, told.class);
    let parts = [
        ("severity", one.severity.to_owned(), other.severity.to_owned()),
        ("state", one.state.to_owned(), other.state.to_owned()),
        ("root", root(one), root(other)),
        ("title", one.title.clone(), other.title.clone()),
        ("Events", one.events.to_string(), other.events.to_string()),
    ];
    let parts = parts.into_iter().filter(|(_, one, other)| one != other);
    let parts: Vec<String> = parts.map(|(what, one, other)| format!("{what} {one} -> {other}")).collect();
    format!("{}  {}: {}", one.id, one.title, parts.join(", "))
}
