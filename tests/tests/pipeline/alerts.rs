//! A real Alertmanager, told through a real broker by a process that is killed in between; and receivers that are away.
//!
//! `EPICENTER_TEST_AWAY` sets for how many seconds they are.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Emit, KafkaConfig, Source, Stop, topics};
use epicenter_model::{Codec, Incident, IncidentChange, IncidentState, Severity, Timestamp, partition_of};
use epicenter_tests::hook::{Hook, Told};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::{Process, Signal, binary};
use epicenter_tests::{cache, http, ports};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Variant;
use prost::Message as _;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(90);
const PARTITIONS: u32 = 3;

fn alertmanager(port: u16, directory: &std::path::Path) -> Process {
    let config = directory.join("alertmanager.yaml");
    fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
    let server = cache::server("alertmanager").unwrap();
    let mut command = Command::new(server.join("usr/bin/prometheus-alertmanager"));
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", directory.join("alertmanager").display()));
    command.args([format!("--web.listen-address=127.0.0.1:{port}"), "--cluster.listen-address=".to_owned()]);
    let mut running = Process::spawn("alertmanager", &mut command, &directory.join("alertmanager.log")).unwrap();
    running.until(LIMIT, |_| ports::answers(port)).unwrap();
    running
}

/// The alerts that fire.
fn firing(port: u16) -> Vec<Value> {
    let (_, body) = http::get(port, "/api/v2/alerts").unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[track_caller]
fn until(port: u16, teller: &Process, expected: &[(&str, &str)]) -> Vec<Value> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let alerts = firing(port);
        let mut found: Vec<_> = alerts
            .iter()
            .map(|alert| (alert["labels"]["incident"].as_str().unwrap(), alert["labels"]["severity"].as_str().unwrap()))
            .collect();
        found.sort_unstable();
        if found == expected {
            return alerts;
        }
        assert!(Instant::now() < deadline, "{found:?} and not {expected:?}\n{}", teller.tail());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `epicenter`, which tells as the `file` of alerts says.
fn command(kafka: &Kafka, file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
    command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string()).env("EPICENTER_ALERTS__FILE", file);
    command
}

/// The topics, made by it.
fn created(kafka: &Kafka, file: &Path) -> Bus {
    assert!(command(kafka, file, &["topics", "create"]).output().unwrap().status.success());
    Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(kafka.bootstrap()) }).unwrap()
}

#[test]
fn alertmanager_hears_what_fires_and_what_is_over_also_across_a_kill() {
    let kafka = Kafka::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [port] = ports::free::<1>().unwrap();
    let file = directory.path().join("alerts.yaml");
    let text = format!(
        "receivers: [{{name: am, alertmanager: {{url: 'http://127.0.0.1:{port}'}}}}]\nrules: [{{name: all, receivers: [am], group_wait: 0s}}]\n"
    );
    fs::write(&file, text).unwrap();
    let command = |arguments: &[&str]| command(&kafka, &file, arguments);
    let bus = created(&kafka, &file);
    let write = |id: &str, version, state, severity| write(&bus, id, version, state, severity);
    let log = directory.path().join("alerts.log");
    let mut teller = Process::spawn("alerts", &mut command(&["alerts", "run"]), &log).unwrap();
    write("epc-a", 1, IncidentState::Open, Severity::Medium);
    write("epc-b", 1, IncidentState::Open, Severity::High);
    // Nobody is there yet who could hear it.
    teller.until(LIMIT, |log| log.contains("is not well")).unwrap();
    let _alertmanager = alertmanager(port, directory.path());
    let alerts = until(port, &teller, &[("epc-a", "medium"), ("epc-b", "high")]);
    assert!(alerts.iter().all(|alert| alert["labels"]["alertname"] == "EpicenterIncident"), "{alerts:#?}");
    assert!(alerts.iter().any(|alert| alert["annotations"]["summary"] == "trouble of epc-b"), "{alerts:#?}");

    write("epc-a", 2, IncidentState::Open, Severity::Critical);
    until(port, &teller, &[("epc-a", "critical"), ("epc-b", "high")]);

    teller.signal(Signal::Kill).unwrap();
    teller.wait(LIMIT).unwrap();
    write("epc-b", 2, IncidentState::Resolved, Severity::High);
    let mut teller = Process::spawn("alerts", &mut command(&["alerts", "run"]), &log).unwrap();
    until(port, &teller, &[("epc-a", "critical")]);
    write("epc-a", 3, IncidentState::Resolved, Severity::Critical);
    until(port, &teller, &[]);
    assert!(teller.ended().unwrap().is_none(), "{}", teller.tail());
}

fn now_micros() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_micros().try_into().unwrap()
}

/// A change of an incident of `cluster`.
fn change(cluster: &str, id: &str, version: i64, state: IncidentState, severity: Severity) -> Emit {
    let at = Timestamp::from_micros(now_micros());
    let incident = Incident {
        id: id.to_owned(),
        cluster: cluster.to_owned(),
        version,
        state,
        severity,
        title: format!("trouble of {id}"),
        opened_at: at,
        resolved_at: (state == IncidentState::Resolved).then_some(at),
        ..Incident::default()
    };
    let change = IncidentChange { at, incident, ..IncidentChange::default() };
    let payload = Some(Codec::single_object().encode(&change).unwrap().into());
    let (topic, timestamp) = (topics::INCIDENT_CHANGES.name, at.as_millis());
    Emit { topic, timestamp, key: cluster.to_owned().into(), payload, headers: vec![] }
}

/// Writes the changes of `cluster`.
fn source(bus: &Bus, cluster: &str) -> Source {
    bus.source(cluster, partition_of(cluster, PARTITIONS), b"writer/").unwrap().0
}

/// Writes a change of an incident.
fn write(bus: &Bus, id: &str, version: i64, state: IncidentState, severity: Severity) {
    source(bus, "test").commit(&[change("test", id, version, state, severity)], &[]).unwrap();
}

/// What a webhook was told, and the key.
fn of_webhook(told: &Told) -> (String, String) {
    let event: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(event["id"].as_str(), Some(told.headers["idempotency-key"].as_str()));
    (event["data"]["notice"].as_str().unwrap().to_owned(), event["id"].as_str().unwrap().to_owned())
}

/// The same of a collector, by the names that records have.
fn of_collector(told: &Told) -> (String, String) {
    assert_eq!((told.path.as_str(), told.headers["content-type"].as_str()), ("/v1/logs", "application/x-protobuf"));
    let request = ExportLogsServiceRequest::decode(&told.body[..]).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    let key = record.attributes.iter().find(|pair| pair.key == "epicenter.notice.key").unwrap();
    let Some(Variant::StringValue(key)) = key.value.clone().unwrap().value else { panic!("{key:?}") };
    let event = record.event_name.strip_prefix("epicenter.incident.").unwrap();
    (if event == "opened" { "firing" } else { event }.to_owned(), key)
}

#[track_caller]
fn until_told(
    hook: &Hook,
    read: fn(&Told) -> (String, String),
    count: usize,
    teller: &Process,
) -> Vec<(String, String)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let told: Vec<_> = hook.told().iter().map(read).collect();
        if told.len() >= count {
            return told;
        }
        assert!(Instant::now() < deadline, "{} of {count}: {told:#?}\n{}", told.len(), teller.tail());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The log is never still, but for partitions to which nobody writes any more.
#[test]
fn a_new_receiver_is_told_of_what_is_open_while_a_cluster_changes_all_the_time() {
    let kafka = Kafka::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut hook = Hook::new().unwrap();
    hook.start().unwrap();
    let file = directory.path().join("alerts.yaml");
    let text = format!(
        "receivers: [{{name: hook, per_minute: 6000, webhook: {{url: '{}/hook'}}}}]\n\
         rules: [{{name: all, receivers: [hook], group_wait: 0s}}]\n",
        hook.url()
    );
    fs::write(&file, text).unwrap();
    let bus = created(&kafka, &file);
    let (open, over) = (IncidentState::Open, IncidentState::Resolved);
    write(&bus, "epc-over", 1, open, Severity::High);
    write(&bus, "epc-over", 2, over, Severity::High);
    write(&bus, "epc-open", 1, open, Severity::High);
    let busy = (0..)
        .map(|n| format!("busy-{n}"))
        .find(|name| partition_of(name, PARTITIONS) != partition_of("test", PARTITIONS));
    let (busy, stop) = (busy.unwrap(), Stop::new());
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut source = source(&bus, &busy);
            for version in (1..).take_while(|_| !stop.requested()) {
                source.commit(&[change(&busy, "epc-busy", version, open, Severity::Low)], &[]).unwrap();
            }
        });
        let mut alerts = command(&kafka, &file, &["alerts", "run"]);
        let teller = Process::spawn("alerts", &mut alerts, &directory.path().join("alerts.log")).unwrap();
        let deadline = Instant::now() + LIMIT;
        // Nothing may panic in here: the cluster would change for ever.
        let until_told = |count| {
            while hook.told().len() < count && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        until_told(2);
        write(&bus, "epc-open", 2, over, Severity::High);
        until_told(3);
        stop.request();
        println!("{}", teller.tail());
        hook.told().iter().map(of_webhook).collect::<Vec<_>>()
    });
    let of = |id: &str| {
        let of_it = told.iter().filter(|(_, key)| key.split('/').nth(1) == Some(id));
        of_it.map(|(notice, _)| notice.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of("epc-open"), of("epc-busy")), (vec!["firing", "resolved"], vec!["firing"]), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn receivers_that_were_away_are_told_all_of_it_once_and_in_order() {
    const INCIDENTS: usize = 20;
    let away = std::env::var("EPICENTER_TEST_AWAY").map_or(10, |seconds| seconds.parse().unwrap());
    let kafka = Kafka::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [port] = ports::free::<1>().unwrap();
    let (mut hook, mut collector) = (Hook::new().unwrap(), Hook::new().unwrap());
    let file = directory.path().join("alerts.yaml");
    let text = format!(
        "receivers:\n  - {{name: am, per_minute: 6000, alertmanager: {{url: 'http://127.0.0.1:{port}'}}}}\n  \
         - {{name: hook, per_minute: 6000, webhook: {{url: '{}/hook'}}}}\n  \
         - {{name: logs, per_minute: 6000, otlp: {{url: '{}'}}}}\n\
         rules: [{{name: all, receivers: [am, hook, logs], group_wait: 0s}}]\n",
        hook.url(),
        collector.url()
    );
    fs::write(&file, text).unwrap();
    let command = |arguments: &[&str]| command(&kafka, &file, arguments);
    let bus = created(&kafka, &file);
    let (open, over) = (IncidentState::Open, IncidentState::Resolved);

    hook.start().unwrap();
    collector.start().unwrap();
    let mut running = alertmanager(port, directory.path());
    let teller =
        Process::spawn("alerts", &mut command(&["alerts", "run"]), &directory.path().join("alerts.log")).unwrap();
    write(&bus, "epc-first", 1, open, Severity::Medium);
    until(port, &teller, &[("epc-first", "medium")]);
    until_told(&hook, of_webhook, 1, &teller);
    until_told(&collector, of_collector, 1, &teller);

    running.kill().unwrap();
    hook.stop();
    collector.stop();
    let began = Instant::now();
    let mut expected = vec![("firing".to_owned(), "test/epc-first/1".to_owned())];
    for n in 0..INCIDENTS {
        let id = format!("epc-{n}");
        for (version, state, severity, notice) in [
            (1, open, Severity::Low, "firing"),
            (2, open, Severity::High, "worse"),
            (3, over, Severity::High, "resolved"),
        ] {
            // Every fourth goes on.
            if version < 3 || n % 4 != 0 {
                write(&bus, &id, version, state, severity);
                expected.push((notice.to_owned(), format!("test/{id}/{version}")));
            }
        }
        let due = Duration::from_secs(away) * n as u32 / INCIDENTS as u32;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    std::thread::sleep(Duration::from_secs(away).saturating_sub(began.elapsed()));
    assert_eq!((hook.told().len(), collector.told().len()), (1, 1), "nobody is there who could hear it");

    hook.start().unwrap();
    collector.start().unwrap();
    let back = Instant::now();
    let _running = alertmanager(port, directory.path());
    assert_eq!(until_told(&hook, of_webhook, expected.len(), &teller), expected);
    assert_eq!(until_told(&collector, of_collector, expected.len(), &teller), expected);
    let mut going_on: Vec<(String, &str)> = (0..INCIDENTS).step_by(4).map(|n| (format!("epc-{n}"), "high")).collect();
    going_on.push(("epc-first".to_owned(), "medium"));
    going_on.sort();
    until(port, &teller, &going_on.iter().map(|(id, severity)| (id.as_str(), *severity)).collect::<Vec<_>>());
    println!(
        "{} notices to each of three receivers {:.1} s after they came back from {away} s",
        expected.len(),
        back.elapsed().as_secs_f64()
    );
    // What was told once is not told again.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((hook.told().len(), collector.told().len()), (expected.len(), expected.len()));
}
