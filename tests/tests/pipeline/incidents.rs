//! A fault becomes an incident: in the terminal, and as an object in the cluster.

use std::time::{Duration, Instant};

use epicenter_tests::kube::{ControlPlane, Options};
use kube::api::{Api, PostParams};

use crate::writer::{client, event};

#[test]
fn failing_events_become_an_incident_in_the_terminal_and_in_the_cluster() {
    let plane = ControlPlane::start(Options::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut up = crate::up(&plane, directory.path());
    plane
        .until("the CRD is there", Duration::from_secs(60), |plane| {
            Ok(plane.kubectl(&["get", "crd", "incidents.epicenter.dev"]).is_ok())
        })
        .unwrap();
    // It is watching when it says so.
    up.until(Duration::from_secs(60), |log| log.contains("watching")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let written = runtime.block_on(async {
        let events: Api<_> = Api::namespaced(client(&plane).await, "default");
        for (n, message) in ["not found", "ErrImagePull"].iter().enumerate() {
            let text = format!(
                "Failed to pull image \"registry.example.com/shop/web:9\": rpc error: code = NotFound: {message}"
            );
            let event = event(&format!("web-1.{n}"), "web-1", "Failed", &text);
            events.create(&PostParams::default(), &event).await.unwrap();
        }
        Instant::now()
    });
    up.until(Duration::from_secs(30), |log| log.contains("epc-")).unwrap();
    let in_terminal = written.elapsed();
    let mut listed = String::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !listed.contains("open") && Instant::now() < deadline {
        listed = plane.kubectl(&["get", "incidents"]).unwrap();
    }
    let in_cluster = written.elapsed();
    assert!(listed.contains("open"), "no incident object:\n{listed}\n{}", up.tail());
    println!(
        "in the terminal after {} ms, in the cluster after {} ms\n{listed}",
        in_terminal.as_millis(),
        in_cluster.as_millis()
    );
}
