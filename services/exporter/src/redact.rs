//! What is left out of Events and objects before they leave the cluster.

use std::collections::BTreeMap;

use epicenter_model::{Event, ObjectFacts};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// What is left out. Nothing by default.
///
/// A field is `note` (an Event's note, and the messages in an object's status), `labels.KEY` or `annotations.KEY`; a `*` at
/// the end of a key stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactConfig {
    /// Fields that are dropped.
    pub drop: Vec<String>,
    /// What is replaced in fields, in that order.
    pub replace: Vec<Replace>,
}

/// A replacement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replace {
    /// Where.
    pub fields: Vec<String>,
    /// A regular expression, as of the crate `regex`; every match is replaced.
    pub pattern: String,
    /// By what; `$1` is the first group.
    pub with: String,
}

impl Default for Replace {
    fn default() -> Self {
        Self { fields: vec!["note".to_owned()], pattern: String::new(), with: "***".to_owned() }
    }
}

/// Leaves out what is configured.
#[derive(Debug, Default)]
pub(crate) struct Redaction(Vec<(Field, Change)>);

#[derive(Debug)]
enum Field {
    Note,
    Labels(Key),
    Annotations(Key),
}

#[derive(Debug)]
enum Key {
    Whole(String),
    Prefix(String),
}

#[derive(Clone, Debug)]
enum Change {
    Drop,
    Replace(Regex, String),
}

impl Redaction {
    /// Reads the configuration; else says all that is wrong with it: key and reason.
    pub(crate) fn new(config: &RedactConfig) -> Result<Self, Vec<(String, String)>> {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        let mut add = |key: String, fields: &[String], change: &Change| {
            for text in fields {
                match Field::read(text) {
                    Some(field) => rules.push((field, change.clone())),
                    None => problems.push((
                        key.clone(),
                        format!(
                            "`{text}` is no field: write note, labels.KEY or annotations.KEY, such as labels.team-*"
                        ),
                    )),
                }
            }
        };
        add("redact.drop".to_owned(), &config.drop, &Change::Drop);
        let mut patterns = Vec::new();
        for (index, Replace { fields, pattern, with }) in config.replace.iter().enumerate() {
            let key = format!("redact.replace[{index}]");
            match Regex::new(pattern) {
                Ok(_) if pattern.is_empty() => patterns.push((key, "has no pattern".to_owned())),
                Ok(regex) => add(key, fields, &Change::Replace(regex, with.clone())),
                Err(error) => patterns.push((key, format!("has a pattern that is no regular expression: {error}"))),
            }
        }
        problems.extend(patterns);
        if problems.is_empty() { Ok(Self(rules)) } else { Err(problems) }
    }

    /// There is nothing to be left out.
    pub(crate) fn is_off(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn event(&self, event: &mut Event) {
        for (field, change) in &self.0 {
            match field {
                Field::Note => change.of(&mut event.note),
                Field::Labels(key) => change.of_values(&mut event.labels, key),
                Field::Annotations(key) => change.of_values(&mut event.annotations, key),
            }
        }
    }

    pub(crate) fn object(&self, facts: &mut ObjectFacts) {
        for (field, change) in &self.0 {
            match field {
                Field::Note => {
                    facts.conditions.iter_mut().for_each(|condition| change.of(&mut condition.message));
                    facts.containers.iter_mut().for_each(|container| change.of(&mut container.waiting_message));
                }
                Field::Labels(key) => change.of_values(&mut facts.labels, key),
                Field::Annotations(_) => {}
            }
        }
    }
}

impl Field {
    fn read(text: &str) -> Option<Self> {
        let key = |key: &str| match key.strip_suffix('*') {
            Some(prefix) => Some(Key::Prefix(prefix.to_owned())),
            None => (!key.is_empty()).then(|| Key::Whole(key.to_owned())),
        };
        match text.split_once('.') {
            None => (text == "note").then_some(Self::Note),
            Some(("labels", name)) => key(name).map(Self::Labels),
            Some(("annotations", name)) => key(name).map(Self::Annotations),
            Some(_) => None,
        }
    }
}

impl Key {
    fn is(&self, key: &str) -> bool {
        match self {
            Self::Whole(whole) => key == whole,
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

impl Change {
    fn of(&self, text: &mut String) {
        match self {
            Self::Drop => text.clear(),
            Self::Replace(pattern, with) => {
                if let std::borrow::Cow::Owned(changed) = pattern.replace_all(text, with) {
                    *text = changed;
                }
            }
        }
    }

    fn of_values(&self, values: &mut BTreeMap<String, String>, key: &Key) {
        match self {
            Self::Drop => values.retain(|name, _| !key.is(name)),
            Self::Replace(..) => {
                values.iter_mut().filter(|(name, _)| key.is(name)).for_each(|(_, value)| self.of(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Condition, ContainerFacts};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn redaction(json: &str) -> Redaction {
        Redaction::new(&serde_json::from_str(json).unwrap()).unwrap()
    }

    /// Note, labels and annotations of an Event after `json` has been applied.
    #[track_caller]
    fn check(json: &str, note: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) {
        let mut event = Event {
            note: "login of bob failed: token=abc token=def".into(),
            labels: map(&[("team-x", "red"), ("team-y", "blue"), ("app", "web")]),
            annotations: map(&[("user", "bob")]),
            ..Event::default()
        };
        redaction(json).event(&mut event);
        assert_eq!((event.note.as_str(), event.labels, event.annotations), (note, map(labels), map(annotations)));
    }

    const LABELS: [(&str, &str); 3] = [("app", "web"), ("team-x", "red"), ("team-y", "blue")];
    const NOTE: &str = "login of bob failed: token=abc token=def";

    #[test]
    fn drops_and_replaces_in_fields_of_events() {
        check("{}", NOTE, &LABELS, &[("user", "bob")]);
        check(r#"{"drop":["note","annotations.*"]}"#, "", &LABELS, &[]);
        check(r#"{"drop":["labels.team-*"]}"#, NOTE, &LABELS[..1], &[("user", "bob")]);
        check(
            r#"{"replace":[{"pattern":"token=\\S+"},{"pattern":"(login of) \\S+","with":"$1 somebody"}]}"#,
            "login of somebody failed: *** ***",
            &LABELS,
            &[("user", "bob")],
        );
        check(
            r#"{"replace":[{"fields":["annotations.user","labels.app"],"pattern":".+","with":"x"}]}"#,
            NOTE,
            &[("app", "x"), ("team-x", "red"), ("team-y", "blue")],
            &[("user", "x")],
        );
    }

    #[test]
    fn takes_the_messages_of_objects_for_notes() {
        let mut facts = ObjectFacts {
            conditions: vec![Condition { message: "pin 1234".into(), ..Condition::default() }],
            containers: vec![ContainerFacts { waiting_message: "pin 5678".into(), ..ContainerFacts::default() }],
            labels: map(&[("a", "pin 9")]),
            ..ObjectFacts::default()
        };
        redaction(r#"{"drop":["labels.a"],"replace":[{"pattern":"\\d+"}]}"#).object(&mut facts);
        assert_eq!(facts.conditions[0].message, "pin ***");
        assert_eq!(facts.containers[0].waiting_message, "pin ***");
        assert!(facts.labels.is_empty());
    }

    #[test]
    fn says_all_that_is_wrong() {
        let config: RedactConfig = serde_json::from_str(
            r#"{"drop":["notes","labels."],"replace":[{"pattern":"("},{"fields":["x.y"],"pattern":"a"},{}]}"#,
        )
        .unwrap();
        let problems = Redaction::new(&config).unwrap_err();
        let keys: Vec<_> = problems.iter().map(|(key, _)| key.as_str()).collect();
        let replace = ["redact.replace[1]", "redact.replace[0]", "redact.replace[2]"];
        assert_eq!(keys, [["redact.drop"; 2].as_slice(), &replace].concat());
    }
}
