//! Three made-up clusters through all processors on the log in a directory: what two have in common, and one that falls
//! silent.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use epicenter::engine::Engine;
use epicenter::view;
use epicenter_bus::{Bus, Emit, LocalConfig, Stop, topics};
use epicenter_exporter::{Log, farewell};
use epicenter_model::{
    Codec, Event, FLEET, Heartbeat, Incident, IncidentState, ObjectRef, RawEvent, RawRecord, Timestamp, WatchPosition,
    partition_of,
};
use epicenter_runtime::system_clock;
use epicenter_runtime::{Metrics, Traces};

const PARTITIONS: u32 = 4;
/// Something is wrong when what is waited for has not come by then.
const LIMIT: Duration = Duration::from_secs(90);
/// A cluster is silent after that time, s.
const SILENT: u32 = 8;
const CLUSTERS: [&str; 3] = ["prod-eu", "prod-us", "test"];

fn uid(cluster: &str) -> String {
    format!("uid-of-{cluster}")
}

/// Writes as the exporter of `cluster` would.
fn write(bus: &Bus, record: &RawRecord) {
    let (codec, cluster, at) = (Codec::single_object(), record.cluster(), record.at());
    let prefix = format!("{cluster}/").into_bytes();
    let id = format!("exporter.{}", uid(cluster));
    let (mut source, _) = bus.source(&id, partition_of(cluster, PARTITIONS), &prefix).unwrap();
    let payload = Some(record.encode(&codec).unwrap().into());
    let (topic, timestamp) = (topics::EVENTS_RAW.name, at.as_millis());
    let emit = Emit { topic, timestamp, key: record.key().into(), payload, headers: vec![] };
    let resource = "heartbeat".to_owned();
    let position = WatchPosition {
        cluster: cluster.to_owned(),
        cluster_uid: uid(cluster),
        resource,
        at,
        ..WatchPosition::default()
    };
    let key = format!("{cluster}/heartbeat").into_bytes();
    source.commit(&[emit], &[(key, codec.encode(&position).unwrap())]).unwrap();
}

/// Clusters whose log time is a quarter of a minute further with each beat: the most that still counts as quiet.
struct Clusters {
    bus: Bus,
    now: Timestamp,
}

impl Clusters {
    fn beat(&mut self, clusters: &[&str]) {
        self.now = self.now.plus_millis(15_000);
        for cluster in clusters {
            let beat = Heartbeat {
                cluster: (*cluster).to_owned(),
                cluster_uid: uid(cluster),
                at: self.now,
                healthy: true,
                last: false,
            };
            write(&self.bus, &RawRecord::Heartbeat(beat));
        }
    }

    fn cannot_pull(&self, cluster: &str) {
        let event = Event {
            uid: format!("event-in-{cluster}"),
            namespace: "shop".to_owned(),
            name: "web-1.1".to_owned(),
            resource_version: "7".to_owned(),
            regarding: ObjectRef {
                uid: "pod".to_owned(),
                api_version: "v1".to_owned(),
                ..ObjectRef::named("Pod", "shop", "web-1")
            },
            reason: "Failed".to_owned(),
            note: "Failed to pull image \"r.example.com/web:1\": dial tcp: lookup r.example.com: no such host"
                .to_owned(),
            event_type: "Warning".to_owned(),
            component: "kubelet".to_owned(),
            count: Some(1),
            last_at: Some(self.now),
            ..Event::default()
        };
        let (cluster_uid, at) = (uid(cluster), self.now.plus_millis(1));
        let raw = RawEvent { cluster: cluster.to_owned(), cluster_uid, at, event, ..RawEvent::default() };
        write(&self.bus, &RawRecord::Event(Box::new(raw)));
    }

    /// Lets `clusters` beat until an incident of the fleet is as `wanted`.
    #[track_caller]
    fn until(&mut self, clusters: &[&str], what: &str, wanted: impl Fn(&Incident) -> bool) -> Incident {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.beat(clusters);
            let incidents = view::incidents(&self.bus, &Codec::single_object(), "").unwrap();
            if let Some(found) = incidents.iter().find(|it| it.cluster == FLEET && wanted(it)) {
                return found.clone();
            }
            assert!(Instant::now() < deadline, "{what} has not come: {incidents:#?}");
            Stop::new().wait(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_registry_that_fails_two_clusters_and_a_cluster_that_falls_silent_are_incidents_of_the_fleet() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        LocalConfig { directory: directory.path().to_owned(), partitions: PARTITIONS, retention: Duration::MAX };
    let bus = Bus::local(config).unwrap();
    let (engine, metrics, stop) = (Engine::builtin().silent_after(SILENT), Metrics::new("test"), Stop::new());
    std::thread::scope(|scope| {
        for run in [Engine::run_enricher, Engine::run_correlator, Engine::run_fleet, Engine::run_publisher] {
            let (engine, bus, metrics, stop) = (&engine, &bus, &metrics, &stop);
            scope.spawn(move || run(engine, bus, metrics, stop).unwrap());
        }
        let told = scope.spawn(|| story(&bus)).join();
        stop.request();
        told.unwrap();
    });
}

fn story(bus: &Bus) {
    let mut clusters = Clusters { bus: bus.clone(), now: "2026-11-23T10:00:00Z".parse().unwrap() };
    clusters.beat(&CLUSTERS);
    clusters.cannot_pull("prod-eu");
    clusters.beat(&CLUSTERS);
    clusters.cannot_pull("prod-us");
    let found = clusters.until(&CLUSTERS, "the registry's incident", |it| it.cause.object.kind == "Registry");
    assert_eq!(found.title, "Registry r.example.com cannot be used: 2 clusters affected");
    let members: Vec<_> = found.members.iter().map(|member| member.regarding.name.as_str()).collect();
    assert_eq!((members.as_slice(), found.cause.class.as_str()), (&CLUSTERS[..2], "fleet.registry_outage"));
    let table = bus.table(topics::INCIDENTS.name).unwrap();
    assert!(table.contains_key(format!("{FLEET}/{}", found.id).as_bytes()));
    for like in [&found.id, &found.id[..8], &found.id[4..8]] {
        let incidents = view::incidents(bus, &Codec::single_object(), like).unwrap();
        assert!(incidents.iter().map(|it| &it.id).eq([&found.id]), "{like}: {incidents:#?}");
    }
    // The clusters' own incidents are what they were.
    for (cluster, member) in members.iter().zip(&found.members) {
        assert!(table.contains_key(format!("{cluster}/{}", member.event_uid).as_bytes()));
    }
    // Nothing more is heard of it, and both count as over.
    clusters.until(&CLUSTERS, "its end", |it| it.id == found.id && it.state == IncidentState::Resolved);

    let silent = |it: &Incident| it.cause.class == "fleet.cluster_silent" && it.cause.object.name == "test";
    let found = clusters.until(&CLUSTERS[..2], "the silence", |it| silent(it) && it.state == IncidentState::Open);
    clusters.until(&CLUSTERS, "its end", |it| it.id == found.id && it.state == IncidentState::Resolved);
    let found = clusters.until(&CLUSTERS[..2], "the next", |it| silent(it) && it.state == IncidentState::Open);
    let log = Log { bus: bus.clone(), codec: Codec::single_object(), clock: system_clock(), traces: Traces::default() };
    assert!(farewell(&log, "test").unwrap());
    assert!(!farewell(&log, "tes").unwrap(), "there is no such cluster");
    let found =
        clusters.until(&CLUSTERS[..2], "its end", |it| it.id == found.id && it.state == IncidentState::Resolved);
    assert!(found.explanation.iter().any(|told| told.contains("taken out")), "{:?}", found.explanation);
}
