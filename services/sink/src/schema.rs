//! An OpenAPI schema made of an Avro schema, so that the contract is described in one place.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The structural OpenAPI v3 schema of the JSON form of what the Avro schema in `text` describes: enums are strings,
/// instants are RFC 3339 strings. Below the top, objects and maps are atomic for server-side apply: one writer owns them
/// whole, and `managedFields` stays short.
pub(crate) fn of_avro(text: &str) -> Value {
    let avro: Value =
        serde_json::from_str(text).expect("a schema in proto/ is JSON: the contract's own tests parse it");
    let mut schema = Names::default().schema(&avro);
    if let Some(top) = schema.as_object_mut() {
        top.remove(ATOMIC);
    }
    schema
}

const ATOMIC: &str = "x-kubernetes-map-type";
/// Said of Avro's instants, untrue of JSON's.
const IN_MICROS: &str = " Microseconds since the epoch, UTC.";

/// Types that were named so far: Avro defines each where it stands first.
#[derive(Default)]
struct Names(BTreeMap<String, Value>);

impl Names {
    fn schema(&mut self, avro: &Value) -> Value {
        match avro {
            Value::String(name) => self.named(name),
            Value::Array(branches) => self.optional(branches),
            _ => self.complex(avro),
        }
    }

    fn named(&self, name: &str) -> Value {
        match name {
            "string" => json!({"type": "string"}),
            "boolean" => json!({"type": "boolean"}),
            "int" => json!({"type": "integer", "format": "int32"}),
            "long" => json!({"type": "integer", "format": "int64"}),
            "float" | "double" => json!({"type": "number", "format": "double"}),
            _ => self.0.get(name).cloned().unwrap_or_default(),
        }
    }

    /// A union of `null` and one type.
    fn optional(&mut self, branches: &[Value]) -> Value {
        let mut schema = Value::Null;
        for branch in branches.iter().filter(|branch| *branch != "null") {
            schema = self.schema(branch);
        }
        with(schema, "nullable", json!(true))
    }

    fn complex(&mut self, avro: &Value) -> Value {
        let schema = match (avro["type"].as_str().unwrap_or_default(), avro["logicalType"].as_str()) {
            ("record", _) => self.record(avro),
            ("enum", _) => {
                // Symbols cannot hold `-`, names in JSON do.
                let names = avro["symbols"].as_array().into_iter().flatten().filter_map(Value::as_str);
                json!({"type": "string", "enum": names.map(|name| name.replace('_', "-")).collect::<Vec<_>>()})
            }
            ("array", _) => json!({"type": "array", "items": self.schema(&avro["items"])}),
            ("map", _) => {
                json!({"type": "object", "additionalProperties": self.schema(&avro["values"]), ATOMIC: "atomic"})
            }
            (_, Some("timestamp-micros")) => json!({"type": "string", "format": "date-time"}),
            (name, _) => self.named(name),
        };
        if let Some(name) = avro["name"].as_str() {
            self.0.insert(name.to_owned(), schema.clone());
        }
        schema
    }

    fn record(&mut self, avro: &Value) -> Value {
        let mut properties = Map::new();
        for field in avro["fields"].as_array().into_iter().flatten() {
            let schema = self.schema(&field["type"]);
            let doc = field["doc"].as_str().unwrap_or_default().replace(IN_MICROS, "");
            properties
                .insert(field["name"].as_str().unwrap_or_default().to_owned(), with(schema, "description", doc.into()));
        }
        json!({"type": "object", "properties": properties, ATOMIC: "atomic"})
    }
}

fn with(mut schema: Value, key: &str, value: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(key.to_owned(), value);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(avro: &str, expected: Value) {
        let record = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","doc":"D.","type":{avro}}}]}}"#);
        let expected = with(expected, "description", "D.".into());
        assert_eq!(of_avro(&record), json!({"type": "object", "properties": {"f": expected}}));
    }

    #[test]
    fn translates_each_kind_of_type() {
        check(r#""string""#, json!({"type": "string"}));
        check(r#"["null","long"]"#, json!({"type": "integer", "format": "int64", "nullable": true}));
        check(
            r#"{"type":"array","items":"double"}"#,
            json!({"type": "array", "items": {"type": "number", "format": "double"}}),
        );
        check(
            r#"{"type":"map","values":"boolean"}"#,
            json!({"type": "object", "additionalProperties": {"type": "boolean"}, "x-kubernetes-map-type": "atomic"}),
        );
        check(
            r#"{"type":"enum","name":"E","symbols":["a","control_plane"]}"#,
            json!({"type": "string", "enum": ["a", "control-plane"]}),
        );
        check(r#"{"type":"long","logicalType":"timestamp-micros"}"#, json!({"type": "string", "format": "date-time"}));
    }

    #[test]
    fn resolves_names_and_says_what_is_true_of_json() {
        let text = r#"{"type":"record","name":"R","fields":[
            {"name":"a","doc":"When. Microseconds since the epoch, UTC.","type":
                {"type":"record","name":"X","fields":[{"name":"s","doc":"S.","type":"string"}]}},
            {"name":"b","doc":"B.","type":["null","X"]}]}"#;
        let x = json!({"type": "object", "properties": {"s": {"type": "string", "description": "S."}},
            "x-kubernetes-map-type": "atomic"});
        let a = with(x.clone(), "description", "When.".into());
        let b = with(with(x, "nullable", true.into()), "description", "B.".into());
        assert_eq!(of_avro(text), json!({"type": "object", "properties": {"a": a, "b": b}}));
    }
}
