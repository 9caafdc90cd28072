//! A collector on loopback that is told of incidents as log records.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use epicenter_alerts::run;
use epicenter_bus::{Emit, Start, Stop, topics};
use epicenter_model::{Codec, DeadLetter, Incident, IncidentChange, IncidentState, Severity, Timestamp};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message as _;

use crate::{LIMIT, context};

#[derive(Clone, Default)]
struct Collector {
    /// What it answers next: a status, and records that it does not take; 200 and none after that.
    script: Arc<Mutex<VecDeque<(u16, i64)>>>,
    /// Name, severity and time of each record that it took, s.
    records: Arc<Mutex<Vec<(String, i32, u64)>>>,
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["authorization"], std::env::var("PATH").unwrap());
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let (status, rejected_log_records) = collector.script.lock().unwrap().pop_front().unwrap_or((200, 0));
    if (status, rejected_log_records) == (200, 0) {
        for record in &request.resource_logs[0].scope_logs[0].log_records {
            let seconds = record.time_unix_nano / 1_000_000_000;
            collector.records.lock().unwrap().push((record.event_name.clone(), record.severity_number, seconds));
        }
    }
    let error_message = if rejected_log_records > 0 { "too old".to_owned() } else { String::new() };
    let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records, error_message });
    let answer = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    (StatusCode::from_u16(status).unwrap(), answer).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transition_is_one_record_whatever_the_collector_does() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/logs", axum::routing::post(take)).with_state(collector.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "receivers: [{{name: logs, per_minute: 6000, otlp: {{url: 'http://{address}', authorization: {{env: PATH}}}}}}]\n\
         rules: [{{name: all, receivers: [logs], group_wait: 0s}}]\n"
    );
    let context = context(directory.path(), 1, &text);
    let (telling, stop) = (context.clone(), Stop::new());
    let (receiver, stopped) = (Arc::clone(&context.alerts.receivers[0]), stop.clone());
    let thread = std::thread::spawn(move || run(&telling, &receiver, &stopped));
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < deadline, "{what}: {:?}", collector.records.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("it has begun", &|| !context.bus.table(topics::ALERTS_STATE.name).unwrap().is_empty()).await;
    collector.script.lock().unwrap().extend([(503, 0), (429, 0), (200, 0), (200, 1)]);
    let (mut source, _) = context.bus.source("correlator", 0, b"correlator/").unwrap();
    let (open, over) = (IncidentState::Open, IncidentState::Resolved);
    for (id, version, state, severity) in [
        ("a", 1, open, Severity::Low),
        ("b", 1, open, Severity::Low),
        ("a", 2, open, Severity::Critical),
        ("a", 3, over, Severity::Critical),
    ] {
        let at = Timestamp::from_millis(1_700_000_000_000 + version * 1000);
        let resolved_at = (state == over).then_some(at);
        let (opened_at, last_event_at) = (Timestamp::from_millis(1_700_000_000_000), at);
        let incident = Incident { id: id.into(), cluster: "c".into(), version, state, severity, ..Incident::default() };
        let incident = Incident { opened_at, last_event_at, resolved_at, ..incident };
        let change = IncidentChange { at, incident, ..IncidentChange::default() };
        let payload = Some(Codec::single_object().encode(&change).unwrap().into());
        let (topic, timestamp) = (topics::INCIDENT_CHANGES.name, at.as_millis());
        source.commit(&[Emit { topic, timestamp, key: "c".into(), payload, headers: vec![] }], &[]).unwrap();
    }
    until("all are told", &|| collector.records.lock().unwrap().len() >= 3).await;
    stop.request();
    tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
    let record =
        |what: &str, severity, second: u64| (format!("epicenter.incident.{what}"), severity, 1_700_000_000 + second);
    assert_eq!(
        *collector.records.lock().unwrap(),
        [record("opened", 13, 0), record("worse", 21, 2), record("resolved", 9, 3)]
    );
    let mut reader = context.bus.reader(topics::DEAD_LETTER.name, &[0], Start::Earliest).unwrap();
    let record = reader.next(Duration::ZERO).unwrap().unwrap();
    let letter: DeadLetter = Codec::single_object().decode(&record.payload.unwrap()).unwrap();
    assert!(letter.error.contains("does not take the record: too old"), "{}", letter.error);
    assert_eq!(&record.key[..], b"c/b/1");
    assert!(reader.next(Duration::ZERO).unwrap().is_none(), "only that one is set aside");
}
