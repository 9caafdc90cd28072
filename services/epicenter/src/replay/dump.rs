//! What `kubectl cluster-info dump` writes: documents with the containers' logs between them. Those of old clients (1.9 and
//! before) have neither `kind` nor `metadata`, but the fields' names in the program: `{"selfLink":…,"Items":[{"Reason":…}]}`.

use std::borrow::Cow;

use serde_json::{Map, Value};

const LOGS_BEGIN: &str = "==== START logs for container ";
/// Not always at the beginning of a line: the logs' last one may have no end.
const LOGS_END: &str = "==== END logs for container ";
/// What the client says in the end.
const DONE: &str = "Cluster info dumped to ";

/// `text` with an empty line for each line that is no JSON but of such a dump, so that lines keep their numbers.
pub fn without_logs(text: &str) -> Cow<'_, str> {
    let begins = |line: &str| line.starts_with(LOGS_BEGIN) || line.starts_with(DONE);
    if !text.lines().any(begins) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut within = false;
    for line in text.split_inclusive('\n') {
        within |= begins(line);
        kept.push_str(if within { "\n" } else { line });
        within &= !line.contains(LOGS_END) && !line.starts_with(DONE);
    }
    Cow::Owned(kept)
}

/// An Event of an old client's dump as the API has it; `None` when it is no object.
pub fn versioned(json: &str) -> Option<String> {
    let old: Map<String, Value> = serde_json::from_str(json).ok()?;
    let (metadata, fields): (Map<_, _>, Map<_, _>) =
        old.into_iter().partition(|(name, _)| name.starts_with(|first: char| first.is_lowercase()));
    let mut event = named_as_in_the_api(fields);
    event.insert("metadata".to_owned(), Value::Object(metadata));
    for (name, value) in [("kind", "Event"), ("apiVersion", "v1")] {
        event.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Some(Value::Object(event).to_string())
}

fn named_as_in_the_api(fields: Map<String, Value>) -> Map<String, Value> {
    let value = |value| match value {
        Value::Object(inner) => Value::Object(named_as_in_the_api(inner)),
        other => other,
    };
    fields.into_iter().map(|(name, inner)| (api_name(&name), value(inner))).collect()
}

/// `uid` of `UID`, `apiVersion` of `APIVersion`, `firstTimestamp` of `FirstTimestamp`.
fn api_name(field: &str) -> String {
    let capitals = field.chars().take_while(char::is_ascii_uppercase).count();
    let lowered = if capitals == field.len() { capitals } else { capitals.saturating_sub(1).max(1) };
    field.chars().enumerate().map(|(at, c)| if at < lowered { c.to_ascii_lowercase() } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_logs_and_keeps_the_lines() {
        let text = "{}\n==== START logs for container a of pod n/p ====\n{\"kind\":\"Event\"}\n\
                    no end==== END logs for container a of pod n/p ====\n{}\nCluster info dumped to standard output\n{}\n";
        assert_eq!(without_logs(text), "{}\n\n\n\n{}\n\n{}\n");
        assert_eq!(without_logs("{}\n==== START logs for container a of pod n/p ====\ncut"), "{}\n\n\n");
        assert!(matches!(without_logs("{}\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn names_fields_as_in_the_api() {
        let old = r#"{"name":"a.1","namespace":"n","uid":"u","InvolvedObject":{"Kind":"Pod","UID":"p","APIVersion":"v1","FieldPath":""},
            "Reason":"R","Source":{"Component":"kubelet"},"FirstTimestamp":null,"Count":3,"Type":"Normal"}"#;
        let new = r#"{"metadata":{"name":"a.1","namespace":"n","uid":"u"},"kind":"Event","apiVersion":"v1","reason":"R","count":3,
            "involvedObject":{"kind":"Pod","uid":"p","apiVersion":"v1","fieldPath":""},"source":{"component":"kubelet"},
            "firstTimestamp":null,"type":"Normal"}"#;
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(&versioned(old).unwrap()), read(new));
        assert_eq!(versioned("7"), None);
    }
}
