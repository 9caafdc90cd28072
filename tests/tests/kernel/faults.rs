//! The kernel holds: three processes in a group, a producer at full speed, and everything that goes wrong in a cluster.
//! What comes out, read committed, equals record for record what one undisturbed process makes.
//!
//! `EPICENTER_FAULTS` sets the number of faults, `EPICENTER_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::GroupProtocol;
use epicenter_tests::counting::{INPUT, OUTPUT, STATE};
use epicenter_tests::faults::Plan;
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::{Process, Signal};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::fleet::{Feeder, Installation, Oracle};

const MEMBERS: usize = 3;
const PARTITIONS: u32 = 6;
const KEYS: u64 = 500;
/// Input that may wait: enough that the processors never run dry.
const AHEAD: u64 = 300_000;
/// Without a new change for that long, after the last fault, it has failed.
const STALL: Duration = Duration::from_secs(90);

struct Scene {
    seed: u64,
    random: StdRng,
    kafka: Kafka,
    to: Installation,
    directory: tempfile::TempDir,
    members: Vec<Process>,
    /// Members that stand still, and until when.
    stopped: Vec<(usize, Instant)>,
    /// Transactions that somebody left open.
    open: Vec<BaseProducer>,
    spawned: usize,
    done: BTreeMap<&'static str, usize>,
}

impl Scene {
    fn new(seed: u64, protocol: GroupProtocol, standby: bool) -> Self {
        let kafka = Kafka::start().unwrap();
        let to = Installation {
            bootstrap: kafka.bootstrap(),
            prefix: "faults.".to_owned(),
            partitions: PARTITIONS,
            session_timeout: Duration::from_secs(3),
            heartbeat_interval: Duration::from_millis(500),
            protocol,
            standby,
        };
        super::create_topics(&to.bootstrap, &to.prefix, PARTITIONS);
        let directory = tempfile::Builder::new().prefix("epicenter-faults-").tempdir().unwrap();
        let random = StdRng::seed_from_u64(seed);
        let mut scene = Self {
            seed,
            random,
            kafka,
            to,
            directory,
            members: vec![],
            stopped: vec![],
            open: vec![],
            spawned: 0,
            done: BTreeMap::new(),
        };
        scene.members = (0..MEMBERS).map(|_| scene.spawn()).collect();
        scene
    }

    fn spawn(&mut self) -> Process {
        self.spawned += 1;
        self.to.spawn(&format!("counter-{}", self.spawned), self.directory.path())
    }

    /// Lets those go on that stood still long enough.
    fn wake(&mut self, all: bool) {
        let now = Instant::now();
        let (due, waiting) = self.stopped.drain(..).partition(|(_, until)| all || *until <= now);
        self.stopped = waiting;
        for (member, _) in due {
            self.members[member].signal(Signal::Cont).unwrap();
        }
    }

    fn running_member(&mut self) -> usize {
        loop {
            let member = self.random.random_range(0..MEMBERS);
            if self.stopped.iter().all(|(stopped, _)| *stopped != member) {
                return member;
            }
            if self.stopped.len() == MEMBERS {
                self.wake(true);
            }
        }
    }

    /// What can be said when nothing moves any more.
    fn report(&self) -> String {
        let mut lines = Vec::new();
        for topic in [INPUT, OUTPUT, STATE] {
            for partition in 0..PARTITIONS as i32 {
                let name = format!("{}{topic}", self.to.prefix);
                let ends = |level: &str| -> Result<(i64, i64), KafkaError> {
                    let consumer: BaseConsumer = ClientConfig::new()
                        .set("bootstrap.servers", &self.to.bootstrap)
                        .set("isolation.level", level)
                        .create()?;
                    consumer.fetch_watermarks(&name, partition, Duration::from_secs(10))
                };
                lines.push(format!(
                    "{name}/{partition}: committed {:?}, uncommitted {:?}",
                    ends("read_committed"),
                    ends("read_uncommitted")
                ));
            }
        }
        lines.extend(self.members.iter().map(Process::tail));
        lines.push(self.kafka.tail());
        lines.join("\n")
    }

    fn fault(&mut self) {
        let name = match self.random.random_range(0..100) {
            0..40 => {
                let member = self.running_member();
                self.members[member].kill().unwrap();
                self.members[member] = self.spawn();
                "kill -9"
            }
            40..60 => {
                let member = self.running_member();
                self.members[member].signal(Signal::Stop).unwrap();
                let beyond = self.to.session_timeout + Duration::from_millis(self.random.random_range(500..4000));
                self.stopped.push((member, Instant::now() + beyond));
                "zombie"
            }
            60..70 => {
                self.kafka.restart(if self.random.random() { Signal::Kill } else { Signal::Term }).unwrap();
                "broker restart"
            }
            70..85 => {
                let mut joiners: Vec<_> = (0..3).map(|_| self.spawn()).collect();
                std::thread::sleep(Duration::from_millis(self.random.random_range(100..1500)));
                for joiner in &mut joiners {
                    if self.random.random() {
                        joiner.close_stdin();
                        joiner.wait(Duration::from_secs(30)).unwrap();
                    } else {
                        joiner.kill().unwrap();
                    }
                }
                "rebalance storm"
            }
            _ => {
                self.leave_transaction_open();
                let member = self.running_member();
                self.members[member].kill().unwrap();
                self.members[member] = self.spawn();
                "open transaction on the changelog"
            }
        };
        *self.done.entry(name).or_default() += 1;
    }

    /// Writes to the changelog in a transaction that nobody ends: its record must never be restored, and what comes after
    /// it must be.
    fn leave_transaction_open(&mut self) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.to.bootstrap)
            .set("transactional.id", format!("stranger-{}", self.random.random::<u32>()))
            .set("transaction.timeout.ms", "5000")
            .create()
            .unwrap();
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        producer.begin_transaction().unwrap();
        let topic = format!("{}{STATE}", self.to.prefix);
        let partition = self.random.random_range(0..PARTITIONS as i32);
        let record = BaseRecord::to(&topic).partition(partition).key("0").payload("1000000");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
        self.open.push(producer);
    }
}

#[test]
fn outputs_equal_those_of_one_undisturbed_process() {
    check(Plan::new(15, 100).unwrap(), GroupProtocol::Classic, false);
}

#[test]
fn so_they_do_when_the_brokers_assign() {
    check(Plan::new(5, 50).unwrap(), GroupProtocol::Consumer, false);
}

#[test]
fn so_they_do_when_members_keep_the_state_of_the_others() {
    check(Plan::new(8, 100).unwrap(), GroupProtocol::Classic, true);
}

fn check(Plan { faults, seed }: Plan, protocol: GroupProtocol, standby: bool) {
    let mut scene = Scene::new(seed, protocol, standby);
    let seen = Arc::new(AtomicU64::new(0));
    let feeder = Feeder::start(&scene.to, seed, KEYS, AHEAD, Arc::clone(&seen));
    let began = Instant::now();
    let verifier = std::thread::spawn({
        let (to, seen) = (scene.to.clone(), Arc::clone(&seen));
        move || verify(&to, seed, &seen)
    });
    while scene.done.values().sum::<usize>() < faults {
        std::thread::sleep(Duration::from_millis(scene.random.random_range(200..2000)));
        scene.wake(false);
        scene.fault();
        assert!(!verifier.is_finished(), "{:?}, seed {}", verifier.join(), scene.seed);
    }
    scene.wake(true);
    let each = feeder.stop();
    let total = each * u64::from(PARTITIONS);
    let (mut last, mut progress) = (0, Instant::now());
    while seen.load(Ordering::Relaxed) < total {
        assert!(!verifier.is_finished(), "{:?}, seed {}", verifier.join(), scene.seed);
        let now = seen.load(Ordering::Relaxed);
        if now != last {
            (last, progress) = (now, Instant::now());
        }
        if progress.elapsed() > STALL {
            panic!("{now} of {total} changes, seed {}\n{}", scene.seed, scene.report());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // What is repeated at the very end would still come.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(seen.load(Ordering::Relaxed), total, "seed {}", scene.seed);
    assert!(!verifier.is_finished(), "{:?}, seed {}", verifier.join(), scene.seed);
    println!("{total} changes right after {faults} faults {:?} in {:.0} s", scene.done, began.elapsed().as_secs_f64());
}

/// Follows the outputs for ever; ends with the first record that is wrong.
fn verify(to: &Installation, seed: u64, seen: &AtomicU64) -> String {
    let mut reader = to.output();
    let mut oracles: Vec<_> = (0..to.partitions).map(|partition| Oracle::new(seed, partition, KEYS)).collect();
    loop {
        match reader.next(Duration::from_millis(200)) {
            Ok(Some(record)) => match oracles[record.partition as usize].take(&record) {
                Ok(()) => drop(seen.fetch_add(1, Ordering::Relaxed)),
                Err(wrong) => return wrong,
            },
            Ok(None) => {}
            Err(fault) => return fault.to_string(),
        }
    }
}
