//! The same pipeline as separate services on a real broker.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use epicenter_tests::kafka::Kafka;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::Process;
use kube::api::{Api, PostParams};

use crate::writer::{client, event};

fn command(kafka: &Kafka, arguments: &[&str]) -> Command {
    let mut command = Command::new(crate::binary());
    command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
    command.env("EPICENTER_BUS__KAFKA__PARTITIONS", "3").env("EPICENTER_EXPORTER__CLUSTER", "test");
    command
}

fn run(kafka: &Kafka, arguments: &[&str]) -> Output {
    command(kafka, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_watching(line: &str) -> bool {
    line.contains("\"is well\"") && line.contains("test/events")
}

#[test]
fn services_on_kafka_make_the_same_incidents() {
    let kafka = Kafka::start().unwrap();
    let plane = ControlPlane::start(Options::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();

    let missing = run(&kafka, &["topics", "check"]);
    assert!(
        !missing.status.success()
            && text(&[missing.stdout, missing.stderr].concat()).contains("epicenter topics create")
    );
    let created = run(&kafka, &["topics", "create"]);
    assert!(created.status.success(), "{}", text(&created.stderr));
    let checked = run(&kafka, &["topics", "check"]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let mut other = command(&kafka, &["topics", "check"]);
    let other = other.env("EPICENTER_BUS__KAFKA__PARTITIONS", "4").output().unwrap();
    let told = text(&[other.stdout, other.stderr].concat());
    assert!(!other.status.success() && told.contains("has 3 partitions"), "{told}");

    let kubeconfig = plane.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let of_cluster = ["--kubeconfig", kubeconfig];
    let services = [
        [&["exporter"][..], &of_cluster].concat(),
        vec!["enricher"],
        vec!["correlator"],
        [&["sink"][..], &of_cluster].concat(),
    ];
    let mut running: Vec<_> = services
        .iter()
        .map(|arguments| {
            let log = directory.path().join(format!("{}.log", arguments[0]));
            Process::spawn(arguments[0], &mut command(&kafka, arguments), &log).unwrap()
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
}
