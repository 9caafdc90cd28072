//! The custom resource `Incident`.
// Print columns have the same attributes each.
#![allow(clippy::duplicated_attributes)]

use std::borrow::Cow;

use epicenter_model::{self as model, IncidentState, RecordType, Timestamp};
use kube::{CustomResource, CustomResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::publish::ended_at;
use crate::{bounds, schema};

/// The largest status in JSON, bytes. With metadata, labels and `managedFields` an object stays below 16 KiB.
pub const MAX_STATUS_BYTES: usize = 12 * 1024;
/// What the status holds besides the document, at most, bytes.
const AROUND_DOCUMENT: usize = 512;

/// What the API server says when a write would take an incident back.
pub(crate) const GUARD_MESSAGE: &str = "an incident never goes back to an earlier version";
const GUARD_RULE: &str = "self.logEpoch > oldSelf.logEpoch || \
                          (self.logEpoch == oldSelf.logEpoch && self.version >= oldSelf.version)";

/// Which incident an object stands for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "epicenter.dev",
    version = "v1alpha1",
    kind = "Incident",
    root = "IncidentObject",
    plural = "incidents",
    shortname = "inc",
    category = "epicenter",
    status = "IncidentStatus",
    derive = "PartialEq",
    doc = "Some Events, the one cause that explains them, and what it comes to.",
    printcolumn(name = "Severity", type_ = "string", json_path = ".status.severity"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Category", type_ = "string", json_path = ".status.category"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster", priority = 1),
    printcolumn(name = "Cause", type_ = "string", json_path = ".status.cause.class"),
    printcolumn(name = "Events", type_ = "integer", json_path = ".status.events.occurrences"),
    printcolumn(name = "Opened", type_ = "date", json_path = ".status.openedAt"),
    printcolumn(name = "Title", type_ = "string", json_path = ".status.title")
)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "an object stands for one incident, always"}]))]
#[serde(rename_all = "camelCase")]
pub struct IncidentSpec {
    /// The cluster's name.
    pub cluster: String,
    /// The incident's id, which is also the object's name.
    pub id: String,
}

/// The incident, as it is now: the document of topic `incidents`, below [`MAX_STATUS_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IncidentStatus {
    /// Counts how often the log of the installation was begun anew. Within an epoch versions only grow.
    pub log_epoch: i64,
    /// The document.
    #[serde(flatten)]
    pub document: model::Incident,
    /// `Active`: whether the incident is open.
    pub conditions: Vec<Condition>,
}

/// A condition of an object, as Kubernetes' API conventions want it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `Active`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In one word.
    pub reason: String,
    /// In one sentence.
    pub message: String,
    /// When `status` changed.
    pub last_transition_time: Timestamp,
}

impl JsonSchema for IncidentStatus {
    fn schema_name() -> Cow<'static, str> {
        "IncidentStatus".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut status = schema::of_avro(RecordType::Incident.schema_text());
        status["properties"]["logEpoch"] = json!({
            "type": "integer", "format": "int64",
            "description": "Counts how often the log of the installation was begun anew. Within an epoch versions only grow.",
        });
        status["properties"]["conditions"] = json!({
            "type": "array",
            "description": "Active: whether the incident is open.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "lastTransitionTime"],
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "reason": {"type": "string", "minLength": 1},
                    "message": {"type": "string"},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                },
            },
        });
        status["required"] = json!(["logEpoch", "version"]);
        status["x-kubernetes-validations"] = json!([{"rule": GUARD_RULE, "message": GUARD_MESSAGE}]);
        Schema::try_from(status).expect("an object is a schema")
    }
}

impl IncidentStatus {
    /// The status that shows `document`, cut down to [`MAX_STATUS_BYTES`]. `before` is the status that it replaces.
    pub fn new(document: &model::Incident, log_epoch: i64, before: Option<&Self>) -> Self {
        let mut document = document.clone();
        bounds::bound(&mut document);
        // A document is plain data: it can always be written.
        let size = |document: &model::Incident| serde_json::to_vec(document).map_or(0, |bytes| bytes.len());
        bounds::fit(&mut document, MAX_STATUS_BYTES - AROUND_DOCUMENT, size);
        let conditions = vec![active(&document, before)];
        Self { log_epoch, document, conditions }
    }

    /// Where it stands in the order that the guard keeps.
    pub fn position(&self) -> (i64, i64) {
        (self.log_epoch, self.document.version)
    }
}

fn active(document: &model::Incident, before: Option<&IncidentStatus>) -> Condition {
    let (status, reason, message) = match document.state {
        IncidentState::Open => ("True", "Open", "The incident goes on.".to_owned()),
        IncidentState::Resolved => ("False", "Resolved", "The incident is over.".to_owned()),
        IncidentState::Merged => {
            let into = document.merged_into.as_deref().unwrap_or("another incident");
            ("False", "Merged", format!("It is part of {into}."))
        }
    };
    let known = before.and_then(|before| before.conditions.iter().find(|known| known.type_ == "Active"));
    let last_transition_time = match known {
        Some(known) if known.status == status => known.last_transition_time,
        // It came back.
        Some(_) if status == "True" => document.last_event_at,
        _ => ended_at(document).unwrap_or(document.opened_at),
    };
    Condition { type_: "Active".into(), status: status.into(), reason: reason.into(), message, last_transition_time }
}

/// The custom resource definition in YAML, as it stands in `deploy/crds/incidents.yaml`.
pub fn crd_yaml() -> String {
    let yaml = serde_saphyr::to_string(&IncidentObject::crd()).expect("a definition is plain data");
    format!("# Generated by `epicenter crd`. Install with `kubectl apply --server-side -f`.\n{yaml}")
}

#[cfg(test)]
mod tests {
    use expect_test::{expect, expect_file};
    use serde_json::Value;

    use super::*;
    use crate::bounds::tests::worst;

    #[test]
    fn the_file_in_deploy_is_this_definition() {
        expect_file!["../../../deploy/crds/incidents.yaml"].assert_eq(&crd_yaml());
    }

    #[test]
    fn yaml_says_the_same_as_the_definition() {
        let read: Value = serde_saphyr::from_str(&crd_yaml()).unwrap();
        assert_eq!(read, serde_json::to_value(IncidentObject::crd()).unwrap());
    }

    #[test]
    fn the_schema_declares_every_field_of_the_document() {
        let crd = serde_json::to_value(IncidentObject::crd()).unwrap();
        let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        let mut document = worst("x");
        document.resolved_at = Some(Timestamp::from_micros(1));
        assert_declared(&serde_json::to_value(IncidentStatus::new(&document, 0, None)).unwrap(), status, "status");
    }

    fn assert_declared(value: &Value, schema: &Value, path: &str) {
        let kind = match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let below = match &schema["additionalProperties"] {
                        Value::Null => &schema["properties"][name],
                        values => values,
                    };
                    assert_declared(field, below, &format!("{path}.{name}"));
                }
                "object"
            }
            Value::Array(items) => {
                items.iter().for_each(|item| assert_declared(item, &schema["items"], &format!("{path}[]")));
                "array"
            }
            Value::String(_) => "string",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::Null => return assert_eq!(schema["nullable"], true, "{path}"),
        };
        assert_eq!(schema["type"], kind, "{path}");
    }

    fn node_down() -> model::Incident {
        let mut document = model::Incident {
            id: "epc-7f3k2m9q4a".into(),
            version: 14,
            cluster: "prod-eu-1".into(),
            severity: model::Severity::Critical,
            category: model::Category::ControlPlane,
            title: "Node worker1 is not ready".into(),
            opened_at: Timestamp::from_millis(1_000),
            last_event_at: Timestamp::from_millis(2_500),
            ..model::Incident::default()
        };
        document.cause.class = "node.not_ready".into();
        document.cause.object = model::ObjectRef::named("Node", "", "worker1");
        document.events.by_reason.insert("NodeNotReady".into(), 1);
        document
    }

    #[test]
    fn the_status_is_the_document_with_epoch_and_condition() {
        let document = node_down();
        let status = IncidentStatus::new(&document, 3, None);
        let mut json = serde_json::to_value(&status).unwrap();
        let read: IncidentStatus = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(read, status);
        let fields = json.as_object_mut().unwrap();
        assert_eq!(fields.remove("logEpoch"), Some(json!(3)));
        expect![[r#"[{"lastTransitionTime":"1970-01-01T00:00:01Z","message":"The incident goes on.","reason":"Open","status":"True","type":"Active"}]"#]]
            .assert_eq(&fields.remove("conditions").unwrap().to_string());
        assert_eq!(json, serde_json::to_value(&document).unwrap());
        expect![[r#"{"acknowledged":null,"backfill":false,"category":"control-plane","cause":{"candidates":[],"class":"node.not_ready","confidence":0.0,"object":{"apiVersion":"","kind":"Node","name":"worker1","namespace":"","uid":""},"observed":false},"cluster":"prod-eu-1","events":{"byReason":{"NodeNotReady":1},"objects":0,"occurrences":0},"explanation":[],"id":"epc-7f3k2m9q4a","impact":{"namespaces":[],"nodes":0,"pods":0,"workloadCount":0,"workloads":[]},"lastEventAt":"1970-01-01T00:00:02.5Z","members":[],"mergedInto":null,"notes":[],"openedAt":"1970-01-01T00:00:01Z","recurrence":{"count":0,"ended":null,"firstAt":null,"hours":null,"lastAt":null,"novelty":"known","periodMs":null,"place":null,"previous":[],"scaledUp":0},"resolvedAt":null,"severity":"critical","silenced":null,"state":"open","title":"Node worker1 is not ready","truncated":0,"version":14}"#]]
            .assert_eq(&json.to_string());
    }

    #[test]
    fn a_status_never_exceeds_its_limit() {
        for filling in ["\"", "\u{0}", "é", "日", "🦀", "x"] {
            let status = IncidentStatus::new(&worst(filling), i64::MAX, None);
            let length = serde_json::to_vec(&status).unwrap().len();
            assert!(length <= MAX_STATUS_BYTES, "{filling:?}: {length}");
            assert!(length > MAX_STATUS_BYTES / 2, "{filling:?}: more fits than {length}");
            assert_eq!(status.document.truncated, 9000 - status.document.members.len() as i64);
        }
    }

    #[track_caller]
    fn check_active(state: IncidentState, before: Option<&IncidentStatus>, expected: &str) -> IncidentStatus {
        let mut document = node_down();
        document.state = state;
        document.resolved_at = (state == IncidentState::Resolved).then_some(Timestamp::from_millis(9_000));
        let status = IncidentStatus::new(&document, 0, before);
        let [Condition { status: active, reason, last_transition_time, .. }] = &status.conditions[..] else { panic!() };
        assert_eq!(format!("{active} {reason} {last_transition_time}"), expected);
        status
    }

    #[test]
    fn the_condition_remembers_when_it_changed() {
        let open = check_active(IncidentState::Open, None, "True Open 1970-01-01T00:00:01Z");
        let same = check_active(IncidentState::Open, Some(&open), "True Open 1970-01-01T00:00:01Z");
        let over = check_active(IncidentState::Resolved, Some(&same), "False Resolved 1970-01-01T00:00:09Z");
        check_active(IncidentState::Merged, Some(&over), "False Merged 1970-01-01T00:00:09Z");
        check_active(IncidentState::Open, Some(&over), "True Open 1970-01-01T00:00:02.5Z");
    }
}
