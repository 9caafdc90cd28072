//! One exporter, several real clusters: they come and go while it runs.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, KafkaConfig, Start, topics};
use epicenter_model::{Codec, RawRecord};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, binary};

const LIMIT: Duration = Duration::from_secs(90);
const PARTITIONS: u32 = 3;

/// The Events of the tests, as `cluster/name`, that the log has; an Event that it has twice is told.
fn events(kafka: &Kafka) -> Vec<String> {
    let bus = Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(kafka.bootstrap()) }).unwrap();
    let mut reader =
        bus.reader(topics::EVENTS_RAW.name, &(0..PARTITIONS).collect::<Vec<_>>(), Start::Earliest).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next(Duration::from_secs(2)).unwrap() {
        match RawRecord::decode(&Codec::single_object(), &record.payload.unwrap()).unwrap() {
            RawRecord::Event(raw) if raw.event.name.starts_with("test-") => {
                found.push(format!("{}/{}", raw.cluster, raw.event.name));
            }
            _ => {}
        }
    }
    found
}

fn write(plane: &ControlPlane, name: &str) {
    let file = plane.kubeconfig().with_file_name(format!("{name}.yaml"));
    let event = format!(
        "{{apiVersion: v1, kind: Event, metadata: {{name: {name}, namespace: default}}, reason: BackOff, type: Warning, \
         involvedObject: {{kind: Pod, namespace: default, name: p}}, message: m, count: 1}}"
    );
    fs::write(&file, event).unwrap();
    plane.apply(&file).unwrap();
}

#[test]
fn clusters_are_added_and_removed_while_the_exporter_runs() {
    let kafka = Kafka::start().unwrap();
    let planes = [(); 2].map(|()| ControlPlane::start(Options::default()).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let clusters = directory.path().join("clusters");
    fs::create_dir(&clusters).unwrap();
    let add = |plane: &ControlPlane, name: &str| fs::copy(plane.kubeconfig(), clusters.join(name)).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(binary().unwrap());
        command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
        command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string());
        command.env("EPICENTER_CLUSTERS__DIRECTORY", &clusters).env("EPICENTER_CLUSTERS__POLL_MS", "200");
        command
    };
    assert!(command(&["topics", "create"]).output().unwrap().status.success());
    add(&planes[0], "a.yaml");
    fs::write(clusters.join("broken.yaml"), "no kubeconfig").unwrap();
    let log = directory.path().join("exporter.log");
    let mut exporter = Process::spawn("exporter", &mut command(&["exporter"]), &log).unwrap();
    let watches = |log: &str, part: &str| log.lines().any(|line| line.contains("\"is well\"") && line.contains(part));
    exporter.until(LIMIT, |log| watches(log, "\"a/events\"") && log.contains("it is no kubeconfig")).unwrap();
    write(&planes[0], "test-1");

    add(&planes[1], "b.yaml");
    exporter.until(LIMIT, |log| watches(log, "\"b/events\"")).unwrap();
    write(&planes[1], "test-1");
    add(&planes[0], "same.yaml");
    exporter.until(LIMIT, |log| log.contains("same.yaml is the same cluster as kubeconfig")).unwrap();
    let told = command(&["doctor"]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let place = clusters.display();
    for expected in [
        format!("ok     clusters: kubeconfigs in {place}: 4\n"),
        "ok     access b: everything that is needed is allowed\n".to_owned(),
        format!("WRONG  cluster broken: kubeconfig {place}/broken.yaml: it is no kubeconfig that can be used"),
    ] {
        assert!(told.contains(&expected), "{expected} is not in:\n{told}");
    }
    let expect = |expected: &[&str]| {
        let deadline = Instant::now() + LIMIT;
        let mut found = events(&kafka);
        while found.len() < expected.len() && Instant::now() < deadline {
            found = events(&kafka);
        }
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.iter().copied().collect());
        assert_eq!(found.len(), expected.len(), "one is there twice: {found:?}");
    };
    expect(&["a/test-1", "b/test-1"]);

    fs::remove_file(clusters.join("a.yaml")).unwrap();
    fs::remove_file(clusters.join("same.yaml")).unwrap();
    exporter.until(LIMIT, |log| log.matches("its kubeconfig is gone").count() == 2).unwrap();
    write(&planes[0], "test-2");
    write(&planes[1], "test-2");
    expect(&["a/test-1", "b/test-1", "b/test-2"]);
    add(&planes[0], "a.yaml");
    expect(&["a/test-1", "a/test-2", "b/test-1", "b/test-2"]);
    assert!(exporter.ended().unwrap().is_none(), "{}", exporter.tail());
}
