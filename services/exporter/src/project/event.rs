//! Events of both API groups: one stored object, two spellings.

use epicenter_model::{Event, Timestamp};
use serde::Deserialize;

use super::ProjectError;
use super::meta::{Meta, Reference};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Meta>,
    #[serde(alias = "involvedObject")]
    regarding: Option<Reference>,
    related: Option<Reference>,
    reason: Option<String>,
    #[serde(alias = "message")]
    note: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    action: Option<String>,
    #[serde(alias = "reportingComponent")]
    reporting_controller: Option<String>,
    reporting_instance: Option<String>,
    #[serde(alias = "deprecatedSource")]
    source: Option<Source>,
    #[serde(alias = "deprecatedCount")]
    count: Option<i64>,
    #[serde(alias = "deprecatedFirstTimestamp")]
    first_timestamp: Option<Timestamp>,
    #[serde(alias = "deprecatedLastTimestamp")]
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
}

#[derive(Default, Deserialize)]
struct Source {
    component: Option<String>,
    host: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: Option<i64>,
    last_observed_time: Option<Timestamp>,
}

pub(super) fn project(wire: Wire) -> Result<Event, ProjectError> {
    let of_events = |api_version: &str| api_version == "v1" || api_version.starts_with("events.k8s.io/");
    if wire.kind.as_deref().is_some_and(|kind| kind != "Event")
        || wire.api_version.as_deref().is_some_and(|api_version| !of_events(api_version))
    {
        return Err(ProjectError::NotAnEvent {
            kind: wire.kind.unwrap_or_default(),
            api_version: wire.api_version.unwrap_or_default(),
        });
    }
    let meta = wire.metadata.unwrap_or_default();
    let source = wire.source.unwrap_or_default();
    let series = wire.series.unwrap_or_default();
    let mut regarding = wire.regarding.unwrap_or_default();
    // Old recorders leave the reporting fields empty; new ones fill both (client-go `tools/record/event.go`).
    let first =
        |new: Option<String>, old: Option<String>| new.filter(|new| !new.is_empty()).or(old).unwrap_or_default();
    Ok(Event {
        uid: meta.uid.unwrap_or_default(),
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name.unwrap_or_default(),
        resource_version: meta.resource_version.unwrap_or_default(),
        created_at: meta.creation_timestamp,
        field_path: regarding.field_path.take().unwrap_or_default(),
        regarding: regarding.into(),
        related: wire.related.map(Into::into),
        reason: wire.reason.unwrap_or_default(),
        note: wire.note.unwrap_or_default(),
        event_type: wire.event_type.unwrap_or_default(),
        action: wire.action.unwrap_or_default(),
        component: first(wire.reporting_controller, source.component),
        instance: wire.reporting_instance.unwrap_or_default(),
        host: source.host.unwrap_or_default(),
        count: wire.count,
        first_at: wire.first_timestamp,
        last_at: wire.last_timestamp,
        event_at: wire.event_time,
        series_count: series.count,
        series_last_at: series.last_observed_time,
        labels: meta.labels.unwrap_or_default(),
        annotations: meta.annotations.unwrap_or_default(),
    })
}
