//! What both backends promise. Every test here runs against a directory and against a real broker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use epicenter_bus::{
    Bookmark, Bus, Driver, Emit, Fault, GroupProtocol, KafkaConfig, LocalConfig, Processor, ProcessorSpec, Put, Record,
    Reject, Start, State, Step, Stop, Store, StoreId, topics,
};
use epicenter_model::{Codec, DeadLetter, partition_of};
use epicenter_tests::counting::{Counter, INPUT, OUTPUT, STATE, spec};
use epicenter_tests::kafka::Kafka;

pub const PARTITIONS: u32 = 3;

/// A backend that can be closed and opened again.
pub trait Backend {
    fn open(&self) -> Bus;
}

struct Directory(tempfile::TempDir);

impl Backend for Directory {
    fn open(&self) -> Bus {
        let directory = self.0.path().join("log");
        Bus::local(LocalConfig { directory, partitions: PARTITIONS, retention: Duration::from_secs(3600) }).unwrap()
    }
}

pub struct Broker {
    pub bootstrap: String,
    pub prefix: String,
    /// How its processes are members of their groups.
    pub change: fn(&mut KafkaConfig),
}

impl Broker {
    /// A bus with other settings.
    pub fn open_with(&self, change: impl FnOnce(&mut KafkaConfig)) -> Bus {
        let mut config = KafkaConfig::new(&self.bootstrap);
        config.prefix.clone_from(&self.prefix);
        config.partitions = PARTITIONS;
        config.session_timeout = Duration::from_secs(6);
        config.heartbeat_interval = Duration::from_secs(1);
        (self.change)(&mut config);
        change(&mut config);
        Bus::kafka(config).unwrap()
    }
}

impl Backend for Broker {
    fn open(&self) -> Bus {
        self.open_with(|_| {})
    }
}

/// Timestamps are of now: a broker deletes what is older than its retention half a minute after it started.
pub fn emit(topic: &'static str, key: &str, payload: &str) -> Emit {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Emit {
        topic,
        timestamp: now.as_millis() as i64,
        key: key.to_owned().into(),
        payload: Some(payload.to_owned().into()),
        headers: vec![],
    }
}

/// Writes to a partition as a source named `id`.
pub fn write(bus: &Bus, id: &str, partition: u32, records: &[Emit]) {
    let (mut source, _) = bus.source(id, partition, b"").unwrap();
    source.commit(records, &[]).unwrap();
}

pub fn all(bus: &Bus, topic: &'static str, partition: u32, count: usize) -> Vec<Record> {
    let mut reader = bus.reader(topic, &[partition], Start::Earliest).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{topic}/{partition}: {} of {count} records after a minute", records.len());
        records.extend(reader.next(Duration::from_millis(200)).unwrap());
    }
    records.extend(reader.next(Duration::from_millis(300)).unwrap());
    records
}

/// Runs the counter until it has written `count` changes in all, then stops it in order.
fn run_until(bus: &Bus, count: usize) {
    let stop = Stop::new();
    let mut outputs = bus.reader(OUTPUT, &[0, 1, 2], Start::Earliest).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| bus.run(&spec(), Counter::default, &|_, _, _| {}, &stop));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = 0;
        while seen < count && Instant::now() < deadline {
            seen += usize::from(outputs.next(Duration::from_millis(100)).unwrap().is_some());
        }
        stop.request();
        running.join().unwrap().unwrap();
        assert_eq!(seen, count, "changes within a minute");
    });
}

fn texts(records: &[Record]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    records
        .iter()
        .map(|record| format!("{}={}", text(&record.key), text(record.payload.as_deref().unwrap_or(b"-"))))
        .collect()
}

/// What an undisturbed processor makes of `input`.
fn expected(input: &[Record]) -> Vec<String> {
    let spec = spec();
    let mut driver = Driver::new(&spec, Counter::default());
    let emits = input.iter().flat_map(|record| driver.feed(record).unwrap_or_default());
    let records: Vec<_> =
        emits.map(|emit| Record { key: emit.key, payload: emit.payload, ..Record::default() }).collect();
    texts(&records)
}

/// Records of all partitions are processed once, in order, across a restart, and the state survives it.
fn processes_once_in_order_across_restarts(backend: &dyn Backend) {
    let input = |round: usize| -> Vec<Emit> {
        (0..200)
            .map(|n| {
                let payload = if n % 50 == 49 { "reset".to_owned() } else { "x".repeat(round + 1) };
                emit(INPUT, &format!("k{}", n % 7), &payload)
            })
            .collect()
    };
    for round in 0..2 {
        let bus = backend.open();
        for partition in 0..PARTITIONS {
            write(&bus, "writer", partition, &input(round));
        }
        run_until(&bus, 196 * PARTITIONS as usize * (round + 1));
    }
    let bus = backend.open();
    for partition in 0..PARTITIONS {
        let input = all(&bus, INPUT, partition, 400);
        assert_eq!(input.len(), 400);
        assert_eq!(texts(&all(&bus, OUTPUT, partition, 392)), expected(&input), "partition {partition}");
    }
}

/// A poison record goes to dead-letter with its reason; those before and after it are processed.
fn sets_poison_aside(backend: &dyn Backend) {
    let bus = backend.open();
    write(&bus, "writer", 1, &[emit(INPUT, "a", "x"), emit(INPUT, "a", "poison"), emit(INPUT, "a", "x")]);
    run_until(&bus, 2);
    assert_eq!(texts(&all(&bus, OUTPUT, 1, 2)), ["a=1@0 of 1", "a=2@2 of 1"]);
    let letters = all(&bus, "dead-letter", 1, 1);
    let letter: DeadLetter = Codec::single_object().decode(letters[0].payload.as_ref().unwrap()).unwrap();
    assert_eq!(
        (letters.len(), letter.offset, letter.topic.as_str(), letter.error.as_str(), letter.payload.as_slice()),
        (1, 1, INPUT, "it is poison", &b"poison"[..])
    );
}

/// A source's records and positions appear together; who opens it later fences it.
fn fences_sources(backend: &dyn Backend) {
    let bus = backend.open();
    let (mut first, positions) = bus.source("exporter.a", 2, b"a/").unwrap();
    assert_eq!(positions, BTreeMap::new());
    first.commit(&[emit(INPUT, "k", "1")], &[(b"a/events".to_vec(), b"10".to_vec())]).unwrap();
    first.commit(&[], &[(b"b/events".to_vec(), b"99".to_vec())]).unwrap();
    let (mut second, positions) = bus.source("exporter.a", 2, b"a/").unwrap();
    assert_eq!(positions, BTreeMap::from([(b"a/events".to_vec(), b"10".to_vec())]));
    let late = first.commit(&[emit(INPUT, "k", "late")], &[(b"a/events".to_vec(), b"11".to_vec())]);
    assert!(matches!(late, Err(Fault::Fenced { .. })), "{late:?}");
    second.commit(&[emit(INPUT, "k", "2")], &[(b"a/events".to_vec(), b"12".to_vec())]).unwrap();
    assert_eq!(texts(&all(&bus, INPUT, 2, 2)), ["k=1", "k=2"]);
    let (_, positions) = bus.source("exporter.a", 2, b"a/").unwrap();
    assert_eq!(positions.values().next().unwrap(), b"12");
}

/// A source may keep its positions in a table of its own, and delete them.
fn keeps_positions_in_a_table_of_its_own(backend: &dyn Backend) {
    let bus = backend.open();
    let (mut first, positions) = bus.source_in(STATE, "alerts.a", 1, b"a/").unwrap();
    assert_eq!(positions, BTreeMap::new());
    first.change(&[], &[(b"a/x", Some(b"1")), (b"a/y", Some(b"2"))]).unwrap();
    first.change(&[emit(INPUT, "k", "1")], &[(b"a/x", None), (b"a/y", Some(b"3"))]).unwrap();
    let (_, positions) = bus.source_in(STATE, "alerts.a", 1, b"a/").unwrap();
    assert_eq!(positions, BTreeMap::from([(b"a/y".to_vec(), b"3".to_vec())]));
    let (_, elsewhere) = bus.source("alerts.b", 1, b"a/").unwrap();
    assert_eq!(elsewhere, BTreeMap::new());
    assert_eq!(texts(&all(&bus, INPUT, 1, 1)), ["k=1"]);
}

/// Readers begin where they are told, and go on where they committed.
fn reads_from_where_it_is_told(backend: &dyn Backend) {
    let bus = backend.open();
    write(&bus, "writer", 0, &[emit(INPUT, "k", "1"), emit(INPUT, "k", "2")]);
    // Kafka answers a commit before its records can be read.
    assert_eq!(texts(&all(&bus, INPUT, 0, 2)), ["k=1", "k=2"]);
    let mut latest = bus.reader(INPUT, &[0], Start::Latest).unwrap();
    let mut named = bus.reader(INPUT, &[0, 1, 2], Start::Committed("sink".into())).unwrap();
    let wait = Duration::from_secs(10);
    assert_eq!(named.next(wait).unwrap().unwrap().payload.unwrap(), "1");
    named.commit().unwrap();
    assert_eq!(named.next(wait).unwrap().unwrap().payload.unwrap(), "2");
    let mut again = bus.reader(INPUT, &[0, 1, 2], Start::Committed("sink".into())).unwrap();
    assert_eq!(
        again.next(wait).unwrap().unwrap().payload.unwrap(),
        "2",
        "only what was given before the commit is done"
    );
    write(&bus, "writer", 0, &[emit(INPUT, "k", "3")]);
    assert_eq!(latest.next(wait).unwrap().unwrap().payload.unwrap(), "3");
    assert_eq!(latest.next(Duration::from_millis(300)).unwrap(), None);
    let (first, end) = bus.bounds(INPUT, 0).unwrap();
    assert_eq!((first, end > 2), (0, true), "{end}");
    let at = |next| Start::At("other".to_owned(), [(0, Bookmark::at(next))].into());
    let mut second = bus.reader(INPUT, &[0, 1], at(1)).unwrap();
    assert_eq!(second.next(wait).unwrap().unwrap().payload.unwrap(), "2");
    let mut beyond = bus.reader(INPUT, &[0], at(end)).unwrap();
    write(&bus, "writer", 0, &[emit(INPUT, "k", "4")]);
    assert_eq!(beyond.next(wait).unwrap().unwrap().payload.unwrap(), "4");
}

/// Who reads to the end comes there also while others write all the time, and has what was written before.
fn reads_to_the_end_of_a_busy_log(backend: &dyn Backend) {
    let bus = backend.open();
    let (stop, limit) = (Stop::new(), Duration::from_secs(60));
    let (mut found, mut at_ends) = (Vec::new(), true);
    std::thread::scope(|scope| {
        for writer in ["a", "b", "c"] {
            let (bus, stop) = (&bus, &stop);
            scope.spawn(move || {
                let (mut source, _) = bus.source(writer, 1, b"").unwrap();
                while !stop.requested() {
                    source.commit(&[emit(INPUT, "k", "busy")], &[]).unwrap();
                }
            });
        }
        // One more partition has nothing at all.
        let mut reader = bus.reader(INPUT, &[0, 1, 2], Start::Earliest).unwrap();
        for round in 0..10 {
            write(&bus, "writer", 0, &[emit(INPUT, "k", &round.to_string())]);
            // Who wrote it knows it a moment before readers do.
            let deadline = Instant::now() + limit;
            while found.len() <= round && Instant::now() < deadline && at_ends {
                at_ends &= reader
                    .read_on(deadline, &mut |record| {
                        if record.partition == 0 {
                            found.push(String::from_utf8(record.payload.unwrap().to_vec()).unwrap());
                        }
                        true
                    })
                    .is_ok_and(|at_end| at_end);
            }
        }
        stop.request();
    });
    let expected: Vec<_> = (0..10).map(|round| round.to_string()).collect();
    assert_eq!((found, at_ends), (expected, true));
}

/// A table shows the newest value of each key, of all partitions, and no key that was deleted or not asked for.
fn shows_tables(backend: &dyn Backend) {
    let bus = backend.open();
    for (partition, keys) in [(0, ["a", "b", "a"]), (1, ["c", "d", "c"])] {
        let input: Vec<_> =
            keys.iter().map(|key| emit(INPUT, key, "x")).chain([emit(INPUT, keys[1], "reset")]).collect();
        write(&bus, "writer", partition, &input);
    }
    run_until(&bus, 6);
    let rows: Vec<_> = bus.table(STATE).unwrap().into_iter().collect();
    assert_eq!(rows, [(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"2".to_vec())]);
    let one: Vec<_> = bus.rows(STATE, &|key| key == b"c").unwrap().into_iter().collect();
    assert_eq!(one, rows[1..]);
}

/// Counts the records of all clusters.
struct Gather;

impl Processor for Gather {
    fn restore(&mut self, _: &State) -> Result<(), Reject> {
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let count = step.get(StoreId(0), b"count").map_or(0, |value| value[0]) + 1;
        step.put(StoreId(0), "count", vec![count]);
        let what = format!("{count}@{} after 2020: {}", record.offset, record.timestamp > 1_600_000_000_000);
        step.emit(topics::INCIDENT_CHANGES.name, record.key.clone(), what.into_bytes(), vec![]);
        Ok(())
    }
    fn flush(&mut self, _: &mut Put<'_>) {}
}

/// Every partition writes into the one of the fleet, where the log gives the time; the fleet's processor writes where a
/// cluster of its name would live, and its state survives a restart.
fn gathers_the_fleet(backend: &dyn Backend) {
    let spec = ProcessorSpec {
        name: "fleet".to_owned(),
        input: topics::FLEET_SIGNALS.name,
        stores: vec![Store { topic: topics::FLEET_STATE.name, public: false, packed: false }],
        outputs: vec![topics::INCIDENT_CHANGES.name],
    };
    let bus = backend.open();
    bus.create_topics().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !bus.check_topics().unwrap().is_empty() && Instant::now() < deadline {}
    assert_eq!(bus.check_topics().unwrap(), []);
    drop(bus);
    let home = partition_of("fleet", PARTITIONS);
    for round in 0..2 {
        let bus = backend.open();
        for partition in 0..PARTITIONS {
            let signal = Emit { timestamp: 1, ..emit(topics::FLEET_SIGNALS.name, "k", "x") };
            write(&bus, &format!("writer-{partition}"), partition, &[signal]);
        }
        let (stop, wanted) = (Stop::new(), 3 * (round + 1));
        std::thread::scope(|scope| {
            let running = scope.spawn(|| bus.run(&spec, || Gather, &|_, _, _| {}, &stop));
            let made = all(&bus, topics::INCIDENT_CHANGES.name, home, wanted);
            stop.request();
            running.join().unwrap().unwrap();
            let counts: Vec<_> = texts(&made).iter().map(|text| text.split('@').next().unwrap().to_owned()).collect();
            let expected: Vec<_> = (1..=wanted).map(|count| format!("k={count}")).collect();
            assert_eq!(counts, expected);
            assert!(texts(&made).iter().all(|text| text.ends_with("after 2020: true")), "{:?}", texts(&made));
        });
        assert_eq!(bus.table(topics::FLEET_STATE.name).unwrap().len(), 1);
    }
}

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod local {
            $(#[test] fn $name() { super::$name(&super::Directory(tempfile::tempdir().unwrap())); })+
        }

        fn on_a_broker(membership: &str, change: fn(&mut KafkaConfig)) {
            let kafka = Kafka::start().unwrap();
            $(
                println!("{membership}: {}", stringify!($name));
                let prefix = format!("{}.", stringify!($name));
                let broker = Broker { bootstrap: kafka.bootstrap().to_owned(), prefix, change };
                crate::create_topics(&broker.bootstrap, &broker.prefix, PARTITIONS);
                $name(&broker);
            )+
        }
    };
}

/// One broker for all: it takes longer to start than the tests take. Each has its own prefix.
#[test]
fn kafka() {
    on_a_broker("classic", |_| {});
}

#[test]
fn kafka_where_brokers_assign() {
    on_a_broker("consumer", |config| config.group_protocol = GroupProtocol::Consumer);
}

#[test]
fn kafka_with_instances() {
    on_a_broker("classic, instance", |config| config.instance = Some("one".to_owned()));
    on_a_broker("consumer, instance", |config| {
        (config.group_protocol, config.instance) = (GroupProtocol::Consumer, Some("one".to_owned()));
    });
}

contract!(
    processes_once_in_order_across_restarts,
    sets_poison_aside,
    fences_sources,
    keeps_positions_in_a_table_of_its_own,
    reads_from_where_it_is_told,
    reads_to_the_end_of_a_busy_log,
    shows_tables,
    gathers_the_fleet,
);
