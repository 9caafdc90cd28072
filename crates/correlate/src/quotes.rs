//! What Events at the root of an incident say, in their own words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most Events of an incident that are quoted: as many as it has possible roots.
const QUOTES: usize = 24;
/// Of a longer message, characters that are kept of its beginning and of its end: a chain of errors has its cause there.
const BEGINNING: usize = 150;
const END: usize = 100;
/// What client-go's recorder puts before the message of an aggregated Event.
const COMBINED: &str = "(combined from similar events): ";

/// Messages of the Events that made possible roots, by the Events' uids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quotes(BTreeMap<Box<str>, Box<str>>);

impl Quotes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of(&self, uid: &str) -> Option<&str> {
        self.0.get(uid).map(|text| &**text)
    }

    /// Keeps what an Event says, if it says anything and there is room. Gives whether it is new.
    pub fn add(&mut self, uid: &str, message: &str) -> bool {
        let text = quoted(message);
        let fits = !text.is_empty() && self.0.len() < QUOTES && !self.0.contains_key(uid);
        fits && self.0.insert(uid.into(), text.into()).is_none()
    }

    /// Takes over what there is room for. Gives whether anything is new.
    pub fn take_over(&mut self, gone: &Self) -> bool {
        let before = self.0.len();
        for (uid, text) in &gone.0 {
            if self.0.len() < QUOTES {
                self.0.entry(uid.clone()).or_insert_with(|| text.clone());
            }
        }
        self.0.len() > before
    }

    /// Those of the Events `uids`.
    pub fn among<'u>(&self, uids: impl Iterator<Item = &'u str>) -> Self {
        let known = uids.filter_map(|uid| self.0.get_key_value(uid));
        Self(known.map(|(uid, text)| (uid.clone(), text.clone())).collect())
    }
}

/// A message as data in a sentence: one line, nothing that a terminal or a page would obey or that ends the quotation, and its
/// middle left out where it is long.
fn quoted(message: &str) -> String {
    let message = message.strip_prefix(COMBINED).unwrap_or(message);
    let words = message.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let visible = |c: &char| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let straight = |c| if matches!(c, '\u{201c}' | '\u{201d}') { '"' } else { c };
    let line = words.collect::<Vec<_>>().join(" ");
    let chars: Vec<char> = line.chars().filter(visible).map(straight).collect();
    if chars.len() <= BEGINNING + END + 3 {
        return chars.into_iter().collect();
    }
    let (beginning, end) = (&chars[..BEGINNING], &chars[chars.len() - END..]);
    let text = |chars: &[char]| chars.iter().collect::<String>();
    format!("{} \u{2026} {}", text(beginning).trim_end(), text(end).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_a_message_as_data() {
        for (message, expected) in [
            ("", ""),
            (" \n\t ", ""),
            ("secret \"db\" not found", "secret \"db\" not found"),
            ("Output: mount.nfs: timed out\n", "Output: mount.nfs: timed out"),
            ("(combined from similar events): Error creating: no", "Error creating: no"),
            ("a\u{1b}[31mred\u{202e}der\u{200b}", "a [31mredder"),
            ("it said \u{201c}no\u{201d} and ended", "it said \"no\" and ended"),
        ] {
            assert_eq!(quoted(message), expected, "{message:?}");
        }
        let long = format!("Failed to pull image: {}: not found", "\u{e9} ".repeat(40_000));
        let short = quoted(&long);
        assert!(short.starts_with("Failed to pull image: ") && short.ends_with(": not found"), "{short}");
        assert!(short.contains(" \u{2026} ") && short.chars().count() <= BEGINNING + END + 3, "{short}");
    }

    #[test]
    fn keeps_a_few_and_the_first() {
        let mut quotes = Quotes::default();
        assert!(quotes.add("a", "one") && !quotes.add("a", "two") && !quotes.add("b", " "));
        let mut other = Quotes::default();
        (0..QUOTES).for_each(|n| assert!(other.add(&format!("e{n}"), "x")));
        assert!(!other.add("more", "x") && !other.take_over(&quotes));
        assert!(quotes.take_over(&other) && !quotes.take_over(&other));
        assert_eq!((quotes.of("a"), quotes.0.len()), (Some("one"), QUOTES));
    }
}
