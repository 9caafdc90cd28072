use std::time::Duration;

use epicenter_tests::kube::{Component, ControlPlane, Options};
use epicenter_tests::process::Signal;

use crate::is_running;

#[test]
fn pods_run_on_played_nodes_and_the_control_plane_ends_with_its_owner() {
    let options = Options { controllers: true, scheduler: true, kwok_nodes: 2, ..Options::default() };
    let mut plane = ControlPlane::start(options).unwrap();
    plane.kubectl(&["create", "deployment", "web", "--image=registry.test/web:1", "--replicas=3"]).unwrap();
    plane
        .until("three pods run", Duration::from_secs(60), |plane| {
            let phases = plane.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}"])?;
            Ok(phases == "Running Running Running")
        })
        .unwrap();
    let events = plane.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).unwrap();
    assert!(events.contains("Scheduled") && events.contains("ScalingReplicaSet"), "{events}");

    plane.end(Component::ApiServer, Signal::Kill).unwrap();
    assert!(plane.kubectl(&["get", "--raw", "/readyz"]).is_err(), "an API server that was killed does not answer");
    plane.start_again(Component::ApiServer).unwrap();
    let deployment = plane.kubectl(&["get", "deployment", "web", "-o", "name"]).unwrap();
    assert_eq!(deployment.trim(), "deployment.apps/web");

    let pids = plane.pids();
    assert_eq!(pids.iter().filter(|&&pid| is_running(pid)).count(), 5);
    drop(plane);
    assert_eq!(pids.iter().filter(|&&pid| is_running(pid)).count(), 0);
}

#[test]
fn without_controllers_a_pod_needs_no_service_account() {
    let plane = ControlPlane::start(Options { kwok_nodes: 1, ..Options::default() }).unwrap();
    let pod = plane.kubectl(&["run", "lone", "--image=registry.test/web:1", "-o", "name"]).unwrap();
    assert_eq!(pod.trim(), "pod/lone");
}
