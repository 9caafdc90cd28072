//! How long a partition stands still when its owner changes, with 100,000 keys of state: planned, and after a kill -9.
//!
//! Prints what it measures beside the design's bounds and asserts that the outputs are right, and that who has stood by reads little
//! of the state: the times of a loaded machine are no property of the code, how much is read is.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::GroupProtocol;
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::Process;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::fleet::{Feeder, Installation, Oracle};

const PARTITIONS: u32 = 2;
const KEYS: u64 = 50_000;
const SEED: u64 = 7;
const ROUNDS: usize = 5;
/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// When each partition's newest change came, and the longest silence since it was last asked for.
#[derive(Default)]
struct Watch(Mutex<Vec<(Option<Instant>, Duration)>>);

impl Watch {
    fn saw(&self, partition: u32) {
        let mut all = self.0.lock();
        all.resize(PARTITIONS as usize, Default::default());
        let (last, longest) = &mut all[partition as usize];
        if let Some(last) = last.replace(Instant::now()) {
            *longest = (*longest).max(last.elapsed());
        }
    }

    fn longest(&self) -> Duration {
        let mut all = self.0.lock();
        all.iter_mut().map(|(_, longest)| std::mem::take(longest)).max().unwrap_or_default()
    }
}

/// A take-over that restored most of the keys of a partition.
struct Restored {
    entries: u64,
    /// Read of the changelog for it.
    records: u64,
    standby: bool,
    took: Duration,
}

fn field<T: FromStr>(line: &str, name: &str) -> Option<T> {
    line.split_once(&format!(" {name}="))?.1.split_whitespace().next()?.parse().ok()
}

/// Those of a process, in order.
fn restored(process: &Process) -> Vec<Restored> {
    let of = |line: &str| {
        Some(Restored {
            entries: field(line, "entries").filter(|entries| *entries > KEYS / 2)?,
            records: field(line, "records")?,
            standby: field(line, "standby")?,
            took: Duration::from_millis(field(line, "restore_ms")?),
        })
    };
    process.output().lines().filter_map(of).collect()
}

/// The partitions of which a log says `what`.
fn partitions(log: &str, what: &str) -> BTreeSet<u32> {
    log.lines().filter(|line| line.contains(what)).filter_map(|line| field(line, "partition")).collect()
}

fn owned(log: &str) -> BTreeSet<u32> {
    partitions(log, "took partition over")
}

/// It owns something, and has read the state of what it does not own.
fn stands_by(log: &str) -> bool {
    let (owned, read) = (owned(log), partitions(log, "a standby has caught up"));
    !owned.is_empty() && owned.union(&read).count() == PARTITIONS as usize
}

/// How many the brokers count to the group now.
fn members(of: &Installation) -> usize {
    let name = format!("{}counter", of.prefix);
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &of.bootstrap).create().unwrap();
    let groups = client.fetch_group_list(Some(&name), LIMIT).unwrap();
    groups.groups()[0].members().len()
}

fn shown(mut times: Vec<Duration>) -> String {
    assert!(!times.is_empty(), "there is something to tell");
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_millis();
    format!("p50 {} ms, p95 {} ms, longest {} ms of {}", at(0.5), at(0.95), at(1.0), times.len())
}

#[test]
fn a_new_owner_goes_on_with_the_whole_state() {
    check(GroupProtocol::Classic, false, ROUNDS);
}

/// `EPICENTER_HANDOVERS` makes these two as many as the first.
fn rounds() -> usize {
    std::env::var("EPICENTER_HANDOVERS").map_or(1, |rounds| rounds.parse().unwrap())
}

#[test]
fn a_standby_has_read_most_of_it_before() {
    check(GroupProtocol::Classic, true, rounds());
}

#[test]
fn so_does_one_that_the_brokers_chose() {
    check(GroupProtocol::Consumer, false, rounds());
}

fn check(protocol: GroupProtocol, standby: bool, rounds: usize) {
    let kafka = Kafka::start().unwrap();
    let to = Installation {
        bootstrap: kafka.bootstrap(),
        prefix: "handover.".to_owned(),
        partitions: PARTITIONS,
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_secs(1),
        protocol,
        standby,
    };
    super::create_topics(&to.bootstrap, &to.prefix, PARTITIONS);
    let directory = tempfile::tempdir().unwrap();
    let mut names = (0..).map(|n| format!("counter-{n}"));
    let mut spawn = || to.spawn(&names.next().unwrap(), directory.path());
    let mut owner = spawn();
    let (seen, watch, stop) =
        (Arc::new(AtomicU64::new(0)), Arc::new(Watch::default()), Arc::new(AtomicBool::new(false)));
    let reading = std::thread::spawn({
        let (to, seen, watch, stop) = (to.clone(), Arc::clone(&seen), Arc::clone(&watch), Arc::clone(&stop));
        move || {
            let mut reader = to.output();
            let mut oracles: Vec<_> = (0..PARTITIONS).map(|partition| Oracle::new(SEED, partition, KEYS)).collect();
            while !stop.load(Ordering::Relaxed) {
                let Some(record) = reader.next(Duration::from_millis(50)).unwrap() else { continue };
                oracles[record.partition as usize].take(&record).unwrap();
                watch.saw(record.partition);
                seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // Enough records that all but a few of the 2 × 50,000 keys have a count, then a slow, steady trickle.
    let fill = u64::from(PARTITIONS) * KEYS * 8;
    let feeder = Feeder::start(&to, SEED, KEYS, 100_000, Arc::clone(&seen));
    let wait_for = |count: u64| {
        let deadline = Instant::now() + Duration::from_secs(180);
        while seen.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "{} of {count} changes", seen.load(Ordering::Relaxed));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for(fill);
    let each = feeder.stop();
    wait_for(each * u64::from(PARTITIONS));
    let trickle = Feeder::resume(&to, SEED, KEYS, each, Duration::from_millis(10));
    wait_for(seen.load(Ordering::Relaxed) + 100);

    let (mut planned, mut killed, mut restores, mut read) = (vec![], vec![], vec![], vec![]);
    for round in 0..2 * rounds {
        let mut next = spawn();
        // It joins and takes half of the partitions over, in order.
        std::thread::sleep(Duration::from_secs(4));
        if standby {
            next.until(LIMIT, stands_by).unwrap();
        }
        let joined = watch.longest();
        let kill = round % 2 == 1;
        if kill {
            owner.kill().unwrap();
            std::thread::sleep(to.session_timeout + Duration::from_secs(4));
            killed.push(watch.longest());
            next.until(LIMIT, |log| owned(log).len() == PARTITIONS as usize).unwrap();
            let of_the_dead = restored(&next).pop().unwrap();
            let Restored { entries, records, .. } = of_the_dead;
            assert_eq!(of_the_dead.standby, standby, "{}", next.tail());
            // Only what was written since, or each key at least once.
            assert!(if standby { records * 10 < entries } else { records >= entries }, "{records} for {entries}");
            read.push(records);
        } else {
            owner.close_stdin();
            owner.wait(Duration::from_secs(30)).unwrap();
            if protocol == GroupProtocol::Classic {
                assert_eq!(members(&to), 1, "who goes tells the group\n{}", owner.tail());
            }
            next.until(LIMIT, |log| owned(log).len() == PARTITIONS as usize).unwrap();
            std::thread::sleep(Duration::from_secs(1));
            planned.push(watch.longest());
        }
        planned.push(joined);
        restores.extend(restored(&owner));
        std::mem::swap(&mut owner, &mut next);
    }
    restores.extend(restored(&owner));
    let each = trickle.stop();
    wait_for(each * u64::from(PARTITIONS));
    stop.store(true, Ordering::Relaxed);
    reading.join().unwrap();
    let restores = restores.into_iter().map(|it| it.took).collect();
    println!("members agree by the protocol {protocol:?}, standby {standby}");
    println!("planned hand-over: {} (bound for p95: 2 × heartbeat interval + 500 ms = 2500 ms)", shown(planned));
    println!("after kill -9:     {} (bound: session timeout + heartbeat interval + 1 s = 8000 ms)", shown(killed));
    println!(
        "restore alone, of the 50,000 keys of a partition from 400,000 records: {} (bound: 1000 ms)",
        shown(restores)
    );
    println!("records of the changelog that were read after kill -9: {read:?}");
}
