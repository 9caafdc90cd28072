//! Topics that are deleted and created again, emptied, or given other partitions: either nothing of it shows, or it is said.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use epicenter_bus::{Bookmark, Bus, Damage, Emit, Fault, KafkaConfig, Loss, Observer, Progress, Start, Stop, topics};
use epicenter_tests::counting::{Counter, INPUT, OUTPUT, STATE, spec};
use epicenter_tests::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::contract::{Backend, Broker, PARTITIONS, all, emit, write};

const LIMIT: Duration = Duration::from_secs(90);

struct Scene {
    broker: Broker,
    bus: Bus,
}

/// Asks for the stop also when a test fails, so that it ends.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.request();
    }
}

#[track_caller]
fn until<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    epicenter_tests::wait::until(what, LIMIT, done)
}

impl Scene {
    fn new(kafka: &Kafka, name: &str) -> Self {
        Self::with(kafka, name, |_| {})
    }

    fn with(kafka: &Kafka, name: &str, change: fn(&mut KafkaConfig)) -> Self {
        let broker = Broker { bootstrap: kafka.bootstrap(), prefix: format!("{name}."), change };
        crate::create_topics(&broker.bootstrap, &broker.prefix, PARTITIONS);
        Self { bus: broker.open(), broker }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.broker.bootstrap).create().unwrap()
    }

    fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.broker.prefix)
    }

    /// Deletes a topic and creates it again.
    fn recreate(&self, topic: &str) {
        let (admin, name, options) = (self.admin(), self.full(topic), AdminOptions::new());
        let deleted = futures::executor::block_on(admin.delete_topics(&[&name], &options)).unwrap();
        deleted.into_iter().for_each(|outcome| drop(outcome.unwrap()));
        let new = NewTopic::new(&name, PARTITIONS as i32, TopicReplication::Fixed(1));
        let compacted = [STATE, topics::POSITIONS.name].contains(&topic);
        let new = if compacted { new.set("cleanup.policy", "compact") } else { new };
        until("the topic is created again", || {
            futures::executor::block_on(admin.create_topics([&new], &options)).unwrap().remove(0).ok()
        });
    }

    fn feed(&self, keys: &[&str]) {
        self.feed_in(0, keys);
    }

    fn feed_in(&self, partition: u32, keys: &[&str]) {
        let records: Vec<_> = keys.iter().map(|key| emit(INPUT, key, "x")).collect();
        let id = format!("writer-{partition}");
        until("the input is written", || match self.bus.source(&id, partition, b"").unwrap().0.commit(&records, &[]) {
            Ok(()) => Some(()),
            Err(Fault::Retry { .. }) => None,
            Err(fault) => panic!("{fault}"),
        });
    }

    /// Runs the counter while `work` goes on.
    fn running(&self, work: impl FnOnce()) {
        Self::member(&self.bus, work);
    }

    fn member(bus: &Bus, work: impl FnOnce()) {
        Self::observed(bus, &|_, _, _| {}, work);
    }

    fn observed(bus: &Bus, observer: Observer<'_>, work: impl FnOnce()) {
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| bus.run(&spec(), Counter::default, observer, &stop));
            let end = StopAtEnd(stop.clone());
            work();
            drop(end);
            running.join().unwrap().unwrap();
        });
    }

    /// The changes that the counter has told, as soon as there are so many.
    #[track_caller]
    fn expect(&self, expected: &[&str]) {
        self.expect_in(0, expected);
    }

    #[track_caller]
    fn expect_in(&self, partition: u32, expected: &[&str]) {
        let records = all(&self.bus, OUTPUT, partition, expected.len());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told: Vec<_> = records
            .iter()
            .map(|record| {
                let change = text(record.payload.as_deref().unwrap());
                format!("{}{}", text(&record.key), change.split('@').next().unwrap())
            })
            .collect();
        assert_eq!(told, expected);
    }

    /// It stands still and says why; gives what is lost.
    fn stands_still(&self, why: &str) -> Loss {
        let trouble = until("it says what is lost", || self.bus.trouble().filter(|said| said.contains(why)));
        assert!(trouble.contains("epicenter topics recover"), "{trouble}");
        let losses = self.bus.losses(&spec()).unwrap();
        assert_eq!(losses.len(), 1, "{losses:?}");
        losses.into_iter().next().unwrap()
    }
}

fn makes_a_lost_state_anew(kafka: &Kafka) {
    let scene = Scene::new(kafka, "state-gone");
    scene.feed(&["a", "b", "a"]);
    scene.running(|| scene.expect(&["a1", "b1", "a2"]));
    scene.recreate(STATE);
    scene.feed(&["a", "b"]);
    scene.running(|| scene.expect(&["a1", "b1", "a2", "a3", "b2"]));
    // The state in memory hides it from the one who writes.
    scene.running(|| {
        scene.recreate(STATE);
        scene.feed(&["a"]);
        scene.expect(&["a1", "b1", "a2", "a3", "b2", "a4"]);
    });
    scene.feed(&["b"]);
    scene.running(|| scene.expect(&["a1", "b1", "a2", "a3", "b2", "a4", "b3"]));
    assert_eq!(scene.bus.losses(&spec()).unwrap(), []);
    assert_eq!(scene.bus.recover(&spec(), 0).unwrap(), None);
}

/// Whoever has read all of a state and written nothing since does not make what is left of it look whole.
fn makes_anew_what_was_lost_before_its_owner_wrote(kafka: &Kafka) {
    let scene = Scene::new(kafka, "state-gone-unwritten");
    scene.feed(&["a", "b", "a"]);
    scene.running(|| scene.expect(&["a1", "b1", "a2"]));
    let taken = AtomicUsize::new(0);
    let observer = |_: &str, _, progress| {
        taken.fetch_add(usize::from(matches!(progress, Progress::TakenOver { .. })), Ordering::Relaxed);
    };
    Scene::observed(&scene.bus, &observer, || {
        until("all is taken over", || (taken.load(Ordering::Relaxed) == PARTITIONS as usize).then_some(()));
        scene.recreate(STATE);
        scene.feed(&["a"]);
        scene.expect(&["a1", "b1", "a2", "a3"]);
    });
    scene.feed(&["b"]);
    scene.running(|| scene.expect(&["a1", "b1", "a2", "a3", "b2"]));
    assert_eq!(scene.bus.losses(&spec()).unwrap(), []);
}

/// Whoever has read a state ahead, for when it takes a partition over, does not go on with it when that state's topic was lost since.
fn does_not_go_on_with_what_was_read_ahead_of_a_lost_state(kafka: &Kafka) {
    let scene = Scene::with(kafka, "replica-gone", |config| config.standby = true);
    let other = scene.broker.open();
    let every = |keys: &[&str]| (0..PARTITIONS).for_each(|partition| scene.feed_in(partition, keys));
    let told = |expected: &[String]| {
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        (0..PARTITIONS).for_each(|partition| scene.expect_in(partition, &expected));
    };
    let mut expected = ["a1", "b1", "a2"].map(str::to_owned).to_vec();
    scene.running(|| {
        Scene::member(&other, || {
            every(&["a", "b", "a"]);
            told(&expected);
            scene.recreate(STATE);
            // The new topic is longer than the old one was: what was read of that has an offset in it.
            for n in 3..30 {
                every(&["a"]);
                expected.push(format!("a{n}"));
                told(&expected);
            }
        });
        every(&["b"]);
        expected.push("b2".to_owned());
        told(&expected);
        Scene::member(&other, || {
            every(&["a", "b"]);
            expected.extend(["a30", "b3"].map(str::to_owned));
            told(&expected);
        });
    });
    assert_eq!(scene.bus.losses(&spec()).unwrap(), []);
}

fn goes_on_without_the_groups_offsets(kafka: &Kafka) {
    let scene = Scene::new(kafka, "group-gone");
    scene.feed(&["a", "b"]);
    scene.running(|| scene.expect(&["a1", "b1"]));
    let group = scene.full("counter");
    until("the group is deleted", || {
        let deleted = futures::executor::block_on(scene.admin().delete_groups(&[&group], &AdminOptions::new()));
        deleted.unwrap().remove(0).ok()
    });
    scene.feed(&["a"]);
    scene.running(|| scene.expect(&["a1", "b1", "a2"]));
}

fn says_that_its_input_is_another_one(kafka: &Kafka) {
    let scene = Scene::new(kafka, "input-gone");
    scene.feed(&["a", "b"]);
    scene.running(|| scene.expect(&["a1", "b1"]));
    scene.recreate(INPUT);
    // More than was read before: the offset alone would be a good one.
    scene.feed(&["a", "a", "c", "a"]);
    scene.running(|| {
        let loss = scene.stands_still("another record");
        assert!(matches!(loss.damage, Damage::InputOther { offset: 2, .. }), "{loss}");
        scene.expect(&["a1", "b1"]);
        let recovered = scene.bus.recover(&spec(), 0).unwrap().unwrap();
        assert_eq!((recovered.from, recovered.rebuilt, recovered.listed.len()), (0, false, 0));
        scene.expect(&["a1", "b1", "a2", "a3", "c1", "a4"]);
        until("nothing is in the way", || scene.bus.trouble().is_none().then_some(()));

        scene.recreate(INPUT);
        let loss = scene.stands_still("ends at 0");
        assert!(matches!(loss.damage, Damage::InputCut { end: 0, .. }), "{loss}");
        scene.bus.recover(&spec(), 0).unwrap().unwrap();
        scene.feed(&["c"]);
        scene.expect(&["a1", "b1", "a2", "a3", "c1", "a4", "c2"]);
    });
}

/// Its owner cannot go on, and opens the partition again and again: each time whoever recovers it is fenced.
fn is_recovered_beside_an_owner_that_tries_again(kafka: &Kafka) {
    let scene = Scene::new(kafka, "rivals");
    scene.feed(&["a", "b"]);
    scene.running(|| scene.expect(&["a1", "b1"]));
    scene.recreate(INPUT);
    scene.feed(&["a", "a", "c"]);
    let recovered = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                let owner: BaseProducer = ClientConfig::new()
                    .set("bootstrap.servers", &scene.broker.bootstrap)
                    .set("transactional.id", scene.full("counter.0"))
                    .create()
                    .unwrap();
                until("the owner fences", || owner.init_transactions(LIMIT).ok());
            }
        });
        scene.bus.recover(&spec(), 0).unwrap().unwrap()
    });
    assert_eq!((recovered.from, recovered.rebuilt), (0, false));
    scene.running(|| scene.expect(&["a1", "b1", "a2", "a3", "c1"]));
}

fn says_what_cannot_be_made_anew(kafka: &Kafka) {
    let scene = Scene::new(kafka, "expired");
    scene.feed(&["a", "a", "a"]);
    scene.running(|| scene.expect(&["a1", "a2", "a3"]));
    scene.recreate(STATE);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&scene.full(INPUT), 0, Offset::Offset(1)).unwrap();
    futures::executor::block_on(scene.admin().delete_records(&before, &AdminOptions::new())).unwrap();
    scene.running(|| {
        let loss = scene.stands_still("no longer goes back");
        assert!(matches!(loss.damage, Damage::State { .. }), "{loss}");
        let recovered = scene.bus.recover(&spec(), 0).unwrap().unwrap();
        assert_eq!((recovered.from, recovered.rebuilt), (1, true));
        scene.feed(&["a"]);
        // Of three records two are left.
        scene.expect(&["a1", "a2", "a3", "a3"]);
    });
    // With the input go the group's offsets: nothing is left that knew better.
    scene.recreate(STATE);
    scene.recreate(INPUT);
    scene.feed(&["a"]);
    scene.running(|| scene.expect(&["a1", "a2", "a3", "a3", "a1"]));
}

fn tells_sources_that_their_positions_are_lost(kafka: &Kafka) {
    let scene = Scene::new(kafka, "positions-gone");
    let open = || scene.bus.source("exporter.u", 0, b"a/").unwrap();
    let row = || [(b"a/events".to_vec(), b"1".to_vec())];
    let event = || emit(topics::EVENTS_RAW.name, "a", "x");
    let commit = |source: &mut epicenter_bus::Source, record: &Emit| {
        until("it is committed", || match source.commit(std::slice::from_ref(record), &row()) {
            Ok(()) => Some(()),
            Err(Fault::Retry { .. }) => None,
            Err(fault) => panic!("{fault}"),
        });
    };
    let (mut source, rows) = open();
    assert_eq!((source.lost(), rows.len()), (None, 0), "an installation that begins");
    commit(&mut source, &event());
    let (mut source, rows) = open();
    assert_eq!((source.lost(), rows.len()), (None, 1));

    let newest = event();
    commit(&mut source, &newest);
    scene.recreate(topics::POSITIONS.name);
    for _ in 0..2 {
        let (lost, rows) = open();
        let until = lost.lost().expect("it is told until it commits");
        assert!((until - newest.timestamp).abs() <= 200 && rows.is_empty(), "{until}, {}", newest.timestamp);
    }
    let (mut source, _) = open();
    commit(&mut source, &event());
    assert_eq!(open().0.lost(), None);

    // A source that goes on writes only what moves: what it leaves in the new table is not all.
    let (mut source, _) = open();
    scene.recreate(topics::POSITIONS.name);
    commit(&mut source, &event());
    assert!(open().0.lost().is_some());
}

fn says_that_a_topic_has_other_partitions(kafka: &Kafka) {
    let scene = Scene::new(kafka, "grown");
    scene.feed(&["a"]);
    scene.running(|| scene.expect(&["a1"]));
    let (input, options) = (scene.full(INPUT), AdminOptions::new());
    let more = NewPartitions::new(&input, PARTITIONS as usize + 1);
    let grown = futures::executor::block_on(scene.admin().create_partitions([&more], &options)).unwrap();
    grown.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    scene.feed(&["a"]);
    scene.running(|| {
        scene.expect(&["a1", "a2"]);
        let said = format!("topic {input} has 4 partitions, and the installation 3");
        let trouble = until("it is said", || scene.bus.trouble().filter(|trouble| trouble.contains(&said)));
        assert!(trouble.contains("epicenter topics migrate"), "{trouble}");
    });
    // Who believes the number of the topic would put clusters elsewhere.
    let wrong = scene.broker.open_with(|config| config.partitions = PARTITIONS + 1);
    let Err(fault) = wrong.source("writer", 0, b"") else { panic!("it was opened") };
    assert!(fault.to_string().contains("has 3 partitions"), "{fault}");
    let wrong = Scene { bus: scene.broker.open_with(|config| config.partitions = 2), broker: scene.broker };
    wrong.running(|| {
        let said = "the installation has 3 partitions, and bus.kafka.partitions is 2";
        until("it is refused", || wrong.bus.trouble().filter(|trouble| trouble.contains(said)));
    });
}

fn begins_anew_where_a_readers_topic_was_lost(kafka: &Kafka) {
    let scene = Scene::new(kafka, "reader");
    write(&scene.bus, "writer", 0, &[emit(OUTPUT, "a", "1"), emit(OUTPUT, "a", "2")]);
    let wait = Duration::from_secs(10);
    let named = || Start::Committed("sink".to_owned());
    let mut reader = scene.bus.reader(OUTPUT, &[0], named()).unwrap();
    let first = reader.next(wait).unwrap().unwrap();
    reader.commit().unwrap();
    let at = || Start::At("other".to_owned(), [(0, Bookmark::after(&first))].into());
    for start in [named(), at()] {
        let mut reader = scene.bus.reader(OUTPUT, &[0], start).unwrap();
        assert!(reader.lost().is_empty());
        assert_eq!(reader.next(wait).unwrap().unwrap().payload.unwrap(), "2");
    }
    scene.recreate(OUTPUT);
    scene.feed(&[]);
    let records = ["5", "6", "7"].map(|payload| emit(OUTPUT, "a", payload));
    until("it is written", || scene.bus.source("writer", 0, b"").unwrap().0.commit(&records, &[]).ok());
    let mut reader = scene.bus.reader(OUTPUT, &[0], at()).unwrap();
    assert!(matches!(reader.lost()[&0], Damage::InputOther { offset: 1, .. }), "{:?}", reader.lost());
    assert_eq!(reader.next(wait).unwrap().unwrap().payload.unwrap(), "5");
}

/// One broker for all: it takes longer to start than most of them take.
#[test]
fn lost_topics_are_recovered_from_or_said_to_be_lost() {
    let kafka = Kafka::start().unwrap();
    std::thread::scope(|scope| {
        // Most of the time they wait for a partition to be taken up again.
        for case in [
            makes_a_lost_state_anew,
            makes_anew_what_was_lost_before_its_owner_wrote,
            does_not_go_on_with_what_was_read_ahead_of_a_lost_state,
            goes_on_without_the_groups_offsets,
            says_that_its_input_is_another_one,
            is_recovered_beside_an_owner_that_tries_again,
            says_what_cannot_be_made_anew,
            tells_sources_that_their_positions_are_lost,
            says_that_a_topic_has_other_partitions,
            begins_anew_where_a_readers_topic_was_lost,
        ] {
            let kafka = &kafka;
            scope.spawn(move || case(kafka));
        }
    });
}
