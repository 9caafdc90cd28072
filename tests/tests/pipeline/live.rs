//! A fleet, live: two clusters with controllers, scheduler and nodes, in which different things go wrong; services that
//! share the work, one more that joins; a third cluster that comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::{Codec, Incident, IncidentState, RawRecord, Severity, partition_of};
use epicenter_tests::kube::{Component, ControlPlane, Options};
use epicenter_tests::process::{Process, Signal};
use kube::api::{Api, PostParams};
use serde_json::Value;

use crate::audit::assert_as_undisturbed;
use crate::installation::Installation;
use crate::writer::{client, event};

const LIMIT: Duration = Duration::from_secs(120);
const PARTITIONS: u32 = 6;
const SERVICES: [(&str, usize); 4] = [("exporter", 2), ("enricher", 2), ("correlator", 3), ("sink", 1)];
/// What goes wrong, by cluster: class of the cause, and its object.
const EXPECTED: [(&str, &str, &str); 3] = [
    ("a", "node.not_ready", "Node node-1"),
    ("b", "image.pull.not_found", "Deployment shop/web"),
    ("b", "quota.exceeded", "ResourceQuota team/small"),
];

/// Namespaces and workloads: of `blocked`, a quota lets one pod of three through.
const WORKLOADS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: team}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2,
  selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}},
  spec: {containers: [{name: app, image: "registry.example.com/shop/web:8"}]}}}}
"#;
const BLOCKED: &str = r#"
{apiVersion: v1, kind: ResourceQuota, metadata: {name: small, namespace: team}, spec: {hard: {pods: "1"}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: blocked, namespace: team}, spec: {replicas: 3,
  selector: {matchLabels: {app: blocked}}, template: {metadata: {labels: {app: blocked}},
  spec: {containers: [{name: app, image: "registry.example.com/team/blocked:1"}]}}}}
"#;

fn cluster() -> ControlPlane {
    let options = Options {
        controllers: true,
        scheduler: true,
        kwok_nodes: 1,
        node_grace: Duration::from_secs(10),
        ..Options::default()
    };
    let plane = ControlPlane::start(options).unwrap();
    plane.apply_text(WORKLOADS).unwrap();
    plane
        .until("the workload is up", LIMIT, |plane| {
            let ready = ["get", "deployment", "web", "-n", "shop", "-o", "jsonpath={.status.readyReplicas}"];
            Ok(plane.kubectl(&ready)? == "2")
        })
        .unwrap();
    // As in a cluster that is older than its Events: a node that has just joined may be not ready for a while.
    plane
        .until("the node's arrival is told", LIMIT, |plane| {
            let joined = ["get", "events", "-A", "--field-selector", "reason=RegisteredNode", "-o", "name"];
            Ok(!plane.kubectl(&joined)?.is_empty())
        })
        .unwrap();
    plane.kubectl(&["delete", "events", "--all", "-A"]).unwrap();
    plane
}

/// The incidents of the public table that somebody is told of.
fn incidents(installation: &Installation) -> Vec<Incident> {
    let table = installation.bus().table(topics::INCIDENTS.name).unwrap();
    let documents = table.values().map(|value| Codec::single_object().decode(value).unwrap());
    documents.filter(|incident: &Incident| !incident.backfill && incident.severity > Severity::Info).collect()
}

fn is_open(incident: &Incident, (cluster, class, _): (&str, &str, &str)) -> bool {
    let open = incident.state == IncidentState::Open;
    open && incident.cluster == cluster && incident.cause.class == class
}

fn until(what: &str, installation: &Installation, services: &[Process], holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        let tell = || {
            let listed = installation.command(&["incidents", "--all", "-o", "wide"]).output().unwrap();
            let tails = services.iter().map(Process::tail).collect::<Vec<_>>().join("\n");
            format!("{}\n{tails}", String::from_utf8_lossy(&listed.stdout))
        };
        assert!(Instant::now() < deadline, "{what}\n{}", tell());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn pull_fails(plane: &ControlPlane, namespace: &str, pod: &str, uid: &str) {
    let message = "Failed to pull image \"registry.example.com/shop/web:9\": rpc error: code = NotFound: not found";
    let mut event = event(&format!("{pod}.1"), pod, "Failed", message);
    event.metadata.namespace = Some(namespace.to_owned());
    event.involved_object.namespace = Some(namespace.to_owned());
    event.involved_object.uid = Some(uid.to_owned());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let events: Api<_> = Api::namespaced(client(plane).await, namespace);
        events.create(&PostParams::default(), &event).await.unwrap();
    });
}

/// Name and uid of a pod of `shop`.
fn pod(plane: &ControlPlane) -> (String, String) {
    let first = "jsonpath={.items[0].metadata.name} {.items[0].metadata.uid}";
    let said = plane.kubectl(&["get", "pods", "-n", "shop", "-o", first]).unwrap();
    let (name, uid) = said.split_once(' ').unwrap();
    (name.to_owned(), uid.to_owned())
}

#[test]
fn each_cluster_has_its_own_incidents_while_services_and_clusters_come_and_go() {
    let names = ["a", "b", "d"];
    let partitions: BTreeSet<u32> = names.iter().map(|name| partition_of(name, PARTITIONS)).collect();
    assert_eq!(partitions.len(), names.len(), "each in a partition of its own");
    let installation = Installation::new(PARTITIONS);
    let mut planes = [cluster(), cluster()];
    for (name, plane) in names.iter().zip(&planes) {
        installation.add(name, plane);
    }
    let mut services: Vec<Process> = SERVICES
        .iter()
        .flat_map(|(service, count)| (1..=*count).map(move |n| (service, n)))
        .map(|(service, n)| installation.service(&format!("{service}-{n}"), service))
        .collect();
    services.extend(names.iter().zip(&planes).map(|(name, plane)| installation.member(name, plane)));
    installation.until_watched(&mut services[..2], &names[..2]);
    for plane in &planes {
        let crd = |plane: &ControlPlane| Ok(plane.kubectl(&["get", "crd", "incidents.epicenter.dev"]).is_ok());
        plane.until("the CRD is there", LIMIT, crd).unwrap();
    }

    planes[0].end(Component::Kwok, Signal::Kill).unwrap();
    planes[1].apply_text(BLOCKED).unwrap();
    let (web, uid) = pod(&planes[1]);
    pull_fails(&planes[1], "shop", &web, &uid);
    for expected in EXPECTED {
        until(&format!("{expected:?}"), &installation, &services, || {
            incidents(&installation).iter().any(|incident| is_open(incident, expected))
        });
    }

    // One more correlator: it takes partitions over while incidents go on.
    services.push(installation.service("correlator-4", "correlator"));
    until("it takes partitions over", &installation, &services, || {
        services.last().is_some_and(|joined| joined.output().contains("took partition over"))
    });

    // A third cluster comes, has its incident, and goes.
    let third = ControlPlane::start(Options::default()).unwrap();
    installation.add(names[2], &third);
    installation.until_watched(&mut services[..2], &names[2..]);
    pull_fails(&third, "default", "lone-1", "uid-of-lone-1");
    let of_third = (names[2], "image.pull.not_found", "");
    until("the third cluster's incident", &installation, &services, || {
        incidents(&installation).iter().any(|incident| is_open(incident, of_third))
    });
    installation.remove(names[2]);
    until("the third cluster is left", &installation, &services, || {
        services[..2].iter().any(|exporter| exporter.output().contains("its kubeconfig is gone"))
    });
    pull_fails(&third, "default", "lone-2", "uid-of-lone-2");

    let found = incidents(&installation);
    for (cluster, class, object) in EXPECTED {
        let of = found.iter().filter(|incident| incident.cluster == cluster && incident.cause.class == class);
        let causes: Vec<_> = of.map(|incident| incident.cause.object.to_string()).collect();
        assert!(causes.len() == 1 && causes[0].starts_with(object), "{cluster} {class}: {causes:?}, not {object}");
    }
    let told =
        found.iter().map(|incident| format!("{} {}: {}", incident.cluster, incident.cause.class, incident.title));
    let told: Vec<_> = told.collect();
    assert_eq!(found.len(), EXPECTED.len() + 1, "{told:#?}");
    assert_nothing_crosses(&installation, &found);
    for (name, plane) in names.iter().zip(&planes) {
        assert_in_cluster(name, plane, &found);
    }

    for exporter in &mut services[..2] {
        exporter.signal(Signal::Term).unwrap();
        exporter.wait(LIMIT).unwrap();
    }
    let raw = installation.read(topics::EVENTS_RAW.name);
    let after: Vec<_> = raw[&partition_of(names[2], PARTITIONS)]
        .iter()
        .filter(|record| String::from_utf8_lossy(&record.key).contains("lone-2"))
        .collect();
    assert!(after.is_empty(), "a cluster that is removed is no longer read");
    assert_as_undisturbed(&installation, &|| services.iter().map(Process::tail).collect::<Vec<_>>().join("\n"));
    println!("{told:#?}");
}

/// An incident's members are Events of its own cluster.
fn assert_nothing_crosses(installation: &Installation, found: &[Incident]) {
    let mut of: BTreeMap<String, String> = BTreeMap::new();
    for record in installation.read(topics::EVENTS_RAW.name).values().flatten() {
        let payload = record.payload.as_ref().unwrap();
        if let RawRecord::Event(raw) = RawRecord::decode(&Codec::single_object(), payload).unwrap() {
            let other = of.insert(raw.event.uid.clone(), raw.cluster.clone());
            assert!(other.is_none_or(|other| other == raw.cluster), "{} is of two clusters", raw.event.uid);
        }
    }
    for incident in found {
        for member in &incident.members {
            assert_eq!(of.get(&member.event_uid).unwrap_or(&incident.cluster), &incident.cluster, "{}", incident.title);
        }
    }
}

/// A cluster shows its own incidents, as objects and as Events on the workload, and no others.
fn assert_in_cluster(name: &str, plane: &ControlPlane, found: &[Incident]) {
    let own: BTreeSet<String> =
        found.iter().filter(|incident| incident.cluster == name).map(|incident| incident.id.clone()).collect();
    let json = |arguments: &[&str]| -> Vec<Value> {
        let said: Value = serde_json::from_str(&plane.kubectl(arguments).unwrap()).unwrap();
        said["items"].as_array().unwrap().clone()
    };
    let deadline = Instant::now() + LIMIT;
    loop {
        let objects = json(&["get", "incidents", "-o", "json"]);
        let strange = objects.iter().find(|object| object["spec"]["cluster"] != name);
        assert!(strange.is_none(), "{name} shows {strange:?}");
        let events = json(&["get", "events.v1.events.k8s.io", "-A", "-o", "json"]);
        let events = events.iter().filter(|event| event["reportingController"] == "epicenter.dev/sink");
        let opened =
            events.filter(|event| event["reason"] == "IncidentOpened" && event["regarding"]["kind"] == "Deployment");
        let told: BTreeSet<String> = opened
            .filter_map(|event| event["metadata"]["name"].as_str()?.split('.').next().map(str::to_owned))
            .collect();
        let shown: BTreeSet<String> =
            objects.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect();
        if own.iter().all(|id| shown.contains(id) && told.contains(id)) {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {own:?}, shown {shown:?}, told {told:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
