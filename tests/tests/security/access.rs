//! What `epicenter topics acls` prints is enough for each service, and what is missing is named.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, SystemTime};

use epicenter::engine::Engine;
use epicenter::view;
use epicenter_bus::{Bus, Emit, Fault, KafkaConfig, Start, Stop, topics};
use epicenter_exporter::{Log, farewell};
use epicenter_intake::Intake;
use epicenter_model::{Codec, Event, Heartbeat, Incident, ObjectRef, RawEvent, RawRecord, Timestamp, WatchPosition};
use epicenter_runtime::system_clock;
use epicenter_runtime::{Access, Metrics, Traces};
use epicenter_tests::kafka::Port;
use epicenter_tests::process::{self, binary};
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;

use crate::site::{ACLS, LIMIT, PASSWORD, Site, until};

const SERVICES: [&str; 11] = [
    "exporter",
    "enricher",
    "correlator",
    "fleet",
    "sink",
    "sink-objects",
    "intake",
    "console",
    "topics",
    "viewer",
    "recovery",
];
const USERS: [&str; 11] = [
    "epicenter-exporter",
    "epicenter-enricher",
    "epicenter-correlator",
    "epicenter-fleet",
    "epicenter-sink",
    "epicenter-sink-objects",
    "epicenter-intake",
    "epicenter-console",
    "epicenter-topics",
    "epicenter-viewer",
    "epicenter-recovery",
];
const CLUSTER: &str = "prod-eu";

/// The arguments for Kafka's own tool that `epicenter topics acls` prints.
fn printed() -> Vec<Vec<String>> {
    let mut command = Command::new(binary().unwrap());
    let text = process::output(command.args(["topics", "acls"]), LIMIT).unwrap();
    let begin = "kafka-acls.sh --bootstrap-server HOST:PORT --add ";
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.strip_prefix(begin).unwrap().split(' ').map(str::to_owned).collect()).collect()
}

/// Grants all that is printed. Each run of the tool takes a second, so two at a time.
fn grant(site: &Site) {
    let all = printed();
    std::thread::scope(|scope| {
        for half in all.chunks(all.len().div_ceil(2)) {
            scope.spawn(move || {
                half.iter().for_each(|line| site.grant(&line.iter().map(String::as_str).collect::<Vec<_>>()))
            });
        }
    });
}

/// The exporter of a cluster, without its cluster.
struct Exporter {
    bus: Bus,
    events: usize,
}

impl Exporter {
    fn commit(&self, record: &RawRecord, at: Timestamp) -> Result<(), Fault> {
        let codec = Codec::single_object();
        let (mut source, _) = self.bus.source("exporter.uid", self.partition(), b"prod-eu/")?;
        let payload = Some(record.encode(&codec).unwrap().into());
        let emit = |topic, payload| Emit {
            topic,
            timestamp: at.as_millis(),
            key: record.key().into(),
            payload,
            headers: vec![],
        };
        let position = WatchPosition {
            cluster: CLUSTER.to_owned(),
            cluster_uid: "uid".to_owned(),
            resource: "events".to_owned(),
            at,
            ..WatchPosition::default()
        };
        let records = [emit(topics::EVENTS_RAW.name, payload.clone()), emit(topics::DEAD_LETTER.name, payload)];
        source.commit(&records, &[(b"prod-eu/events".to_vec(), codec.encode(&position).unwrap())])
    }

    fn partition(&self) -> u32 {
        epicenter_model::partition_of(CLUSTER, self.bus.partitions())
    }

    /// An Event that nothing else explains.
    fn event(&mut self) -> Result<(), Fault> {
        self.events += 1;
        let now = now();
        let pod = format!("web-{}", self.events);
        let event = Event {
            uid: format!("event-{pod}"),
            namespace: "shop".to_owned(),
            name: format!("{pod}.1"),
            resource_version: self.events.to_string(),
            regarding: ObjectRef {
                uid: pod.clone(),
                api_version: "v1".to_owned(),
                ..ObjectRef::named("Pod", "shop", &pod)
            },
            reason: "Failed".to_owned(),
            note: format!("Failed to pull image \"r.example.com/{pod}:1\": not found"),
            event_type: "Warning".to_owned(),
            component: "kubelet".to_owned(),
            count: Some(1),
            last_at: Some(now),
            ..Event::default()
        };
        let (cluster, cluster_uid) = (CLUSTER.to_owned(), "uid".to_owned());
        let raw = RawEvent { cluster, cluster_uid, at: now, event, ..RawEvent::default() };
        self.commit(&RawRecord::Event(Box::new(raw)), now)
    }

    fn beat(&self) -> Result<(), Fault> {
        let (cluster, cluster_uid, at) = (CLUSTER.to_owned(), "uid".to_owned(), now());
        self.commit(&RawRecord::Heartbeat(Heartbeat { cluster, cluster_uid, at, healthy: true, last: false }), at)
    }
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap())
}

type Run = fn(&Engine, &Bus, &Metrics, &Stop) -> Result<(), Fault>;

#[test]
fn each_service_may_do_what_it_needs_and_is_told_what_is_missing() {
    let site = Site::new(&USERS);
    let buses: BTreeMap<&str, Bus> = SERVICES
        .iter()
        .zip(USERS)
        .map(|(service, user)| (*service, site.bus(Port::Sasl, site.scram(user, PASSWORD))))
        .collect();
    let refused = buses["topics"].create_topics().unwrap_err().to_string();
    assert!(refused.contains("epicenter topics acls"), "nothing is allowed that was not granted: {refused}");

    grant(&site);
    buses["topics"].create_topics().unwrap();
    until("topics", || buses["topics"].check_topics().unwrap().is_empty().then_some(()));
    let (engine, metrics, stop) = (Engine::builtin(), Metrics::new("test"), Stop::new());
    let processors: [(&str, Run); 4] = [
        ("enricher", Engine::run_enricher),
        ("correlator", Engine::run_correlator),
        ("fleet", Engine::run_fleet),
        ("sink", Engine::run_publisher),
    ];
    std::thread::scope(|scope| {
        for (service, run) in processors {
            let (engine, bus, metrics, stop) = (&engine, &buses[service], &metrics, &stop);
            scope.spawn(move || run(engine, bus, metrics, stop).unwrap());
        }
        let told = scope.spawn(|| story(&site, &buses)).join();
        stop.request();
        told.unwrap();
    });
}

fn story(site: &Site, buses: &BTreeMap<&str, Bus>) {
    let mut exporter = Exporter { bus: buses["exporter"].clone(), events: 0 };
    let viewer = &buses["viewer"];
    let published = |pod: &str| {
        until(&format!("an incident with {pod}"), || {
            let has = |it: &Incident| it.members.iter().any(|member| member.regarding.name == pod);
            view::incidents(viewer, &Codec::single_object(), "").unwrap().iter().any(has).then_some(())
        });
    };
    exporter.beat().unwrap();
    exporter.event().unwrap();
    exporter.beat().unwrap();
    published("web-1");
    view::events(viewer, &Codec::single_object(), 10, &|_| true).unwrap();

    let objects = Start::Committed(format!("sink-objects.{CLUSTER}"));
    let mut objects = buses["sink-objects"].reader(topics::INCIDENTS.name, &[exporter.partition()], objects).unwrap();
    assert!(objects.next(Duration::from_secs(20)).unwrap().is_some());
    objects.commit().unwrap();
    // Annotations are read by who writes the objects.
    for service in ["intake", "sink-objects", "console"] {
        let said = json!({"id": service, "by": "anna", "action": "silence", "cluster": CLUSTER, "endsAt": "2999-01-01T00:00:00Z"});
        let intake = Intake::new(buses[service].clone(), Codec::single_object());
        intake.command(serde_json::from_value(said).unwrap(), &Access::whole()).unwrap();
    }
    let silences = || view::silences(viewer, &Codec::single_object()).unwrap();
    until("what was said is carried out", || (silences().len() == 3).then_some(()));
    for topic in epicenter_console::TOPICS {
        let start = Start::At("console".to_owned(), BTreeMap::new());
        let mut shown = buses["console"].reader(topic, &[exporter.partition()], start).unwrap();
        assert!(shown.next(Duration::from_secs(20)).unwrap().is_some(), "{topic}");
    }
    for (service, bus) in buses {
        assert_eq!(bus.trouble(), None, "{service}");
    }

    let missing: [(&str, &[&str], &str); 4] = [
        (
            "enricher",
            &["Write", "--topic", "epicenter.events.enriched"],
            "Grant Write on topic epicenter.events.enriched",
        ),
        ("correlator", &["Read", "--group", "epicenter.correlator"], "Grant Read on group epicenter.correlator"),
        ("sink", &["Read", "--topic", "epicenter.incident.changes"], "epicenter.incident.changes"),
        (
            "correlator",
            &["Write", "--resource-pattern-type", "prefixed", "--transactional-id", "epicenter.correlator."],
            "Grant Write on the transactional id",
        ),
    ];
    for (count, (service, resource, expected)) in missing.iter().enumerate() {
        println!("without {resource:?} for the {service}");
        let principal = format!("User:epicenter-{service}");
        let grant = [&["--allow-principal", &principal, "--operation"][..], resource].concat();
        site.kafka.tool(ACLS, &[&["--remove", "--force"], &grant[..]].concat()).unwrap();
        exporter.event().unwrap();
        exporter.beat().unwrap();
        let found = until(expected, || buses[service].trouble().filter(|found| found.contains(expected)));
        assert!(found.contains("`epicenter topics acls`"), "{found}");
        site.grant(&grant);
        published(&format!("web-{}", 2 + count));
        until("the trouble is over", || buses[service].trouble().is_none().then_some(()));
    }

    recovers(site, &buses["recovery"]);
    exporter.event().unwrap();
    exporter.beat().unwrap();
    published(&format!("web-{}", 2 + missing.len()));

    let (codec, clock, traces) = (Codec::single_object(), system_clock(), Traces::default());
    let log = Log { bus: buses["exporter"].clone(), codec, clock, traces };
    assert!(farewell(&log, CLUSTER).unwrap());
}

/// What was in `events.raw` is gone, and whoever may recover says how to go on.
fn recovers(site: &Site, bus: &Bus) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", site.kafka.bootstrap()).create().unwrap();
    let (name, options) = (format!("epicenter.{}", topics::EVENTS_RAW.name), AdminOptions::new());
    block_on(admin.delete_topics(&[&name], &options)).unwrap().remove(0).unwrap();
    let settings = topics::EVENTS_RAW.settings(KafkaConfig::new("").batch_bytes);
    let new = NewTopic::new(&name, bus.partitions() as i32, TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
    until("the topic is created again", || block_on(admin.create_topics([&new], &options)).unwrap().remove(0).ok());
    let spec = epicenter_enricher::spec();
    let partition = until("what is lost", || Some(bus.losses(&spec).ok()?.first()?.partition));
    let recovered = until("it recovers", || match bus.recover(&spec, partition) {
        Ok(recovered) => recovered,
        Err(Fault::Retry { .. }) => None,
        Err(fault) => panic!("{fault}"),
    });
    assert!(recovered.listed.contains(&"exporter.uid".to_owned()), "{recovered:?}");
    assert!(bus.lag(&spec).unwrap().is_empty());
}
