use std::time::Duration;

use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::is_running;

const LIMIT: Duration = Duration::from_secs(60);

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap()).set("allow.auto.create.topics", "false");
    config
}

/// What one partition holds: its low and high watermark.
fn watermarks(kafka: &Kafka) -> (i64, i64) {
    let consumer: BaseConsumer = client(kafka).create().unwrap();
    consumer.fetch_watermarks("kept", 0, LIMIT).unwrap()
}

fn produce(kafka: &Kafka) {
    let producer: BaseProducer = client(kafka).create().unwrap();
    producer.send(BaseRecord::<str, str>::to("kept").partition(0).payload("a record")).unwrap();
    producer.flush(LIMIT).unwrap();
}

#[test]
fn a_broker_keeps_its_data_through_every_way_to_end_it_and_ends_with_its_owner() {
    let mut kafka = Kafka::start().unwrap();
    let admin: rdkafka::admin::AdminClient<_> = client(&kafka).create().unwrap();
    let topic = rdkafka::admin::NewTopic::new("kept", 1, rdkafka::admin::TopicReplication::Fixed(1));
    let created = admin.create_topics([&topic], &rdkafka::admin::AdminOptions::new());
    futures::executor::block_on(created).unwrap()[0].as_ref().unwrap();

    produce(&kafka);
    kafka.restart(Signal::Term).unwrap();
    produce(&kafka);
    kafka.restart(Signal::Kill).unwrap();
    kafka.signal(Signal::Stop).unwrap();
    kafka.signal(Signal::Cont).unwrap();
    produce(&kafka);
    assert_eq!(watermarks(&kafka), (0, 3));

    let pid = kafka.pid();
    assert!(is_running(pid));
    drop(kafka);
    assert!(!is_running(pid));
}
