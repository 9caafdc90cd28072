//! From text to items: Lists, single objects and watch messages, in any mixture.

use std::borrow::Cow;
use std::path::Path;

use epicenter_exporter::project::{self, Kind, ProjectError};
use epicenter_model::{Event, ObjectFacts, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ReplayError, Skipped, dump, file, yaml};

/// What was found in a file.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// From Lists and single objects, as listed.
    pub listed: Vec<Item>,
    /// From watch messages, in their order. `true`: the object is gone.
    pub watched: Vec<(Item, bool)>,
    /// What is passed over.
    pub skipped: Vec<Skipped>,
}

/// An Event or an object, with the newest time of the API server's clock in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An Event.
    Event(Box<Event>),
    /// An object, and when it was last written, as far as it says so.
    Object(Box<ObjectFacts>, Option<Timestamp>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'t> {
    #[serde(borrow)]
    api_version: Option<Cow<'t, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'t, str>>,
    #[serde(borrow)]
    items: Option<Vec<&'t RawValue>>,
    #[serde(borrow, rename = "type")]
    message: Option<&'t RawValue>,
    #[serde(borrow)]
    object: Option<&'t RawValue>,
    #[serde(borrow)]
    self_link: Option<Cow<'t, str>>,
    /// In dumps of old clients.
    #[serde(borrow, rename = "Items")]
    old_items: Option<Vec<&'t RawValue>>,
}

/// The times in `metadata` that say when an object was written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMeta {
    managed_fields: Option<Vec<ManagedField>>,
    deletion_timestamp: Option<Timestamp>,
    deletion_grace_period_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ManagedField {
    time: Option<Timestamp>,
}

/// Everything that is in the text of a file.
pub fn parse(path: &Path, text: &str) -> Result<Content, ReplayError> {
    let mut content = Content::default();
    let text = if yaml::is_yaml(text) { yaml::to_json(path, text)?.into() } else { dump::without_logs(text) };
    let text = &*text;
    let mut reader = Reader { path, item: 0, content: &mut content };
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let mut number = 0;
    let mut start = 0;
    while let Some(document) = documents.next() {
        let document = document.map_err(|error| file::malformed(path, text, &error))?;
        number += 1;
        reader.document(document).map_err(|what| {
            let behind = text.len() - text[start..].trim_start().len();
            let line = text[..behind].matches('\n').count() + 1;
            ReplayError::NotKubernetes { file: path.to_owned(), document: number, line, what }
        })?;
        start = documents.byte_offset();
    }
    if number == 0 {
        return Err(ReplayError::Empty { file: path.to_owned() });
    }
    Ok(content)
}

struct Reader<'c> {
    path: &'c Path,
    item: usize,
    content: &'c mut Content,
}

impl Reader<'_> {
    /// Reads a document; an error says why it is none of Kubernetes'.
    fn document(&mut self, json: &RawValue) -> Result<(), String> {
        if let Ok(several) = serde_json::from_str::<Vec<&RawValue>>(json.get()) {
            return several.into_iter().try_for_each(|one| self.document(one));
        }
        let document: Document<'_> = serde_json::from_str(json.get()).map_err(|_| shortened(json.get()))?;
        let list_of = document.kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
        match (list_of, document.items, document.message, document.object) {
            (Some(of), items, ..) => {
                let api_version = document.api_version.unwrap_or_default();
                for item in items.unwrap_or_default() {
                    if let Some(item) = self.read(item, Some((of, &api_version))) {
                        self.content.listed.push(item);
                    }
                }
                Ok(())
            }
            (None, _, Some(message), Some(object)) => {
                self.message(message, object);
                Ok(())
            }
            (None, None, None, None) if let Some(items) = document.old_items => {
                self.old_list(&document.self_link.unwrap_or_default(), items);
                Ok(())
            }
            _ if document.kind.is_some() => {
                if let Some(item) = self.read(json, None) {
                    self.content.listed.push(item);
                }
                Ok(())
            }
            _ => Err(shortened(json.get())),
        }
    }

    /// The list at `link` of an old client's dump: it is read where it is one of Events.
    fn old_list(&mut self, link: &str, items: Vec<&RawValue>) {
        if !link.ends_with("/events") {
            self.item += 1;
            return self.skip(format!("the list `{link}` of an old client: of those, Events are read only"));
        }
        for old in items {
            self.item += 1;
            match dump::versioned(old.get()).as_deref().map(|json| item(json, None)) {
                Some(Ok(found)) => self.content.listed.extend(found),
                Some(Err(why)) => self.skip(why),
                None => self.skip(format!("it is no object: {}", shortened(old.get()))),
            }
        }
    }

    fn message(&mut self, message: &RawValue, object: &RawValue) {
        let gone = match message.get() {
            r#""ADDED""# | r#""MODIFIED""# => false,
            r#""DELETED""# => true,
            r#""BOOKMARK""# => return,
            other => {
                self.item += 1;
                self.skip(format!("a watch message of type {}: {}", other, shortened(object.get())));
                return;
            }
        };
        let item = self.read(object, None);
        // Events are deleted when they expire, which says nothing.
        self.content
            .watched
            .extend(item.filter(|item| !gone || matches!(item, Item::Object(..))).map(|item| (item, gone)));
    }

    /// Reads an item; the items of a typed List do not say what they are, `list` does.
    fn read(&mut self, json: &RawValue, list: Option<(&str, &str)>) -> Option<Item> {
        self.item += 1;
        let outcome = item(json.get(), list);
        outcome.unwrap_or_else(|why| {
            self.skip(why);
            None
        })
    }

    fn skip(&mut self, why: String) {
        self.content.skipped.push(Skipped { file: self.path.to_owned(), item: self.item, why });
    }
}

fn item(json: &str, list: Option<(&str, &str)>) -> Result<Option<Item>, String> {
    let of: Document<'_> = serde_json::from_str(json).map_err(|_| format!("it is no object: {}", shortened(json)))?;
    let typed = list.filter(|(kind, _)| !kind.is_empty());
    let kind = of.kind.as_deref().or(typed.map(|(kind, _)| kind)).ok_or("it has no `kind`")?;
    let api_version = of.api_version.as_deref().or(list.map(|(_, version)| version)).unwrap_or_default();
    let explain = |error: ProjectError| error.to_string();
    if kind == "Event" && (api_version == "v1" || api_version.starts_with("events.k8s.io/")) {
        let event = project::event(json.as_bytes()).map_err(explain)?;
        if event.uid.is_empty() && event.name.is_empty() {
            return Err("an Event without `metadata.uid` and `metadata.name`".to_owned());
        }
        return Ok(Some(Item::Event(Box::new(event))));
    }
    let Some(known) = Kind::of(api_version, kind) else { return Ok(None) };
    let mut facts = project::object_of(known, json.as_bytes()).map_err(explain)?;
    facts.object.api_version = api_version.to_owned();
    let written = written_at(json, &facts);
    Ok(Some(Item::Object(Box::new(facts), written)))
}

/// When an object was last written, by the newest time of the past in it.
fn written_at(json: &str, facts: &ObjectFacts) -> Option<Timestamp> {
    let meta = serde_json::from_str::<Written>(json).unwrap_or_default().metadata;
    // `deletionTimestamp` lies ahead by the grace period.
    let grace = meta.deletion_grace_period_seconds.unwrap_or_default().saturating_mul(1000);
    let asked = meta.deletion_timestamp.map(|at| at.plus_millis(grace.saturating_neg()));
    let managed = meta.managed_fields.unwrap_or_default().into_iter().filter_map(|field| field.time);
    let conditions = facts.conditions.iter().filter_map(|condition| condition.since);
    let ends = facts.containers.iter().filter_map(|container| container.finished_at);
    managed.chain(conditions).chain(ends).chain(facts.created_at).chain(asked).max()
}

fn shortened(json: &str) -> String {
    let mut text: String = json.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect();
    if json.len() > text.len() {
        text.push('…');
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"Event","apiVersion":"v1","metadata":{"name":"a","uid":"u"},"reason":"R"}"#;
    const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"n"}}"#;

    /// `E`vents and `O`bjects: listed | watched | skipped.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let content = parse(Path::new("f.json"), text).unwrap();
        let letter = |item: &Item| if matches!(item, Item::Event(_)) { 'E' } else { 'O' };
        let listed: String = content.listed.iter().map(letter).collect();
        let watched: String =
            content.watched.iter().map(|(item, gone)| if *gone { 'D' } else { letter(item) }).collect();
        assert_eq!(format!("{listed}|{watched}|{}", content.skipped.len()), expected, "{:?}", content.skipped);
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = parse(Path::new("f.json"), text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn reads_lists_objects_and_messages_in_any_mixture() {
        check(&format!(r#"{{"kind":"List","apiVersion":"v1","items":[{EVENT},{POD}]}}"#), "EO||0");
        check(
            r#"{"kind":"EventList","apiVersion":"events.k8s.io/v1","items":[{"metadata":{"name":"a"},"note":"x"}]}"#,
            "E||0",
        );
        check(r#"{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"a","namespace":"b"}}]}"#, "O||0");
        check(&format!("{EVENT}\n{EVENT}{POD}"), "EEO||0");
        check(&format!("[{EVENT},{POD}]"), "EO||0");
        let messages = [("ADDED", EVENT), ("DELETED", EVENT), ("BOOKMARK", POD), ("MODIFIED", POD), ("DELETED", POD)];
        let lines: Vec<String> =
            messages.iter().map(|(of, it)| format!(r#"{{"type":"{of}","object":{it}}}"#)).collect();
        check(&lines.join("\n"), "|EOD|0");
        check(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}"#, "||0");
        check(r#"{"kind":"List","apiVersion":"v1","items":null}"#, "||0");
        check("kind: List\napiVersion: v1\nitems:\n- kind: Event\n  apiVersion: v1\n  metadata: {name: a}\n", "E||0");
        check(&format!("---\nkind: Pod\napiVersion: v1\nmetadata:\n  name: p\n---\n{EVENT}\n"), "OE||0");
    }

    #[test]
    fn reads_dumps_of_old_and_new_clients() {
        let old = |link: &str, item: &str| format!(r#"{{"selfLink":"/api/v1/namespaces/n/{link}","Items":[{item}]}}"#);
        let event = r#"{"name":"a","namespace":"n","uid":"u","InvolvedObject":{"Kind":"Pod"},"Reason":"R"}"#;
        check(&format!("{}\n{}", old("events", event), old("events", "7")), "E||1");
        check(&old("pods", event), "||1");
        let logs =
            "==== START logs for container c of pod n/p ====\nno JSON\n==== END logs for container c of pod n/p ====\n";
        check(&format!("{EVENT}\n{logs}{POD}\n"), "EO||0");
    }

    #[test]
    fn passes_over_what_is_wrong_and_takes_the_rest() {
        check(
            &format!(
                r#"{{"kind":"List","apiVersion":"v1","items":[7,{EVENT},{{"kind":"Event","apiVersion":"v1","count":"x"}}]}}"#
            ),
            "E||2",
        );
        check(r#"{"type":"ERROR","object":{"kind":"Status","code":410}}"#, "||1");
    }

    #[test]
    fn refuses_what_is_not_kubernetes_and_says_where() {
        check_error("", "f.json: it is empty.");
        check_error(" \n", "f.json: it is empty.");
        check_error("hello", "f.json: no JSON (expected value at line 1 column 1) at line 1 column 1.");
        check_error("kind: Event\n---\nkind: [", "f.json: no YAML (");
        check_error("kind: Pod\n---\na: 1", "f.json: document 2 (line 2) is no Kubernetes object: `{\"a\":1}`.");
        check_error(&format!(r#"{{"kind":"List","items":[{EVENT},"#), "f.json: it is cut off at line 1 column");
        check_error(
            &format!("{EVENT}\n{{\"a\":1}}"),
            "f.json: document 2 (line 2) is no Kubernetes object: `{\"a\":1}`.",
        );
    }
}
