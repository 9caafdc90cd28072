//! Sources that come, write once and never come again, such as somebody who acknowledges an incident by the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_bus::{Bus, Fault, Source, Start, topics};
use epicenter_tests::kafka::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::contract::{Backend as _, Broker, PARTITIONS, all, emit};

/// As many are known, and the one that writes.
const KNOWN: usize = 33;

/// What the table of positions knows of sources: their ids.
fn known(broker: &Broker) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.bootstrap)
        .set("group.id", "looking")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    let topic = format!("{}{}", broker.prefix, topics::POSITIONS.name);
    list.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut rows = BTreeMap::new();
    loop {
        match consumer.poll(Duration::from_secs(30)).unwrap() {
            Ok(message) => {
                let key = String::from_utf8_lossy(message.key().unwrap()).into_owned();
                let Some(id) = key.strip_prefix("\0heard/") else { continue };
                match message.payload() {
                    Some(_) => drop(rows.insert(id.to_owned(), message.offset())),
                    None => drop(rows.remove(id)),
                }
            }
            Err(_) => return rows.into_keys().collect(),
        }
    }
}

fn says(source: &mut Source, what: &str) -> Result<(), Fault> {
    source.commit(&[emit(topics::EVENTS_RAW.name, what, "x")], &[])
}

#[test]
fn however_many_come_few_are_known_and_none_is_fenced_for_good() {
    let kafka = Kafka::start().unwrap();
    let broker = Broker { bootstrap: kafka.bootstrap(), prefix: "passing.".to_owned(), change: |_| {} };
    crate::create_topics(&broker.bootstrap, &broker.prefix, PARTITIONS);
    let bus: Bus = broker.open();
    let (mut exporter, _) = bus.source("exporter.uid", 0, b"a/").unwrap();
    exporter.commit(&[], &[(b"a/events".to_vec(), b"7".to_vec())]).unwrap();
    // It is there all the time, and says something at the beginning and at the end.
    let opened = |name: &str| bus.source_without_positions(&format!("intake.{name}.0"), 0).unwrap();
    let mut console = opened("console");
    says(&mut console, "console-0").unwrap();
    let passing = KNOWN + 5;
    for n in 0..passing {
        let mut source = opened(&format!("p{n:02}"));
        says(&mut source, &format!("p{n:02}")).unwrap();
        drop(source);
        assert!(known(&broker).len() <= KNOWN + 1, "with the exporter's, after {n}");
    }
    let ids = known(&broker);
    assert!(ids.contains(&"exporter.uid".to_owned()) && !ids.contains(&"intake.console.0".to_owned()), "{ids:?}");
    assert!(ids.contains(&format!("intake.p{:02}.0", passing - 1)), "{ids:?}");

    // Whoever is forgotten writes nothing without being known again.
    let fault = says(&mut console, "console-1").unwrap_err();
    assert!(matches!(fault, Fault::Fenced { .. }), "{fault}");
    console = opened("console");
    says(&mut console, "console-1").unwrap();
    assert!(known(&broker).contains(&"intake.console.0".to_owned()));
    exporter.commit(&[], &[(b"a/events".to_vec(), b"8".to_vec())]).unwrap();
    let (_, rows) = bus.source("exporter.uid", 0, b"a/").unwrap();
    assert_eq!(rows, BTreeMap::from([(b"a/events".to_vec(), b"8".to_vec())]));

    let written = all(&bus, topics::EVENTS_RAW.name, 0, passing + 2);
    let mut keys: Vec<_> = written.iter().map(|record| String::from_utf8_lossy(&record.key).into_owned()).collect();
    keys.dedup();
    assert_eq!(keys.len(), passing + 2, "each once");
    let mut reader = bus.reader(topics::POSITIONS.name, &[0], Start::Earliest).unwrap();
    assert_eq!(reader.next(Duration::from_secs(5)).unwrap().unwrap().key.as_ref(), b"a/events");
}
