//! Partitions that are taken away while their thread cannot end, and come back.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Processor, Progress, Put, Record, Reject, Start, State, Step, Stop};
use epicenter_tests::counting::{Counter, INPUT, OUTPUT, spec};
use epicenter_tests::kafka::Kafka;

use super::contract::{Backend as _, Broker, PARTITIONS, emit, write};

const LIMIT: Duration = Duration::from_secs(60);

/// Where the first `hold` of each partition waits until the gate is open.
#[derive(Default)]
struct Gate {
    seen: Mutex<Seen>,
    opened: Condvar,
}

#[derive(Default)]
struct Seen {
    open: bool,
    held: BTreeSet<u32>,
    released: usize,
}

impl Gate {
    fn pass(&self, partition: u32) {
        let mut seen = self.seen.lock().unwrap();
        if !seen.held.insert(partition) {
            return;
        }
        let (mut seen, _) = self.opened.wait_timeout_while(seen, 4 * LIMIT, |seen| !seen.open).unwrap();
        seen.released += 1;
    }

    fn open(&self) {
        self.seen.lock().unwrap().open = true;
        self.opened.notify_all();
    }

    fn held(&self) -> usize {
        self.seen.lock().unwrap().held.len()
    }

    fn released(&self) -> usize {
        self.seen.lock().unwrap().released
    }
}

struct Held<'g> {
    counter: Counter,
    gate: &'g Gate,
}

impl Processor for Held<'_> {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.counter.restore(state)
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        if record.payload.as_deref() == Some(b"hold") {
            self.gate.pass(record.partition);
        }
        self.counter.process(record, step)
    }

    fn flush(&mut self, put: &mut Put<'_>) {
        self.counter.flush(put);
    }
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn changes(bus: &Bus, partition: u32) -> Vec<String> {
    let (_, end) = bus.bounds(OUTPUT, partition).unwrap();
    if end == 0 {
        return vec![];
    }
    let mut reader = bus.reader(OUTPUT, &[partition], Start::Earliest).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next(Duration::from_millis(500)).unwrap() {
        found.push(String::from_utf8(record.payload.unwrap().to_vec()).unwrap());
    }
    found
}

#[test]
fn a_partition_that_comes_back_does_not_wait_for_its_thread_of_before() {
    let kafka = Kafka::start().unwrap();
    let broker = Broker { bootstrap: kafka.bootstrap(), prefix: "back.".to_owned(), change: |_| {} };
    crate::create_topics(&broker.bootstrap, &broker.prefix, PARTITIONS);
    let (bus, other) = (broker.open(), broker.open());
    let partitions = 0..PARTITIONS;
    for partition in partitions.clone() {
        write(&bus, "writer", partition, &[emit(INPUT, "k", "hold")]);
    }
    let (gate, stop, stop_other) = (Gate::default(), Stop::new(), Stop::new());
    let told = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let tell = |_: &str, partition: u32, progress: Progress| match progress {
                Progress::TakenOver { .. } => told.lock().unwrap().push((partition, true)),
                Progress::GivenUp => told.lock().unwrap().push((partition, false)),
                _ => {}
            };
            bus.run(&spec(), || Held { counter: Counter::default(), gate: &gate }, &tell, &stop)
        });
        until("all partitions are held", || gate.held() == PARTITIONS as usize);
        let second = scope.spawn(|| other.run(&spec(), Counter::default, &|_, _, _| {}, &stop_other));
        let moved = || partitions.clone().find(|partition| !changes(&bus, *partition).is_empty());
        until("one is taken over though its thread cannot end", || moved().is_some());
        let moved = moved().unwrap();
        stop_other.request();
        second.join().unwrap().unwrap();

        write(&bus, "writer", moved, &[emit(INPUT, "k", "x")]);
        until("it comes back", || changes(&bus, moved).len() > 1);
        assert_eq!(gate.released(), 0, "and its thread of before is still there");
        gate.open();
        until("the threads go on", || gate.released() == PARTITIONS as usize);
        until("all is counted", || partitions.clone().all(|partition| !changes(&bus, partition).is_empty()));
        stop.request();
        first.join().unwrap().unwrap();
        for partition in partitions {
            let expected = if partition == moved { vec!["1@0 of 1", "2@2 of 1"] } else { vec!["1@0 of 1"] };
            assert_eq!(changes(&bus, partition), expected, "each once");
        }
        // Taken, given up, taken, given up: whatever the order in which its two threads ended.
        let told = told.lock().unwrap();
        let of_moved: Vec<_> =
            told.iter().filter(|(partition, _)| *partition == moved).map(|(_, taken)| *taken).collect();
        assert_eq!(of_moved, [true, false, true, false]);
    });
}
