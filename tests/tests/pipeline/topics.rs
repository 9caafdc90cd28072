//! The topics of an installation: created, checked, and what is said of those that are not as they should be.

use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use epicenter_bus::topics::EVENTS_RAW;
use epicenter_bus::{Bus, Emit, KafkaConfig};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::binary;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

fn topics(kafka: &Kafka, what: &str, settings: &[(&str, &str)]) -> Output {
    epicenter(kafka, &["topics", what], settings)
}

fn epicenter(kafka: &Kafka, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
    command.env("EPICENTER_BUS__KAFKA__PARTITIONS", "3").envs(settings.iter().copied()).output().unwrap()
}

fn create(kafka: &Kafka, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let created = admin.create_topics([&topic], &AdminOptions::new());
    futures::executor::block_on(created).unwrap()[0].as_ref().unwrap();
}

#[track_caller]
fn check(output: &Output, expected: &[&str]) {
    let told = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.success(), expected.is_empty(), "{told}");
    for part in expected {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

#[test]
fn topics_are_created_and_checked() {
    let kafka = Kafka::start().unwrap();
    check(&topics(&kafka, "check", &[]), &["topic epicenter.events.raw does not exist", "epicenter topics create"]);
    create(&kafka, "epicenter.positions", 3, &[("cleanup.policy", "delete"), ("max.message.bytes", "4194304")]);
    create(&kafka, "epicenter.events.raw", 3, &[("max.message.bytes", "1048588")]);
    create(&kafka, "epicenter.fleet.signals", 3, &[("max.message.bytes", "4194304")]);
    check(
        &topics(&kafka, "create", &[]),
        &[
            "topic epicenter.positions has cleanup.policy=delete and needs compact",
            "topic epicenter.events.raw takes batches of up to 1048588 bytes and they are sent with up to 4194304: set its \
             max.message.bytes to 4194304, or bus.kafka.batch_bytes to 1048588",
            "topic epicenter.fleet.signals has 3 partitions and must have one",
            "topic epicenter.fleet.signals has message.timestamp.type=CreateTime and needs LogAppendTime",
        ],
    );
    let prefix = ("EPICENTER_BUS__KAFKA__PREFIX", "other.");
    check(&topics(&kafka, "create", &[prefix]), &[]);
    check(&topics(&kafka, "check", &[prefix]), &[]);
    check(
        &topics(&kafka, "check", &[prefix, ("EPICENTER_BUS__KAFKA__PARTITIONS", "4")]),
        &["topic other.events.raw has 3 partitions and the installation is configured for 4"],
    );

    let config = KafkaConfig { partitions: 3, prefix: "other.".to_owned(), ..KafkaConfig::new(kafka.bootstrap()) };
    let (mut source, _) = Bus::kafka(config).unwrap().source("exporter.uid", 1, b"").unwrap();
    let before = SystemTime::now() - Duration::from_secs(125);
    let timestamp = before.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    let (topic, key, payload) = (EVENTS_RAW.name, "k".into(), Some("x".into()));
    source.commit(&[Emit { topic, timestamp, key, payload, headers: vec![] }], &[]).unwrap();
    check(
        &epicenter(&kafka, &["doctor"], &[prefix]),
        &["WRONG  lag: the enricher is 2 offsets behind in partition 1, since a record that is 1"],
    );
}
