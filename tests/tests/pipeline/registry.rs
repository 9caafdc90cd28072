//! A log whose records are framed by a schema registry, which comes, goes, and answers nonsense.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Emit, topics};
use epicenter_model::{Codec, Event, ObjectRef, RawEvent, RecordType};
use epicenter_runtime::{RegistryClient, RegistryConfig};
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, Signal, output};
use epicenter_tests::python;
use epicenter_tests::registry::Registry;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::writer::{client, event};

const LIMIT: Duration = Duration::from_secs(90);
const SERVICES: [&str; 4] = ["exporter", "enricher", "correlator", "sink"];

struct Story {
    installation: Installation,
    plane: ControlPlane,
    /// What `epicenter` is told of the registry.
    settings: Vec<(&'static str, String)>,
    starts: usize,
}

impl Story {
    fn start(&mut self) -> Vec<Process> {
        self.starts += 1;
        let start = |service: &&str| self.installation.service_with(&self.log(service), service, &self.settings);
        let mut running: Vec<_> = SERVICES.iter().map(start).collect();
        self.installation.until_watched(&mut running[..1], &["test"]);
        running
    }

    fn log(&self, service: &str) -> String {
        format!("{service}-{}", self.starts)
    }

    fn stop(running: Vec<Process>) {
        for mut process in running {
            process.signal(Signal::Term).unwrap();
            assert!(process.wait(LIMIT).unwrap().success(), "{}", process.tail());
        }
    }

    fn epicenter(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.installation.command(arguments);
        let output = command.envs(self.settings.iter().cloned()).output().unwrap();
        let text = [&output.stdout[..], &output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes an Event of the pod at the API server.
    fn happen(&self, pod: &str) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let events: Api<_> = Api::namespaced(client(&self.plane).await, "default");
            let message = format!("Failed to pull image \"registry.example.com/{pod}:9\": code = NotFound: not found");
            events.create(&PostParams::default(), &event(&format!("{pod}.1"), pod, "Failed", &message)).await.unwrap();
        });
    }

    /// The pods of which the log has Events with their meaning.
    fn seen(&self) -> BTreeSet<String> {
        let (_, events) = self.epicenter(&["events", "-o", "json", "--limit", "1000"]);
        let events: Value = serde_json::from_str(&events).unwrap_or_else(|error| panic!("{error}: {events}"));
        let pods = events.as_array().unwrap().iter();
        pods.map(|event| event["event"]["regarding"]["name"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn until_seen(&self, pod: &str, running: &[Process]) {
        let deadline = Instant::now() + LIMIT;
        while !self.seen().contains(pod) {
            let tails = || running.iter().map(Process::tail).collect::<Vec<_>>().join("\n");
            assert!(Instant::now() < deadline, "nothing of {pod}\n{}", tails());
        }
    }

    /// How many incidents are published.
    #[track_caller]
    fn until_incidents(&self, count: usize) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (_, listed) = self.epicenter(&["incidents", "--all", "-o", "json"]);
            let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|error| panic!("{error}: {listed}"));
            if listed.as_array().unwrap().len() == count {
                return;
            }
            assert!(Instant::now() < deadline, "{count} incidents are expected: {listed:#}");
        }
    }

    /// The frames on a topic: the first bytes of its payloads.
    fn frames(&self, topic: &'static str) -> BTreeSet<u8> {
        let records = self.installation.read(topic).into_values().flatten();
        // Keys that begin with a zero byte are the kernel's own marks.
        let payloads = records.filter(|record| record.key.first() != Some(&0)).filter_map(|record| record.payload);
        payloads.map(|payload| payload[0]).collect()
    }

    /// Writes to events.raw by hand.
    fn write(&self, payload: Vec<u8>) {
        let (mut source, _) = self.installation.bus().source("exporter.by-hand", 0, b"by-hand").unwrap();
        let topic = topics::EVENTS_RAW.name;
        let emit = Emit { topic, key: "by-hand".into(), payload: Some(payload.into()), ..Emit::default() };
        source.commit(&[emit], &[]).unwrap();
    }

    /// What the example in Python prints.
    fn python(&self, registry: Option<&Registry>) -> anyhow::Result<Vec<Value>> {
        let mut example = Command::new(python::interpreter()?);
        example
            .arg(python::examples().join("incidents.py"))
            .arg("--bootstrap")
            .arg(self.installation.kafka.bootstrap());
        example.arg("--schema").arg(python::examples().join("../../../proto/incident.avsc")).args(["--idle", "5"]);
        if let Some(registry) = registry {
            example.args(["--registry", &registry.url()]);
        }
        let printed = output(&mut example, LIMIT)?;
        Ok(printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

/// An Event of a pod as a newer version writes it, which knows one field more: its schema, and the payload.
fn of_tomorrow(pod: &str) -> (String, Vec<u8>) {
    let mut schema: Value = serde_json::from_str(RecordType::RawEvent.schema_text()).unwrap();
    let field = json!({"name": "ofTomorrow", "type": "string", "default": ""});
    schema["fields"].as_array_mut().unwrap().push(field);
    let regarding = ObjectRef { uid: pod.into(), api_version: "v1".into(), ..ObjectRef::named("Pod", "default", pod) };
    let event = Event {
        uid: format!("event-of-{pod}"),
        namespace: "default".into(),
        name: format!("{pod}.1"),
        resource_version: "7".into(),
        regarding,
        reason: "Scheduled".into(),
        event_type: "Normal".into(),
        count: Some(1),
        ..Event::default()
    };
    let raw = RawEvent { cluster: "test".into(), cluster_uid: "by-hand".into(), event, ..RawEvent::default() };
    let single = Codec::single_object().encode(&raw).unwrap();
    (schema.to_string(), [&single[10..], &[4], b"ab"].concat())
}

#[test]
fn a_registry_comes_and_goes_and_nothing_is_lost() {
    let (installation, plane) = (Installation::new(1), ControlPlane::start(Options::default()).unwrap());
    installation.add("test", &plane);
    let mut story = Story { installation, plane, settings: Vec::new(), starts: 0 };
    let mut registry = Registry::start().unwrap();
    let registered = RegistryConfig { url: registry.url(), timeout_ms: 20_000, ..RegistryConfig::default() };

    // Without a registry.
    let running = story.start();
    story.happen("single");
    story.until_seen("single", &running);
    story.until_incidents(1);
    Story::stop(running);
    assert_eq!(story.frames(topics::INCIDENTS.name), [0xc3].into());
    let told = story.python(None).unwrap();
    assert_eq!((&told[0]["cause"], &told[0]["cluster"]), (&json!("image.pull.not_found"), &json!("test")));

    // With one: the log goes on, in the other frame.
    let cache = story.installation.directory.path().join("cache");
    story.settings = vec![
        ("EPICENTER_REGISTRY__URL", registry.url()),
        ("EPICENTER_REGISTRY__CACHE", cache.display().to_string()),
        ("EPICENTER_REGISTRY__TIMEOUT_MS", "20000".to_owned()),
    ];
    let (code, told) = story.epicenter(&["schemas", "check"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("epicenter.incidents-value has no schema of this version"), "{told}");
    for _ in 0..2 {
        let (code, told) = story.epicenter(&["schemas", "register"]);
        assert_eq!((code, told.lines().count()), (0, RecordType::ALL.len()), "{told}");
    }
    let (code, told) = story.epicenter(&["schemas", "check"]);
    assert_eq!((code, told.as_str()), (0, "the registry has the schemas of this version\n"));
    let running = story.start();
    story.happen("framed");
    story.until_seen("framed", &running);
    story.until_incidents(2);
    for topic in [topics::EVENTS_RAW, topics::POSITIONS, topics::EVENTS_ENRICHED, topics::INCIDENT_CHANGES] {
        assert_eq!(story.frames(topic.name), [0, 0xc3].into(), "{}", topic.name);
    }
    let told = story.python(Some(&registry)).unwrap();
    let ids: BTreeSet<_> = told.iter().map(|incident| incident["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2, "{told:#?}");
    let told = story.python(None).unwrap_err().to_string();
    assert!(told.contains("give its address with --registry"), "{told}");

    // A version to come writes, and then the registry is down at the start of services that know their own ids.
    let client = RegistryClient::new(&registered).unwrap();
    let (schema, payload) = of_tomorrow("tomorrow");
    let id = client.register(RecordType::RawEvent.full_name(), &schema).unwrap().unwrap();
    let foreign =
        client.register("orders-value", r#"{"type": "record", "name": "Order", "fields": []}"#).unwrap().unwrap();
    Story::stop(running);
    registry.end().unwrap();
    let mut running = story.start();
    for process in &mut running {
        process.until(LIMIT, |log| log.contains("going on with the schema ids that are kept")).unwrap();
    }
    story.happen("warm");
    story.until_seen("warm", &running);
    story.until_incidents(3);
    story.write([&[0], &id.to_be_bytes()[..], &payload].concat());
    story.write([&[0], &foreign.to_be_bytes()[..], b"order"].concat());
    story.happen("waiting");
    running[1].until(LIMIT, |log| log.contains(&format!("schema id {id}: the schema registry"))).unwrap();
    assert!(!story.seen().contains("waiting"), "it comes after what has to wait");
    registry.start_again().unwrap();
    story.until_seen("waiting", &running);
    assert!(story.seen().contains("tomorrow"), "it was waited for, not passed over");
    let letters = story.installation.read(topics::DEAD_LETTER.name).into_values().flatten();
    let payloads: Vec<_> = letters.map(|letter| letter.payload.unwrap()).collect();
    let [letter] = payloads.as_slice() else { panic!("{} dead letters", payloads.len()) };
    assert_eq!(letter[0], 0, "it is framed as the others");
    let expected = format!(
        "of events.raw/0: schema id {foreign}: it is the schema of `Order`, which is no record of Epicenter; the producer has \
         another registry, or wrote to the wrong topic"
    );
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, told) = story.epicenter(&["doctor"]);
        assert!(told.contains(&expected), "{told}");
        if told.contains("schema registry: it has the schemas of this version") {
            break;
        }
        // It began a moment ago, and may be slow.
        assert!(told.contains("cannot be reached: timeout") && Instant::now() < deadline, "{told}");
    }
    Story::stop(running);
}

/// Answers each request with an error, until it is dropped with the process.
fn broken() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut stream, mut request) = (stream, [0; 64 * 1024]);
            let _ = stream.read(&mut request);
            let answer =
                "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 14\r\nconnection: close\r\n\r\nthe disk is full";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_registry_that_fails_is_named_and_asked_again() {
    let installation = Installation::new(1);
    let url = broken();
    let settings = [("EPICENTER_REGISTRY__URL", url.clone())];
    let said = format!("the schema registry {url} answers 500 to POST /subjects/");
    let mut enricher = installation.service_with("enricher", "enricher", &settings);
    enricher.until(LIMIT, |log| log.contains(&said)).unwrap();
    assert!(enricher.ended().unwrap().is_none(), "it is no reason to end");
    enricher.signal(Signal::Term).unwrap();
    enricher.wait(LIMIT).unwrap();
    assert!(enricher.output().contains("stopped before the schema registry answered"), "{}", enricher.tail());

    let check = |arguments: &[&str], settings: &[(&str, String)], code: i32, expected: &str| {
        let output = installation.command(arguments).envs(settings.iter().cloned()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{expected} is not in: {said}");
    };
    check(&["schemas", "register"], &settings, 69, "answers 500 to PUT /config/");
    check(&["schemas", "check"], &[("EPICENTER_REGISTRY__URL", "http://127.0.0.1:1".into())], 69, "cannot be reached");
    check(&["schemas", "check"], &[], 1, "there is no schema registry: set registry.url");
    let authorities = [settings[0].clone(), ("EPICENTER_REGISTRY__CA", "/nowhere/ca.pem".into())];
    check(&["schemas", "check"], &authorities, 78, "registry.ca /nowhere/ca.pem: No such file or directory");
}
