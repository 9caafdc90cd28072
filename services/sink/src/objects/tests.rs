use std::time::Instant;

use epicenter_bus::topics::INCIDENT_CHANGES;
use epicenter_bus::{Emit, LocalConfig, Source, Stop};
use epicenter_model::{Incident, IncidentChange, Severity, partition_of};
use serde_json::json;

use super::*;
use crate::Publisher;
use crate::fake::Fake;

#[test]
fn checks_its_configuration() {
    assert_eq!(ObjectsConfig::default().problems(), []);
    let wrong = ObjectsConfig { max_objects: 0, log_epoch: -1, ..ObjectsConfig::default() };
    let keys: Vec<_> = wrong.problems().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["max_objects", "log_epoch"]);
}

/// A log in a directory, with the publisher on it.
struct Log {
    bus: Bus,
    source: Source,
    stop: Stop,
    publisher: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Log {
    fn new(cluster: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let retention = Duration::from_secs(3600);
        let config = LocalConfig { directory: directory.path().to_owned(), partitions: 3, retention };
        let bus = Bus::local(config).unwrap();
        let (source, _) = bus.source("test", partition_of(cluster, 3), b"").unwrap();
        let stop = Stop::new();
        let publisher = std::thread::spawn({
            let (bus, stop) = (bus.clone(), stop.clone());
            move || bus.run(&crate::spec(), || Publisher::new(Codec::single_object()), &|_, _, _| {}, &stop).unwrap()
        });
        Self { bus, source, stop, publisher: Some(publisher), _directory: directory }
    }

    fn write(&mut self, cluster: &str, id: &str, version: i64) {
        let incident = Incident {
            id: id.into(),
            version,
            cluster: cluster.into(),
            severity: Severity::High,
            opened_at: now(),
            last_event_at: now(),
            ..Incident::default()
        };
        let change = IncidentChange { at: now(), incident, ..IncidentChange::default() };
        let emit = Emit {
            topic: INCIDENT_CHANGES.name,
            timestamp: now().as_millis(),
            key: format!("{cluster}/{id}").into(),
            payload: Some(Codec::single_object().encode(&change).unwrap().into()),
            headers: vec![],
        };
        self.source.commit(&[emit], &[]).unwrap();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop.request();
        self.publisher.take().unwrap().join().unwrap();
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

struct Running {
    token: CancellationToken,
    health: Health,
    task: tokio::task::JoinHandle<Result<(), Fault>>,
}

fn start(log: &Log, fake: &Fake) -> Running {
    let (token, health) = (CancellationToken::new(), Health::new());
    let config = ObjectsConfig { writes_per_second: 1000, ..ObjectsConfig::default() };
    let (client, bus, codec) = (fake.client(), log.bus.clone(), Codec::single_object());
    let task = tokio::spawn(run_objects(client, bus, codec, "c".into(), config, token.clone(), health.clone()));
    Running { token, health, task }
}

impl Running {
    async fn stop(self) {
        self.token.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn follows_the_log_over_faults_and_restarts() {
    let (mut log, fake) = (Log::new("c"), Fake::default());
    fake.fail("GET /apis/epicenter.dev/v1alpha1/incidents", 404, "404 page not found");
    let running = start(&log, &fake);
    until("it says what is missing", || {
        running.health.report().values().flatten().any(|why| why.contains("`epicenter crd | kubectl apply"))
    })
    .await;
    for version in 1..=20 {
        log.write("c", "i", version);
        log.write("foreign", "x", version);
    }
    until("the newest is shown", || !fake.world().objects.is_empty() && fake.status("i", "version") == json!(20)).await;
    until("it is well again", || running.health.is_ready()).await;
    assert_eq!(fake.world().objects.len(), 1, "other clusters have their own sinks");
    running.stop().await;

    // What was committed is not read again: a deleted object stays away until its incident changes.
    fake.world().objects.clear();
    let running = start(&log, &fake);
    log.write("c", "j", 1);
    until("what came meanwhile is shown", || fake.world().objects.contains_key("j")).await;
    assert!(!fake.world().objects.contains_key("i"));
    running.stop().await;

    // What was not acknowledged is read again.
    let running = start(&log, &fake);
    until("it runs", || running.health.is_ready()).await;
    fake.fail("/incidents/j/status", 500, "away");
    log.write("c", "j", 2);
    until("it is blocked", || !running.health.is_ready()).await;
    running.stop().await;
    let running = start(&log, &fake);
    until("the rest is done", || fake.status("j", "version") == json!(2)).await;
    running.stop().await;
}
