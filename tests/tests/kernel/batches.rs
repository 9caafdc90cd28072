//! Topics that take smaller batches than are sent.

use std::time::SystemTime;

use epicenter_bus::{Bus, Emit, Fault, KafkaConfig};
use epicenter_tests::counting::INPUT;
use epicenter_tests::kafka::Kafka;

/// Three records that do not compress, 1.8 MB together.
fn records() -> Vec<Emit> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut x = 1_u64;
    let mut noise = || {
        x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (x >> 56) as u8
    };
    let mut record = |key: &'static str| Emit {
        topic: INPUT,
        timestamp: now.as_millis() as i64,
        key: key.into(),
        payload: Some((0..600_000).map(|_| noise()).collect()),
        headers: vec![],
    };
    vec![record("a"), record("b"), record("c")]
}

/// It is told at once and with what to do, instead of being tried for ever; with the smaller batches all is well.
#[test]
fn a_topic_that_takes_smaller_batches_is_said() {
    let kafka = Kafka::start().unwrap();
    crate::create_topics_with(&kafka.bootstrap(), "", 1, &[("max.message.bytes", "1200000")]);
    let mut config = KafkaConfig { prefix: String::new(), partitions: 1, ..KafkaConfig::new(kafka.bootstrap()) };
    let commit = |config: &KafkaConfig| {
        let (mut source, _) = Bus::kafka(config.clone()).unwrap().source("writer", 0, b"").unwrap();
        source.commit(&records(), &[])
    };
    match commit(&config) {
        Err(Fault::Fatal { mend, .. }) => assert!(mend.contains("epicenter topics check"), "{mend}"),
        other => panic!("{other:?}"),
    }
    config.batch_bytes = 1_200_000;
    commit(&config).unwrap();
}
