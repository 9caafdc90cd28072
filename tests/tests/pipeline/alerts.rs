//! A real Alertmanager, told through a real broker by a process that is killed in between.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Emit, KafkaConfig, topics};
use epicenter_model::{Codec, Incident, IncidentChange, IncidentState, Severity, Timestamp, partition_of};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::{Process, Signal, binary};
use epicenter_tests::{cache, http, ports};
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
    let command = |arguments: &[&str]| {
        let mut command = Command::new(binary().unwrap());
        command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
        command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string()).env("EPICENTER_ALERTS__FILE", &file);
        command
    };
    assert!(command(&["topics", "create"]).output().unwrap().status.success());
    let bus = Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(kafka.bootstrap()) }).unwrap();
    let write = |id: &str, version: i64, state: IncidentState, severity: Severity| {
        let at = Timestamp::from_micros(now_micros());
        let incident = Incident {
            id: id.to_owned(),
            cluster: "test".to_owned(),
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
        let (mut source, _) = bus.source("writer", partition_of("test", PARTITIONS), b"writer/").unwrap();
        source.commit(&[Emit { topic, timestamp, key: "test".into(), payload, headers: vec![] }], &[]).unwrap();
    };
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
