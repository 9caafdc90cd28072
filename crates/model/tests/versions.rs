//! Records of other versions, and of other frames. `proto/golden/vN/` has the schemas by which version N wrote, beside a
//! record of each.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use apache_avro::writer::datum::GenericDatumWriter;
use epicenter_model::*;
use serde_json::{Value, json};

/// What stands in front of a single object.
const FRAME: usize = 10;

/// The schemas of a registry that answers no more for ids from 500 on.
#[derive(Debug)]
struct Registry(BTreeMap<u32, Arc<Writer>>);

impl Schemas for Registry {
    fn writer(&self, id: u32) -> Result<Arc<Writer>, NoWriter> {
        match id {
            400 => {
                Err(Writer::parse(r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": []}"#)
                    .unwrap_err())
            }
            500.. => Err(NoWriter::Unavailable("http://registry: 500 Internal Server Error".into())),
            id => self.0.get(&id).cloned().ok_or(NoWriter::Unknown),
        }
    }
}

fn registry(writers: impl IntoIterator<Item = (u32, Writer)>) -> Arc<Registry> {
    Arc::new(Registry(writers.into_iter().map(|(id, writer)| (id, Arc::new(writer))).collect()))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto/golden")
}

/// The versions that there were, in order of their numbers.
fn versions() -> Vec<PathBuf> {
    let mut versions: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap()[1..].parse::<u32>().unwrap());
    versions
}

fn schema_of(version: &std::path::Path, record: RecordType) -> Option<String> {
    fs::read_to_string(version.join(format!("{}.avsc", record.name()))).ok()
}

/// The golden record of today's version, and its payload.
fn sample<T: Contract>() -> (T, Vec<u8>) {
    let read = |version: &PathBuf| {
        let json = fs::read_to_string(version.join(format!("{}.json", T::TYPE.name()))).ok()?;
        let bytes = fs::read(version.join(format!("{}.avro", T::TYPE.name()))).ok()?;
        Some((serde_json::from_str(&json).unwrap(), bytes[FRAME..].to_vec()))
    };
    versions().iter().rev().find_map(read).unwrap()
}

/// A record that was written by the schema in `text`, read by this version.
fn read_by<T: Contract>(text: &Value, payload: &[u8]) -> T {
    let writer = Writer::parse(&text.to_string()).unwrap();
    assert!(!writer.is_own());
    let codec = Codec::single_object().reading(registry([(1, writer)]));
    codec.decode(&[&[0, 0, 0, 0, 1], payload].concat()).unwrap()
}

fn check<T: Contract + PartialEq + Debug>() {
    let (name, (sample, payload)) = (T::TYPE.name(), sample::<T>());
    let id = T::TYPE as u32 + 258;
    let confluent = Codec::confluent(BTreeMap::from([(T::TYPE, id)])).reading(registry([(id, Writer::own(T::TYPE))]));
    let framed = confluent.encode(&sample).unwrap();
    assert_eq!(framed, [&[0, 0, 0, 1, T::TYPE as u8 + 2], &payload[..]].concat(), "{name}: only the frame differs");
    assert_eq!(confluent.decode::<T>(&framed).unwrap(), sample);
    let single = Codec::single_object().encode(&sample).unwrap();
    assert_eq!(confluent.decode::<T>(&single).unwrap(), sample, "{name}: either frame is read");

    let own: Value = serde_json::from_str(T::TYPE.schema_text()).unwrap();
    let mut newer = own.clone();
    let field = json!({"name": "ofTomorrow", "type": "string", "default": ""});
    newer["fields"].as_array_mut().unwrap().push(field);
    let read: T = read_by(&newer, &[&payload[..], &[4], b"ab"].concat());
    assert_eq!(read, sample, "{name}: a field that is not known is passed over");

    let mut older = own.clone();
    let fields = older["fields"].as_array_mut().unwrap();
    let last = fields.iter().rposition(|field| field.get("default").is_some());
    let Some(last) = last.map(|index| fields.remove(index)) else { return };
    let [own, of_old] = [&own, &older].map(|schema| Schema::parse_str(&schema.to_string()).unwrap());
    let value = GenericDatumReader::builder(&own).reader_schema(&of_old).build().unwrap();
    let value = value.read_value(&mut &payload[..]).unwrap();
    let written = GenericDatumWriter::builder(&of_old).build().unwrap().write_value_to_vec(value).unwrap();
    let mut expected = serde_json::to_value(&sample).unwrap();
    let name_of_last = last["name"].as_str().unwrap();
    expected[name_of_last] = last["default"].clone();
    let expected: T = serde_json::from_value(expected).unwrap();
    assert_eq!(read_by::<T>(&older, &written), expected, "{name}: {name_of_last}, which is not there, has its default");
}

#[test]
fn a_registry_changes_the_frame_and_other_versions_are_read() {
    check::<RawEvent>();
    check::<ObjectChange>();
    check::<Swept>();
    check::<Heartbeat>();
    check::<Gap>();
    check::<WatchPosition>();
    check::<ObjectFacts>();
    check::<EnrichedEvent>();
    check::<ContextUpdate>();
    check::<IncidentChange>();
    check::<Incident>();
    check::<FleetSignal>();
    check::<DeadLetter>();
    check::<Command>();
    check::<Silence>();
}

#[test]
fn a_symbol_of_another_version_is_read_as_the_default() {
    let (gap, payload) = sample::<Gap>();
    let mut newer: Value = serde_json::from_str(RecordType::Gap.schema_text()).unwrap();
    let fields = newer["fields"].as_array_mut().unwrap();
    let reason = fields.iter_mut().find(|field| field["name"] == "reason").unwrap();
    let default = reason["type"]["default"].as_str().unwrap().to_owned();
    let symbols = reason["type"]["symbols"].as_array_mut().unwrap();
    symbols.push(json!("OF_TOMORROW"));
    let symbol = u8::try_from(symbols.len() - 1).unwrap() * 2;
    let payload = [&payload[..payload.len() - 1], &[symbol]].concat();
    let read: Gap = read_by(&newer, &payload);
    let shown = |gap: &Gap| serde_json::to_value(gap).unwrap();
    assert_eq!(shown(&read)["reason"].as_str().map(str::to_lowercase), Some(default.to_lowercase()));
    assert_eq!(Gap { reason: gap.reason, ..read }, gap, "nothing else is touched");
}

/// FULL_TRANSITIVE: every version reads what every other one wrote.
#[test]
fn all_versions_read_each_other() {
    for record in RecordType::ALL {
        assert_eq!(Schema::parse_str(record.schema_text()).unwrap().name().unwrap().to_string(), record.full_name());
        let mut texts: Vec<String> = versions().iter().filter_map(|version| schema_of(version, *record)).collect();
        assert!(!texts.is_empty(), "proto/golden/ has no schema of {record}: copy it beside its golden record");
        texts.push(record.schema_text().to_owned());
        let schemas: Vec<Schema> = texts.iter().map(|text| Schema::parse_str(text).unwrap()).collect();
        for writer in &schemas {
            for reader in &schemas {
                let found = SchemaCompatibility::can_read(writer, reader);
                assert!(matches!(found, Ok(Compatibility::Full | Compatibility::Partial)), "{record}: {found:?}");
            }
        }
    }
}

#[test]
fn what_any_version_wrote_is_read_without_a_registry() {
    let codec = Codec::single_object();
    for version in versions() {
        for record in RecordType::ALL {
            let Ok(bytes) = fs::read(version.join(format!("{record}.avro"))) else { continue };
            let place = version.display();
            assert_eq!(
                codec.record_type(&bytes).map_err(|error| format!("{place}: {error}; add its schema to EARLIER")),
                Ok(*record)
            );
        }
    }
}

#[track_caller]
fn check_refused(id: u32, expected: &str) {
    let frame = [&[0], &id.to_be_bytes()[..], b"abc"].concat();
    let error = Codec::single_object().reading(registry([])).record_type(&frame).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_retryable()), (expected, id >= 500));
}

#[test]
fn an_id_without_schema_is_refused_and_one_that_cannot_be_asked_for_waits() {
    let mend = "the producer has another registry, or wrote to the wrong topic";
    check_refused(7, &format!("schema id 7: the registry does not know it; {mend}"));
    check_refused(
        400,
        &format!("schema id 400: it is the schema of `shop.Order`, which is no record of Epicenter; {mend}"),
    );
    check_refused(500, "the schema of id 500 cannot be had: http://registry: 500 Internal Server Error");
}
