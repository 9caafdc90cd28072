//! An installation moves to another number of partitions: what comes out is what would have come out of one that had it always.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant, SystemTime};

use epicenter_bus::{Bookmark, Bookmarks, Bus, Emit, Fault, KafkaConfig, Record, Rows, topics};
use epicenter_model::{
    Codec, EnrichedRecord, Event, Heartbeat, IncidentChange, ObjectChange, ObjectFacts, ObjectRef, RawEvent, RawRecord,
    Timestamp, WatchPosition, partition_of,
};
use epicenter_tests::process::{Process, Signal};

use crate::audit::assert_as_undisturbed;
use crate::installation::{Installation, SESSION};

const LIMIT: Duration = Duration::from_secs(120);
const BEFORE: u32 = 3;
const AFTER: u32 = 5;
pub const CLUSTERS: [&str; 6] = ["prod-eu-1", "prod-eu-2", "prod-us-1", "stage", "test-1", "test-2"];
const SERVICES: [&str; 4] = ["enricher", "correlator", "fleet", "sink"];

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap())
}

/// Writes what an exporter of each cluster would have seen of those pods: the pod, its Event, and a heartbeat after them.
pub fn feed(bus: &Bus, pods: std::ops::Range<usize>) {
    let codec = Codec::single_object();
    for cluster in CLUSTERS {
        let (mut source, rows) = bus
            .source(
                &format!("exporter.uid-{cluster}"),
                partition_of(cluster, bus.partitions()),
                format!("{cluster}/").as_bytes(),
            )
            .unwrap();
        assert_eq!((source.lost(), rows.len()), (None, usize::from(pods.start > 0)), "where {cluster} was is known");
        let (cluster, cluster_uid) = (cluster.to_owned(), format!("uid-{cluster}"));
        let mut records = Vec::new();
        for n in pods.clone() {
            let pod = format!("web-{n}");
            let object = ObjectRef {
                uid: format!("{cluster}-{pod}"),
                api_version: "v1".to_owned(),
                ..ObjectRef::named("Pod", "shop", &pod)
            };
            let facts = ObjectFacts { object: object.clone(), node: format!("n{}", n % 3), ..ObjectFacts::default() };
            let (cluster, cluster_uid) = (cluster.clone(), cluster_uid.clone());
            let change = ObjectChange { cluster, cluster_uid, at: now(), facts, ..ObjectChange::default() };
            let event = Event {
                uid: format!("event-{}-{pod}", change.cluster),
                namespace: "shop".to_owned(),
                name: format!("{pod}.1"),
                resource_version: (n + 1).to_string(),
                regarding: object,
                reason: "Failed".to_owned(),
                note: format!("Failed to pull image \"{}.example.com/{}:1\": not found", change.cluster, n / 10),
                event_type: "Warning".to_owned(),
                component: "kubelet".to_owned(),
                count: Some(1),
                last_at: Some(now()),
                ..Event::default()
            };
            let (cluster, cluster_uid) = (change.cluster.clone(), change.cluster_uid.clone());
            records.push(RawRecord::Object(Box::new(change)));
            records.push(RawRecord::Event(Box::new(RawEvent {
                cluster,
                cluster_uid,
                at: now(),
                event,
                ..RawEvent::default()
            })));
        }
        let (name, uid) = (cluster.clone(), cluster_uid.clone());
        records.push(RawRecord::Heartbeat(Heartbeat {
            cluster: name,
            cluster_uid: uid,
            at: now(),
            healthy: true,
            last: false,
        }));
        let emits: Vec<_> = records
            .iter()
            .map(|record| Emit {
                topic: topics::EVENTS_RAW.name,
                timestamp: record.at().as_millis(),
                key: record.key().into(),
                payload: Some(record.encode(&codec).unwrap().into()),
                headers: vec![("ce_id".into(), record.key().into())],
            })
            .collect();
        let position = WatchPosition {
            cluster: cluster.clone(),
            cluster_uid,
            resource: "events".to_owned(),
            ..WatchPosition::default()
        };
        source.commit(&emits, &[(format!("{cluster}/events").into_bytes(), codec.encode(&position).unwrap())]).unwrap();
    }
}

/// Each cluster's records of a topic, in their order; asserts that they are in its partition.
fn of_clusters(installation: &Installation, topic: &'static str) -> BTreeMap<String, Vec<Record>> {
    let codec = Codec::single_object();
    let mut all: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (partition, records) in installation.read(topic) {
        for record in records {
            let payload = record.payload.as_ref().unwrap();
            let cluster = match topic {
                "events.raw" => RawRecord::decode(&codec, payload).unwrap().cluster().to_owned(),
                "events.enriched" => EnrichedRecord::decode(&codec, payload).unwrap().cluster().to_owned(),
                _ => codec.decode::<IncidentChange>(payload).unwrap().incident.cluster,
            };
            assert_eq!(partition, partition_of(&cluster, installation.partitions), "{cluster} in {topic}");
            // Where it is in the log is what changes.
            all.entry(cluster).or_default().push(Record { partition: 0, offset: 0, ..record });
        }
    }
    all
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Nobody is told of anything.
struct NoReceivers;

impl Bookmarks for NoReceivers {
    fn read(&self, _: &Rows) -> Vec<(String, u32, Bookmark)> {
        Vec::new()
    }

    fn rewrite(&self, rows: Rows, _: &[Bookmark]) -> Rows {
        rows
    }
}

const MOVE: [&str; 6] = ["topics", "migrate", "--partitions", "5", "--to", "moved."];
const DROPPED: [&str; 6] = ["topics", "migrate", "--partitions", "5", "--to", "dropped."];

#[test]
fn an_installation_moves_to_another_number_of_partitions() {
    let mut installation = Installation::new(BEFORE);
    let run = |installation: &Installation, round: &str| -> Vec<Process> {
        SERVICES.iter().map(|service| installation.service(&format!("{service}-{round}"), service)).collect()
    };
    let stop = |services: &mut Vec<Process>| {
        for mut service in services.drain(..) {
            service.signal(Signal::Term).unwrap();
            service.wait(LIMIT).unwrap();
        }
    };
    let refused = |installation: &Installation, command: &[&str], expected: &str| {
        let output = installation.command(command).output().unwrap();
        let said = said(&output);
        assert!(!output.status.success() && said.contains(expected), "{expected} is not in:\n{said}");
    };

    feed(&installation.bus(), 0..40);
    let mut services = run(&installation, "before");
    assert_as_undisturbed(&installation, &|| services.iter().map(Process::tail).collect());
    refused(&installation, &MOVE, "enricher still runs");
    stop(&mut services);
    feed(&installation.bus(), 40..41);
    refused(&installation, &MOVE, "enricher/0 has not read");
    let mut services = run(&installation, "again");
    assert_as_undisturbed(&installation, &|| services.iter().map(Process::tail).collect());
    stop(&mut services);
    std::thread::sleep(SESSION);

    let killed_at = |installation: &Installation, command: &[&str], line: &str| {
        let log = installation.directory.path().join(format!("{}-{}.log", command[5], line.len()));
        let mut moving = Process::spawn("epicenter topics migrate", &mut installation.command(command), &log).unwrap();
        let deadline = Instant::now() + LIMIT;
        while !moving.output().contains(line) {
            assert!(Instant::now() < deadline && moving.ended().unwrap().is_none(), "{}", moving.tail());
            std::thread::sleep(Duration::from_millis(5));
        }
        moving.kill().unwrap();
    };
    // Taken back when a part of it is copied: the old one goes on as if nothing had been.
    killed_at(&installation, &DROPPED, "events.raw: ");
    refused(&installation, &MOVE, "a move to the topics dropped.* is under way");
    let undone = installation.command(&["topics", "migrate", "--undo"]).output().unwrap();
    assert!(undone.status.success() && said(&undone).contains("epicenter.* is open again"), "{}", said(&undone));
    feed(&installation.bus(), 41..42);
    let mut services = run(&installation, "undone");
    assert_as_undisturbed(&installation, &|| services.iter().map(Process::tail).collect());
    stop(&mut services);
    std::thread::sleep(SESSION);
    refused(&installation, &DROPPED, "was begun and taken back");

    // Killed when the old one is closed, and when a part of it is copied.
    for line in ["it is sealed", "events.raw: "] {
        killed_at(&installation, &MOVE, line);
        let closed = installation.bus().source("exporter.uid-stage", partition_of("stage", BEFORE), b"stage/");
        let Err(fault) = closed else { panic!("the old installation is open") };
        assert!(fault.to_string().contains("the installation moves to the topics moved.*"), "{fault}");
    }
    // Ended when all is copied, and whoever has a position of its own does not know yet where to go on: nobody can write there.
    let new = KafkaConfig {
        partitions: AFTER,
        prefix: "moved.".to_owned(),
        ..KafkaConfig::new(installation.kafka.bootstrap())
    };
    let new = Bus::kafka(new).unwrap();
    let specs = [
        epicenter_enricher::spec(),
        epicenter_correlator::spec(),
        epicenter_correlator::fleet_spec(),
        epicenter_sink::spec(),
    ];
    for _ in 0..2 {
        let mut asked = 0;
        let mut ready = || {
            asked += 1;
            Err(Fault::Retry { what: "telling the archive".to_owned(), why: "it is away".to_owned() })
        };
        let old = installation.bus();
        let fault = old.move_to(&new, &specs, &NoReceivers, &mut |_| {}, &mut ready).unwrap_err();
        assert!(fault.to_string().contains("it is away") && asked == 1, "{fault}");
        let opened = new.source("exporter.uid-stage", partition_of("stage", AFTER), b"stage/");
        let Err(fault) = opened else { panic!("the new installation is open") };
        assert!(fault.to_string().contains("still being moved here"), "{fault}");
    }
    let output = installation.command(&MOVE).output().unwrap();
    assert!(output.status.success() && said(&output).contains("and bus.kafka.partitions: 5"), "{}", said(&output));
    let again = installation.command(&MOVE).output().unwrap();
    assert!(again.status.success() && said(&again).contains("it was moved before"), "{}", said(&again));

    let logs = [topics::EVENTS_RAW, topics::EVENTS_ENRICHED, topics::INCIDENT_CHANGES];
    let tables = [
        topics::POSITIONS,
        topics::OBJECTS,
        topics::ENRICHER_STATE,
        topics::CORRELATOR_STATE,
        topics::INCIDENTS,
        topics::FLEET_STATE,
    ];
    let all = |installation: &Installation| {
        let bus = installation.bus();
        let rows: Vec<_> = tables.iter().map(|table| bus.table(table.name).unwrap()).collect();
        assert!(rows[..5].iter().all(|rows| rows.len() >= CLUSTERS.len()));
        (logs.iter().map(|log| of_clusters(installation, log.name)).collect::<Vec<_>>(), rows)
    };
    let before = all(&installation);
    (installation.partitions, installation.prefix) = (AFTER, "moved.".to_owned());
    assert!(before == all(&installation), "what was moved is not what there was");

    // It goes on as one that had that many partitions from the beginning.
    let services = run(&installation, "after");
    feed(&installation.bus(), 42..50);
    assert_as_undisturbed(&installation, &|| services.iter().map(Process::tail).collect());
}
