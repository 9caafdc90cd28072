//! One Event on the workload per transition of an incident.

use epicenter_model::{Incident, IncidentState, ObjectRef, Severity, Timestamp, Transition};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff;
use kube::api::ObjectMeta;

use crate::bounds::clip;
use crate::publish::ended_at;

/// Every Event whose `reportingController` begins so is Epicenter's own, and must not be read in again.
pub const REPORTING_CONTROLLER_PREFIX: &str = "epicenter.dev/";
/// The `reportingController` of the sink's Events.
pub const REPORTING_CONTROLLER: &str = "epicenter.dev/sink";

/// The API server keeps Events for an hour (kube-apiserver `--event-ttl`): an older transition is no news.
const NEWS: i64 = 3600 * 1000;
/// Kubernetes' limit for `note`, bytes.
const MAX_NOTE: usize = 1024;
/// What stands for something without an object in Kubernetes; see [`ObjectRef::kind`].
const VIRTUAL_KINDS: [&str; 5] = ["Registry", "StorageClass", "Zone", "Webhook", "Capacity"];

/// The Event that tells what happened between `before`, the document that the cluster showed so far, and `document`.
///
/// What opens before any workload is known to suffer is told of its cause, and again of the workload once there is one.
/// Nothing is told of backfill, of severity `info`, of what ended before anybody was told of it, and of what is older
/// than an hour at `now`. The name follows from the incident and its version, so that a repetition is refused as
/// existing.
pub(crate) fn of(before: Option<&Incident>, document: &Incident, now: Timestamp, instance: &str) -> Option<Event> {
    let transition = transition(before, document)?;
    let at = ended_at(document).unwrap_or(document.last_event_at);
    if now.millis_since(at) > NEWS {
        return None;
    }
    let regarding = regarding(document)?;
    let related = Some(&document.cause.object).filter(|cause| is_real(cause) && *cause != regarding);
    let begins = matches!(transition, Transition::Opened | Transition::Reopened);
    let type_ = if begins && document.severity >= Severity::Medium { "Warning" } else { "Normal" };
    let reason = match transition {
        Transition::Opened => "IncidentOpened",
        Transition::Reopened => "IncidentReopened",
        Transition::Merged => "IncidentMerged",
        Transition::Resolved | Transition::Updated => "IncidentResolved",
    };
    // Events about what has no namespace live in `default` (kubernetes/kubernetes `pkg/apis/core/validation/events.go`).
    let namespace = if regarding.namespace.is_empty() { "default" } else { &regarding.namespace };
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}.{transition}", document.id, document.version)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: jiff::Timestamp::from_microsecond(at.as_micros()).ok().map(MicroTime),
        regarding: Some(reference(regarding)),
        related: related.map(reference),
        reason: Some(reason.to_owned()),
        action: Some("Correlate".to_owned()),
        type_: Some(type_.to_owned()),
        note: Some(note(document)),
        reporting_controller: Some(REPORTING_CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    })
}

fn transition(before: Option<&Incident>, document: &Incident) -> Option<Transition> {
    let quiet = |document: &Incident| document.backfill || document.severity == Severity::Info;
    let told = before.filter(|before| !quiet(before));
    let spreads =
        told.is_some_and(|before| before.impact.workloads.is_empty()) && !document.impact.workloads.is_empty();
    match (told.map(|before| before.state), document.state) {
        (None, IncidentState::Open) if !quiet(document) => Some(Transition::Opened),
        (Some(IncidentState::Open), IncidentState::Open) if spreads && !quiet(document) => Some(Transition::Opened),
        (Some(IncidentState::Open), IncidentState::Resolved) => Some(Transition::Resolved),
        (Some(IncidentState::Open), IncidentState::Merged) => Some(Transition::Merged),
        (Some(IncidentState::Resolved | IncidentState::Merged), IncidentState::Open) if !quiet(document) => {
            Some(Transition::Reopened)
        }
        _ => None,
    }
}

/// The top workload that suffers most, else the cause.
fn regarding(document: &Incident) -> Option<&ObjectRef> {
    document.impact.workloads.first().into_iter().chain([&document.cause.object]).find(|object| is_real(object))
}

fn is_real(object: &ObjectRef) -> bool {
    let named = !object.kind.is_empty() && !object.name.is_empty();
    named && !(object.api_version.is_empty() && VIRTUAL_KINDS.contains(&object.kind.as_str()))
}

fn reference(object: &ObjectRef) -> ObjectReference {
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    ObjectReference {
        api_version: known(&object.api_version),
        kind: known(&object.kind),
        namespace: known(&object.namespace),
        name: known(&object.name),
        uid: known(&object.uid),
        ..ObjectReference::default()
    }
}

fn note(document: &Incident) -> String {
    let hint = match &document.merged_into {
        Some(into) => format!(" (now part of incident {into})"),
        None => format!(" (incident {})", document.id),
    };
    let mut note = document.title.clone();
    clip(&mut note, MAX_NOTE.saturating_sub(hint.len()).max(MAX_NOTE / 2));
    note.push_str(&hint);
    clip(&mut note, MAX_NOTE);
    note
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn document(state: IncidentState, severity: Severity) -> Incident {
        let mut document = Incident {
            id: "epc-a".into(),
            version: 3,
            state,
            severity,
            title: "Node worker1 is not ready".into(),
            last_event_at: Timestamp::from_millis(1_500),
            ..Incident::default()
        };
        let deployment = ObjectRef { api_version: "apps/v1".into(), ..ObjectRef::named("Deployment", "shop", "web") };
        document.impact.workloads = vec![ObjectRef { uid: "u1".into(), ..deployment }];
        document.cause.object = ObjectRef { api_version: "v1".into(), ..ObjectRef::named("Node", "", "worker1") };
        document
    }

    #[test]
    fn is_on_the_workload_and_names_the_cause() {
        let event = of(None, &document(IncidentState::Open, Severity::High), Timestamp::default(), "sink-0").unwrap();
        expect![[r#"{"apiVersion":"events.k8s.io/v1","kind":"Event","action":"Correlate","eventTime":"1970-01-01T00:00:01.500000Z","metadata":{"name":"epc-a.3.opened","namespace":"shop"},"note":"Node worker1 is not ready (incident epc-a)","reason":"IncidentOpened","regarding":{"apiVersion":"apps/v1","kind":"Deployment","name":"web","namespace":"shop","uid":"u1"},"related":{"apiVersion":"v1","kind":"Node","name":"worker1"},"reportingController":"epicenter.dev/sink","reportingInstance":"sink-0","type":"Warning"}"#]]
            .assert_eq(&serde_json::to_string(&event).unwrap());
        assert!(REPORTING_CONTROLLER.starts_with(REPORTING_CONTROLLER_PREFIX));
    }

    #[track_caller]
    fn check(
        before: Option<(IncidentState, Severity)>,
        now: (IncidentState, Severity),
        expected: Option<(&str, &str)>,
    ) {
        let before = before.map(|(state, severity)| document(state, severity));
        let event = of(before.as_ref(), &document(now.0, now.1), Timestamp::default(), "i");
        let got = event.map(|event| (event.reason.unwrap(), event.type_.unwrap()));
        assert_eq!(got.as_ref().map(|(reason, type_)| (reason.as_str(), type_.as_str())), expected);
    }

    #[test]
    fn tells_transitions_and_nothing_else() {
        use IncidentState::{Merged, Open, Resolved};
        use Severity::{High, Info, Low};
        check(None, (Open, High), Some(("IncidentOpened", "Warning")));
        check(None, (Open, Low), Some(("IncidentOpened", "Normal")));
        check(None, (Open, Info), None);
        check(None, (Resolved, High), None);
        check(Some((Open, Info)), (Open, High), Some(("IncidentOpened", "Warning")));
        check(Some((Open, Info)), (Resolved, High), None);
        check(Some((Open, High)), (Open, High), None);
        check(Some((Open, High)), (Resolved, Info), Some(("IncidentResolved", "Normal")));
        check(Some((Open, High)), (Merged, High), Some(("IncidentMerged", "Normal")));
        check(Some((Resolved, High)), (Open, High), Some(("IncidentReopened", "Warning")));
        check(Some((Resolved, High)), (Merged, High), None);
    }

    #[test]
    fn is_told_of_the_first_workload_too() {
        let spread = document(IncidentState::Open, Severity::High);
        let mut begun = spread.clone();
        begun.impact.workloads.clear();
        let kind = |before: &Incident, document: &Incident| {
            of(Some(before), document, Timestamp::default(), "i").map(|event| event.regarding.unwrap().kind.unwrap())
        };
        assert_eq!(kind(&begun, &spread).as_deref(), Some("Deployment"));
        assert_eq!(kind(&begun, &begun), None);
        assert_eq!(kind(&spread, &spread), None);
    }

    #[test]
    fn is_silent_on_backfill_and_old_news() {
        let mut open = document(IncidentState::Open, Severity::High);
        let later = |millis| open.last_event_at.plus_millis(millis);
        assert!(of(None, &open, later(NEWS), "i").is_some());
        assert!(of(None, &open, later(NEWS + 1), "i").is_none());
        open.backfill = true;
        assert!(of(None, &open, Timestamp::default(), "i").is_none());
    }

    #[track_caller]
    fn check_regarding(workload: Option<ObjectRef>, cause: ObjectRef, expected: Option<(&str, &str)>) {
        let mut document = document(IncidentState::Open, Severity::High);
        document.impact.workloads = workload.into_iter().collect();
        document.cause.object = cause;
        let event = of(None, &document, Timestamp::default(), "i");
        let got = event.map(|event| (event.regarding.unwrap().kind.unwrap(), event.metadata.namespace.unwrap()));
        assert_eq!(got.as_ref().map(|(kind, namespace)| (kind.as_str(), namespace.as_str())), expected);
    }

    #[test]
    fn finds_an_object_that_exists() {
        let class = |api: &str| ObjectRef { api_version: api.into(), ..ObjectRef::named("StorageClass", "", "fast") };
        let pod = || ObjectRef::named("Pod", "shop", "web-0");
        check_regarding(Some(pod()), class(""), Some(("Pod", "shop")));
        check_regarding(None, pod(), Some(("Pod", "shop")));
        check_regarding(None, class("storage.k8s.io/v1"), Some(("StorageClass", "default")));
        check_regarding(None, class(""), None);
        check_regarding(None, ObjectRef::default(), None);
    }

    #[test]
    fn keeps_the_note_within_the_limit() {
        let mut document = document(IncidentState::Open, Severity::High);
        document.title = "日".repeat(1000);
        let note = note(&document);
        assert!(note.len() <= MAX_NOTE && note.ends_with("… (incident epc-a)"), "{note}");
    }
}
