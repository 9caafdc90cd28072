//! The same pipeline as separate services on a real broker, under the roles that the chart gives them.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use epicenter_runtime::metric;
use epicenter_tests::chart::{self, NAMESPACE};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, binary};
use epicenter_tests::{http, ports};
use kube::api::{Api, PostParams};

use crate::collector::Collector;
use crate::writer::{client, event};

/// A rule of one's own, so that it is seen to be counted.
const RULES: &str = "events: [{id: said, classes: [image.pull.not_found], then: keep}]";

fn command(kafka: &Kafka, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
    command.env("EPICENTER_BUS__KAFKA__PARTITIONS", "3").env("EPICENTER_EXPORTER__CLUSTER", "test");
    command.env("EPICENTER_EXPORTER__LEASE__ENABLED", "true").env("EPICENTER_EXPORTER__LEASE__NAMESPACE", NAMESPACE);
    command
}

fn run(kafka: &Kafka, arguments: &[&str]) -> Output {
    command(kafka, arguments).output().unwrap()
}

const ALERTS: &str =
    "receivers: [{name: screen, stdout: {}}]\nrules: [{name: all, receivers: [screen], group_wait: 0s}]\n";

fn is_watching(line: &str) -> bool {
    line.contains("\"is well\"") && line.contains("test/events")
}

#[test]
fn services_on_kafka_make_the_same_incidents() {
    let kafka = Kafka::start().unwrap();
    let plane = ControlPlane::start(Options::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    assert!(run(&kafka, &["topics", "create"]).status.success());

    let values = ["kafka.bootstrap=kafka:9092", "cluster=test", "config.exporter.lease.enabled=true"];
    chart::install_access(&plane, &values).unwrap();
    let access =
        ["epicenter-exporter", "epicenter-sink"].map(|account| plane.kubeconfig_of(NAMESPACE, account).unwrap());
    let [of_exporter, of_sink] = access.each_ref().map(|file| ["--kubeconfig", file.to_str().unwrap()]);
    fs::create_dir(directory.path().join("rules")).unwrap();
    fs::write(directory.path().join("rules/own.yaml"), RULES).unwrap();
    let alerts = directory.path().join("alerts.yaml");
    fs::write(&alerts, ALERTS).unwrap();
    let services = [
        [&["exporter"][..], &of_exporter].concat(),
        vec!["enricher"],
        vec!["correlator"],
        [&["sink"][..], &of_sink].concat(),
        vec!["alerts", "run"],
    ];
    let collector = Collector::start();
    let admin = ports::free::<5>().unwrap();
    let mut running: Vec<_> = services
        .iter()
        .zip(admin)
        .map(|(arguments, port)| {
            let log = directory.path().join(format!("{}.log", arguments[0]));
            let mut command = command(&kafka, arguments);
            command.env("EPICENTER_ADMIN__LISTEN", format!("127.0.0.1:{port}"));
            command.env("EPICENTER_RULES__DIRECTORY", directory.path().join("rules"));
            command.env("EPICENTER_ALERTS__FILE", &alerts);
            command.env("EPICENTER_TRACES__ENDPOINT", collector.endpoint()).env("EPICENTER_TRACES__ONE_IN", "1");
            command.env("OTEL_BSP_SCHEDULE_DELAY", "200");
            command.env("EPICENTER_EXPORTER__SPOOL__DIRECTORY", directory.path().join("spool"));
            Process::spawn(arguments[0], &mut command, &log).unwrap()
        })
        .collect();
    // What was there before its first list is context, no reason to alert.
    running[0].until(Duration::from_secs(60), |log| log.lines().any(is_watching)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let events: Api<_> = Api::namespaced(client(&plane).await, "default");
        let message = "Failed to pull image \"registry.example.com/shop/web:9\": rpc error: code = NotFound: not found";
        events.create(&PostParams::default(), &event("web-1.1", "web-1", "Failed", message)).await.unwrap();
    });
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut listed = String::new();
    while !listed.contains("open") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
        listed = plane.kubectl(&["get", "incidents"]).unwrap_or_default();
        for service in &mut running {
            assert!(service.ended().unwrap().is_none(), "{}", service.tail());
        }
    }
    let tails = || running.iter().map(Process::tail).collect::<Vec<_>>().join("\n");
    assert!(listed.contains("open"), "no incident object:\n{listed}\n{}", tails());
    let shown = run(&kafka, &["incidents", "-o", "json"]);
    let shown: serde_json::Value =
        serde_json::from_slice(&shown.stdout).unwrap_or_else(|error| panic!("{error}\n{}", tails()));
    assert_eq!(shown[0]["cause"]["class"], "image.pull.not_found", "{shown:#}");
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown:#}");

    running[4]
        .until(Duration::from_secs(30), |log| log.contains("[medium] test: ") || log.contains("[high] test: "))
        .unwrap();
    let way = [
        "epicenter-exporter: send events.raw",
        "epicenter-enricher: enricher events.raw",
        "epicenter-correlator: correlator events.enriched",
        "epicenter-sink: sink incident.changes",
    ];
    let deadline = Instant::now() + Duration::from_secs(30);
    while collector.longest_way() != way {
        assert!(Instant::now() < deadline, "{:?}", collector.longest_way());
        std::thread::sleep(Duration::from_millis(100));
    }
    let shown = admin.map(|port| http::get(port, "/metrics").unwrap().1).concat();
    let at_faults = ["epicenter_watch_gaps_total", "epicenter_watch_restarts_total", "epicenter_dead_letters_total"];
    let later = ["epicenter_alerts_watchdog_total", "epicenter_engine_dropped_total"];
    // Of services that do not run here: their own tests look.
    let others = ["epicenter_commands_total", "epicenter_application_events_total", "epicenter_question_seconds"];
    let elsewhere = |name: &str| {
        name.starts_with("epicenter_archive") || [&at_faults[..], &later, &others].concat().contains(&name)
    };
    for metric in metric::ALL.iter().filter(|metric| !elsewhere(metric.name)) {
        assert!(shown.contains(&format!("# TYPE {} ", metric.name)), "nobody feeds {}:\n{shown}", metric.name);
    }
    let row = |row: &str| assert!(shown.lines().any(|line| line == row), "{row}:\n{shown}");
    row("epicenter_incident_transitions_total{cluster=\"test\",transition=\"opened\"} 1");
    row("epicenter_partitions 3");
    for processor in ["enricher", "correlator", "sink"] {
        row(&format!("epicenter_takeover_seconds_count{{processor=\"{processor}\"}} 3"));
    }
}
