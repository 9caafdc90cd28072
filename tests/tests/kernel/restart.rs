//! What the restart of one of two members costs, with a name that outlives it and without.
//!
//! Prints how long a partition stood still; asserts what comes out, and that brokers that assign leave the other member alone when
//! a named one is restarted in order. `EPICENTER_HANDOVERS` sets the number of restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::GroupProtocol;
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::Process;
use epicenter_tests::wait;

use super::fleet::{Feeder, Installation, Oracle};

const PARTITIONS: u32 = 2;
const KEYS: u64 = 100;
const SEED: u64 = 11;
const LIMIT: Duration = Duration::from_secs(120);

fn taken_over(process: &Process) -> usize {
    process.output().matches("took partition over").count()
}

#[track_caller]
fn until(what: &str, done: impl Fn() -> bool) {
    wait::until(what, LIMIT, || done().then_some(()));
}

fn check(kafka: &Kafka, protocol: GroupProtocol, named: bool) {
    let rounds: usize = std::env::var("EPICENTER_HANDOVERS").map_or(1, |rounds| rounds.parse().unwrap());
    let to = Installation {
        bootstrap: kafka.bootstrap(),
        prefix: format!("restart-{protocol:?}-{named}."),
        partitions: PARTITIONS,
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_secs(1),
        protocol,
        standby: false,
    };
    super::create_topics(&to.bootstrap, &to.prefix, PARTITIONS);
    let directory = tempfile::tempdir().unwrap();
    let mut spawned = 0;
    let mut spawn = |instance: &'static str| {
        spawned += 1;
        to.spawn_as(&format!("{instance}-{spawned}"), named.then_some(instance), directory.path())
    };
    let mut one = spawn("one");
    until("the first has both", || taken_over(&one) == 2);
    let other = spawn("other");
    until("each has one", || taken_over(&other) == 1);

    let (stop, wrong) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (longest, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let reading = std::thread::spawn({
        let (to, stop, wrong) = (to.clone(), Arc::clone(&stop), Arc::clone(&wrong));
        let (longest, seen) = (Arc::clone(&longest), Arc::clone(&seen));
        move || {
            let mut reader = to.output();
            let mut oracles: Vec<_> = (0..PARTITIONS).map(|partition| Oracle::new(SEED, partition, KEYS)).collect();
            let mut last = [None::<Instant>; PARTITIONS as usize];
            while !stop.load(Ordering::Relaxed) {
                let Some(record) = reader.next(Duration::from_millis(50)).unwrap() else { continue };
                let partition = record.partition as usize;
                if oracles[partition].take(&record).is_err() {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(last) = last[partition].replace(Instant::now()) {
                    longest.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
                }
                seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let feeder = Feeder::resume(&to, SEED, KEYS, 0, Duration::from_millis(10));
    until("it runs", || seen.load(Ordering::Relaxed) > 100);
    let mut stood = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        let (kill, before) = (round % 2 == 1, taken_over(&other));
        longest.store(0, Ordering::Relaxed);
        if kill {
            one.kill().unwrap();
        } else {
            one.close_stdin();
            one.wait(LIMIT).unwrap();
        }
        one = spawn("one");
        until("it has a partition again", || taken_over(&one) > 0);
        std::thread::sleep(Duration::from_secs(1));
        stood[usize::from(kill)].push(longest.load(Ordering::Relaxed));
        if named && !kill && protocol == GroupProtocol::Consumer {
            assert_eq!(taken_over(&other), before, "the other one noticed it\n{}", other.tail());
        }
    }
    let total = feeder.stop() * u64::from(PARTITIONS);
    until("all is counted", || seen.load(Ordering::Relaxed) >= total);
    stop.store(true, Ordering::Relaxed);
    reading.join().unwrap();
    assert_eq!(
        (wrong.load(Ordering::Relaxed), seen.load(Ordering::Relaxed)),
        (0, total),
        "each change is right, and once"
    );
    let [ordered, killed] = stood;
    println!(
        "{protocol:?}, named {named}: a partition stood still for {ordered:?} ms at a restart, {killed:?} ms after kill -9"
    );
}

#[test]
fn a_restarted_member_goes_on() {
    let kafka = Kafka::start().unwrap();
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        for named in [false, true] {
            check(&kafka, protocol, named);
        }
    }
}
