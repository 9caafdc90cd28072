//! A fault becomes an incident: in the terminal, and as an object in the cluster.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Signal, binary};
use kube::api::{Api, PostParams};
use serde_json::Value;

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
    let id = what_a_user_types_while_it_runs(&plane, directory.path());
    up.signal(Signal::Kill).unwrap();
    up.wait(Duration::from_secs(30)).unwrap();
    what_is_said_while_it_stands_still(&plane, directory.path(), &id);
}

/// It is in the log, and is carried out when that goes on.
fn what_is_said_while_it_stands_still(plane: &ControlPlane, directory: &Path, id: &str) {
    let output = ask(plane, directory, &["note", id, "ticket 17", "--by", "anna"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("written; {id} has a note by anna as soon as `epicenter up` runs again\n"), "{why}");
    let mut up = crate::up(plane, directory);
    let deadline = Instant::now() + Duration::from_secs(60);
    let noted = || {
        let shown = ask(plane, directory, &["show", id, "-o", "json"]).stdout;
        let shown: Value = serde_json::from_slice(&shown).unwrap_or_default();
        shown["notes"].as_array().into_iter().flatten().filter(|note| note["text"] == "ticket 17").count()
    };
    // Before it says where it can be asked, only it has the log.
    up.until(Duration::from_secs(60), |log| log.contains("watching")).unwrap();
    while noted() == 0 {
        assert!(Instant::now() < deadline, "{}", up.tail());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(noted(), 1);
}

fn ask(plane: &ControlPlane, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.args(arguments).arg("--kubeconfig").arg(plane.kubeconfig());
    command.arg("--data-dir").arg(directory.join("data")).output().unwrap()
}

/// Every question is answered by the running process, which alone has the log. Gives the incident's id.
fn what_a_user_types_while_it_runs(plane: &ControlPlane, directory: &Path) -> String {
    let ask = |arguments: &[&str]| ask(plane, directory, arguments);
    let answer = |arguments: &[&str]| -> String {
        let output = ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&answer(arguments)).unwrap() };

    let incidents = json(&["incidents", "-o", "json"]);
    let id = incidents[0]["id"].as_str().unwrap();
    assert_eq!((incidents.as_array().unwrap().len(), &incidents[0]["state"]), (1, &Value::from("open")));
    assert!(answer(&["incidents"]).contains(id));
    // The beginning of an id is enough.
    let told = answer(&["show", &id[..8]]);
    assert!(told.contains(id) && told.contains("registry.example.com/shop/web:9"), "{told}");
    // The second Event joins by a version of its own.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut document = json(&["show", id, "-o", "json"]);
    while document["members"].as_array().unwrap().len() < 2 && Instant::now() < deadline {
        document = json(&["show", id, "-o", "json"]);
    }
    assert_eq!(document["members"].as_array().unwrap().len(), 2, "{document:#}");
    let events = json(&["events", "--limit", "1", "-o", "json"]);
    assert_eq!(events.as_array().unwrap().len(), 1, "{events:#}");
    assert!(answer(&["events"]).contains("Failed"));
    let health = answer(&["doctor"]);
    assert!(health.contains("a running process has") && !health.contains("WRONG"), "{health}");

    let who = ["--by", "anna", "-m", "the tag is wrong"];
    assert_eq!(answer(&[&["ack", &id[..8]], &who[..]].concat()), format!("{id} is acknowledged by anna\n"));
    let document = json(&["show", id, "-o", "json"]);
    assert_eq!(
        (&document["acknowledged"]["by"], &document["notes"][0]["act"]),
        (&"anna".into(), &"acknowledge".into())
    );
    answer(&[&["silence", "--namespace", "default", "--for", "1h"], &who[..]].concat());
    let silences = json(&["silences", "-o", "json"]);
    let silence = silences[0]["id"].as_str().unwrap();
    assert_eq!((&silences[0]["matcher"]["namespace"], &silences[0]["cluster"]), (&"default".into(), &"test".into()));
    assert_eq!(json(&["show", id, "-o", "json"])["silenced"]["id"], silence);
    assert!(answer(&["incidents"]).contains("silent") && answer(&["silences"]).contains("namespace=default"));
    answer(&[&["unsilence", silence], &who[..]].concat());
    assert_eq!(answer(&["silences"]), "there are no silences\n");
    let backwards = ask(&[
        &["silence", id, "--from", "2026-12-02T06:00:00Z", "--until", "2026-12-01T06:00:00Z"],
        &who[..],
    ]
    .concat());
    let said = String::from_utf8_lossy(&backwards.stderr);
    assert!(!backwards.status.success() && said.contains("it must end after it begins"), "{said}");

    let unknown = ask(&["show", "epc-unknown"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && said.contains("epc-unknown"), "{said}");
    id.to_owned()
}
