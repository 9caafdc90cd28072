//! OpenTelemetry's protocol over HTTP: an incident's transition as a log record
//! (opentelemetry.io/docs/specs/otlp, opentelemetry.io/docs/specs/otel/logs/data-model).

use epicenter_model::{ObjectRef, Severity, Timestamp};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Variant;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::notice::{Kind, Notice};

/// Where a collector takes log records, below its address.
pub(crate) const PATH: &str = "/v1/logs";
pub(crate) const MEDIA: &str = "application/x-protobuf";

/// The request's body.
pub(crate) fn body(notice: &Notice) -> Vec<u8> {
    let Entry { event, at, severity: (number, name), text, attributes } = entry(notice);
    let record = LogRecord {
        time_unix_nano: nanos(at),
        observed_time_unix_nano: nanos(notice.at),
        severity_number: number,
        severity_text: name.to_owned(),
        event_name: event,
        body: Some(value(&Value::from(text))),
        attributes: attributes.iter().map(|(key, of)| pair(key, of)).collect(),
        ..LogRecord::default()
    };
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", "epicenter"), ("service.version", version)];
    let resource =
        Resource { attributes: resource.map(|(key, of)| pair(key, &Value::from(of))).to_vec(), ..Resource::default() };
    let scope =
        InstrumentationScope { name: "epicenter".to_owned(), version: version.to_owned(), ..Default::default() };
    let logs = ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() };
    let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()
}

/// Why a collector that answered with success has not taken the record; `None` when it has.
pub(crate) fn refusal(answer: &[u8]) -> Option<String> {
    let partly = ExportLogsServiceResponse::decode(answer).ok()?.partial_success?;
    (partly.rejected_log_records > 0).then_some(partly.error_message)
}

/// The record for people who try a file.
pub(crate) fn text(notice: &Notice) -> String {
    let Entry { event, at, severity: (number, name), text, attributes } = entry(notice);
    json!({
        "eventName": event,
        "time": at,
        "observedTime": notice.at,
        "severityNumber": number,
        "severityText": name,
        "body": text,
        "attributes": attributes,
    })
    .to_string()
}

struct Entry {
    event: String,
    at: Timestamp,
    severity: (i32, &'static str),
    text: String,
    attributes: Map<String, Value>,
}

fn entry(notice: &Notice) -> Entry {
    let incident = &notice.incident;
    let (what, at) = match notice.kind {
        Kind::Firing => ("opened", incident.opened_at),
        Kind::Worse => ("worse", incident.last_event_at),
        Kind::Repeat => ("repeated", notice.at),
        Kind::Resolved => (incident.state.name(), incident.resolved_at.unwrap_or(incident.last_event_at)),
    };
    let cause = &incident.cause;
    let mut attributes = Map::new();
    let mut set = |key: &str, value: Value| _ = attributes.insert(key.to_owned(), value);
    set("k8s.cluster.name", incident.cluster.as_str().into());
    match (&incident.impact.namespaces[..], cause.object.namespace.as_str()) {
        (_, namespace) if !namespace.is_empty() => set("k8s.namespace.name", namespace.into()),
        ([namespace], _) => set("k8s.namespace.name", namespace.as_str().into()),
        _ => {}
    }
    for (key, of) in object(&cause.object) {
        set(&key, of.into());
    }
    set("epicenter.incident.id", incident.id.as_str().into());
    set("epicenter.incident.version", incident.version.into());
    set("epicenter.incident.state", incident.state.name().into());
    set("epicenter.incident.severity", incident.severity.name().into());
    set("epicenter.incident.category", incident.category.name().into());
    set("epicenter.incident.title", incident.title.as_str().into());
    set("epicenter.incident.explanation", incident.explanation.clone().into());
    set("epicenter.incident.pods", incident.impact.pods.into());
    set("epicenter.incident.namespaces", incident.impact.namespaces.clone().into());
    set("epicenter.cause.class", cause.class.as_str().into());
    set("epicenter.cause.confidence", cause.confidence.into());
    set("epicenter.cause.kind", cause.object.kind.as_str().into());
    set("epicenter.cause.name", cause.object.name.as_str().into());
    set("epicenter.notice.key", notice.key().into());
    Entry {
        event: format!("epicenter.incident.{what}"),
        at,
        // That something is over is nothing to look after, however bad it was.
        severity: severity(if notice.kind == Kind::Resolved { Severity::Info } else { incident.severity }),
        text: notice.summary(),
        attributes,
    }
}

/// The number by which severities of all sources compare, and the name of its range.
const fn severity(severity: Severity) -> (i32, &'static str) {
    match severity {
        Severity::Info => (9, "INFO"),
        Severity::Low => (13, "WARN"),
        Severity::Medium => (16, "WARN4"),
        Severity::High => (17, "ERROR"),
        Severity::Critical => (21, "FATAL"),
    }
}

/// The attributes of a cause, where there are conventions for its kind
/// (opentelemetry.io/docs/specs/semconv/registry/attributes/k8s).
fn object(object: &ObjectRef) -> Vec<(String, String)> {
    let kind = match object.kind.as_str() {
        kind @ ("Node" | "Pod" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "CronJob") => {
            kind.to_ascii_lowercase()
        }
        _ => return Vec::new(),
    };
    let parts = [("name", &object.name), ("uid", &object.uid)];
    let known = parts.into_iter().filter(|(_, of)| !of.is_empty());
    known.map(|(part, of)| (format!("k8s.{kind}.{part}"), of.clone())).collect()
}

fn pair(key: &str, of: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value(of)), ..KeyValue::default() }
}

fn value(of: &Value) -> AnyValue {
    let variant = match of {
        Value::Bool(of) => Variant::BoolValue(*of),
        Value::Number(of) => match of.as_i64() {
            Some(whole) => Variant::IntValue(whole),
            None => Variant::DoubleValue(of.as_f64().unwrap_or_default()),
        },
        Value::Array(of) => Variant::ArrayValue(ArrayValue { values: of.iter().map(value).collect() }),
        Value::String(of) => Variant::StringValue(of.clone()),
        other => Variant::StringValue(other.to_string()),
    };
    AnyValue { value: Some(variant) }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or_default().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Cause, Incident, IncidentState};
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    fn notice(kind: Kind, kind_of_cause: &str) -> Notice {
        let object = ObjectRef { uid: "u1".into(), ..ObjectRef::named(kind_of_cause, "shop", "web") };
        let incident = Incident {
            id: "epc-a".into(),
            cluster: "prod".into(),
            version: 3,
            severity: Severity::Critical,
            state: if kind == Kind::Resolved { IncidentState::Resolved } else { IncidentState::Open },
            cause: Cause { object, ..Cause::default() },
            opened_at: Timestamp::from_millis(1_000),
            resolved_at: Some(Timestamp::from_millis(9_000)),
            ..Incident::default()
        };
        let at = Timestamp::from_millis(10_000);
        Notice { kind, repeats: 0, at, incident, labels: Default::default(), before: None }
    }

    #[track_caller]
    fn check(kind: Kind, of: &str, expected: (&str, i32, u64), attribute: (&str, Option<&str>)) {
        let request = ExportLogsServiceRequest::decode(&body(&notice(kind, of))[..]).unwrap();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!((record.event_name.as_str(), record.severity_number, record.time_unix_nano), expected);
        let found = record.attributes.iter().find(|pair| pair.key == attribute.0);
        let expected = attribute.1.map(|text| value(&Value::from(text)));
        assert_eq!(found.map(|pair| pair.value.clone().unwrap()), expected);
    }

    #[test]
    fn a_transition_is_a_record_by_the_conventions() {
        let opened = ("epicenter.incident.opened", 21, 1_000_000_000);
        check(Kind::Firing, "Deployment", opened, ("k8s.deployment.name", Some("web")));
        check(Kind::Firing, "Deployment", opened, ("k8s.cluster.name", Some("prod")));
        check(Kind::Firing, "Pod", opened, ("k8s.pod.uid", Some("u1")));
        check(Kind::Firing, "Secret", opened, ("k8s.secret.name", None));
        check(Kind::Firing, "Secret", opened, ("k8s.namespace.name", Some("shop")));
        let over = ("epicenter.incident.resolved", 9, 9_000_000_000);
        check(Kind::Resolved, "Node", over, ("epicenter.incident.severity", Some("critical")));
        check(Kind::Resolved, "Node", over, ("epicenter.notice.key", Some("prod/epc-a/3")));
    }

    #[test]
    fn what_a_collector_took_partly_is_refused() {
        let answer = |rejected_log_records| {
            let error_message = "too old".to_owned();
            let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records, error_message });
            ExportLogsServiceResponse { partial_success }.encode_to_vec()
        };
        assert_eq!(refusal(&answer(1)), Some("too old".to_owned()));
        for taken in [answer(0), vec![], b"{}".to_vec()] {
            assert_eq!(refusal(&taken), None);
        }
    }
}
