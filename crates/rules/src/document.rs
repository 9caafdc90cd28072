//! A YAML document in which every value knows its line.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// From 1.
    pub line: u64,
    /// What it holds.
    pub content: Content,
}

/// What a value holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A text, a number, a truth value or nothing.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// Each key with its line.
    Table(Vec<(String, u64, Node)>),
}

/// What is wrong: its line, its field, and what it is.
pub type Wrong = (u64, String, String);

impl Node {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let said = error.to_string();
            let what = said.lines().next().unwrap_or_default();
            let what = what.strip_prefix(&format!("error: line {line} ")).unwrap_or(what);
            let mend = "indent by spaces, and put a text that has `: ` or ` #` in it between quotes";
            (line, String::new(), format!("this is no YAML: {what}: {mend}"))
        })
    }

    /// As `T`; what is wrong comes with its line, and its path below `place`.
    pub fn read<T: DeserializeOwned>(&self, place: &str) -> Result<T, Wrong> {
        self.read_as(place, &[], self.value())
    }

    /// Reads `whole`, in which this node is at the path `at`.
    pub fn read_as<T: DeserializeOwned>(&self, place: &str, at: &[&str], whole: Value) -> Result<T, Wrong> {
        serde_path_to_error::deserialize(whole).map_err(|error| {
            let path: Vec<String> = error.path().iter().filter_map(step).collect();
            let what = error.inner().to_string();
            let unknown = what.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let unknown = unknown.filter(|name| path.last().is_none_or(|last| last != name)).map(str::to_owned);
            let Some(below) =
                (path.len() >= at.len() && path.iter().zip(at).all(|(a, b)| a == b)).then(|| &path[at.len()..])
            else {
                return (self.line, place.to_owned(), what);
            };
            let path: Vec<String> = below.iter().cloned().chain(unknown).collect();
            let shown = path.iter().fold(place.to_owned(), |shown, step| match step.parse::<usize>() {
                Ok(index) => format!("{shown}[{index}]"),
                Err(_) => format!("{shown}.{step}"),
            });
            (self.line_of(&path), shown, what)
        })
    }

    /// The line of what is at `path`, or of the last part of it that is there.
    pub fn line_of(&self, path: &[impl AsRef<str>]) -> u64 {
        let Some((step, rest)) = path.split_first() else { return self.line };
        let step = step.as_ref();
        match &self.content {
            Content::List(items) => {
                step.parse().ok().and_then(|index: usize| items.get(index)).map_or(self.line, |item| item.line_of(rest))
            }
            Content::Table(rows) => match rows.iter().find(|(key, ..)| key == step) {
                Some((_, line, _)) if rest.is_empty() => *line,
                Some((_, _, value)) => value.line_of(rest),
                None => self.line,
            },
            Content::Scalar(_) => self.line,
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Table(rows) => rows.iter().find(|(name, ..)| name == key).map(|(_, _, value)| value),
            _ => None,
        }
    }

    /// The same without lines.
    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Table(rows) => rows.iter().map(|(key, _, value)| (key.clone(), value.value())).collect(),
        }
    }
}

fn step(segment: &serde_path_to_error::Segment) -> Option<String> {
    match segment {
        serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
        serde_path_to_error::Segment::Map { key } => Some(key.clone()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), content: value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyContent)
    }
}

struct AnyContent;

impl<'de> Visitor<'de> for AnyContent {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<Content, A::Error> {
        let mut table = Vec::new();
        while let Some((key, value)) = rows.next_entry::<Spanned<String>, Node>()? {
            table.push((key.value, key.referenced.line(), value));
        }
        Ok(Content::Table(table))
    }
}
