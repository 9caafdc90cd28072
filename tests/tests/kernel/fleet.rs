//! Processes of the counting processor in one group, what feeds them, and what must come out.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use epicenter_bus::{Bus, GroupProtocol, KafkaConfig, Reader, Record, Start};
use epicenter_tests::counting::{INPUT, OUTPUT};
use epicenter_tests::process::Process;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// One installation of the counter on a broker.
#[derive(Clone)]
pub struct Installation {
    pub bootstrap: String,
    pub prefix: String,
    pub partitions: u32,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub protocol: GroupProtocol,
    /// Members keep the state of the others' partitions.
    pub standby: bool,
}

impl Installation {
    pub fn spawn(&self, name: &str, directory: &std::path::Path) -> Process {
        self.spawn_as(name, None, directory)
    }

    /// The same, as that instance.
    pub fn spawn_as(&self, name: &str, instance: Option<&str>, directory: &std::path::Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counter"));
        command.args([&self.bootstrap, &self.prefix, &self.partitions.to_string()]);
        command.args([self.session_timeout, self.heartbeat_interval].map(|time| time.as_millis().to_string()));
        command.arg(if self.protocol == GroupProtocol::Consumer { "consumer" } else { "classic" });
        command.arg(if self.standby { "standby" } else { "alone" }).args(instance);
        Process::spawn(name, &mut command, &directory.join(format!("{name}.log"))).unwrap()
    }

    /// All that the counters emitted, from the first record on.
    pub fn output(&self) -> Reader {
        let mut config = KafkaConfig::new(&self.bootstrap);
        config.prefix.clone_from(&self.prefix);
        config.partitions = self.partitions;
        let all: Vec<u32> = (0..self.partitions).collect();
        Bus::kafka(config).unwrap().reader(OUTPUT, &all, Start::Earliest).unwrap()
    }
}

/// The key of the `n`th record of a partition: the same for all that ask.
pub fn key(seed: u64, partition: u32, n: u64, keys: u64) -> u64 {
    let mut x = seed ^ (u64::from(partition) << 48) ^ n;
    for _ in 0..3 {
        x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (x >> 33) % keys
}

/// Writes records to all partitions in turn, until it is stopped: as fast as the broker takes them, but never more than
/// `ahead` before what was `seen` of the output; or at a pace.
pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Feeder {
    /// From the first record on, at full speed.
    pub fn start(to: &Installation, seed: u64, keys: u64, ahead: u64, seen: Arc<AtomicU64>) -> Self {
        Self::run(to, seed, keys, 0, move |n, partitions| {
            if n * partitions > seen.load(Ordering::Relaxed) + ahead {
                Duration::from_millis(5)
            } else {
                Duration::ZERO
            }
        })
    }

    /// From record `n` of each partition on, one each `pace`.
    pub fn resume(to: &Installation, seed: u64, keys: u64, n: u64, pace: Duration) -> Self {
        let began = std::time::Instant::now();
        Self::run(to, seed, keys, n, move |now, _| (pace * (now - n) as u32).saturating_sub(began.elapsed()))
    }

    /// Writes record after record; waits for as long as `wait` says before each.
    fn run(
        to: &Installation,
        seed: u64,
        keys: u64,
        first: u64,
        wait: impl Fn(u64, u64) -> Duration + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let to = to.clone();
        let thread = std::thread::spawn(move || {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", &to.bootstrap)
                .set("enable.idempotence", "true")
                .set("message.timeout.ms", "0")
                .set("linger.ms", "2")
                .create()
                .unwrap();
            let topic = format!("{}{INPUT}", to.prefix);
            let partitions = u64::from(to.partitions);
            let mut n = first;
            while !stopped.load(Ordering::Relaxed) {
                producer.poll(Duration::ZERO);
                let wait = wait(n, partitions);
                if !wait.is_zero() {
                    std::thread::sleep(wait);
                    continue;
                }
                for partition in 0..to.partitions {
                    let key = key(seed, partition, n, keys).to_string();
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
                    let mut record =
                        BaseRecord::to(&topic).partition(partition as i32).key(&key).payload("x").timestamp(now as i64);
                    while let Err((error, refused)) = producer.send(record) {
                        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
                        producer.poll(Duration::from_millis(10));
                        record = refused;
                    }
                }
                n += 1;
            }
            producer.flush(Duration::from_secs(120)).unwrap();
            n
        });
        Self { stop, thread }
    }

    /// Stops it; gives the number of records in each partition.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Follows one partition's output and holds each record against what one undisturbed process makes.
pub struct Oracle {
    seed: u64,
    partition: u32,
    keys: u64,
    counts: HashMap<u64, u64>,
    /// Records that were right.
    pub seen: u64,
}

impl Oracle {
    pub fn new(seed: u64, partition: u32, keys: u64) -> Self {
        Self { seed, partition, keys, counts: HashMap::new(), seen: 0 }
    }

    /// Takes the next record; says what is wrong with it.
    pub fn take(&mut self, record: &Record) -> Result<(), String> {
        let key = key(self.seed, self.partition, self.seen, self.keys);
        let count = self.counts.entry(key).or_default();
        *count += 1;
        let count = *count;
        let expected = format!("{key}={count}@{} of {}", self.seen, self.counts.len());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = format!("{}={}", text(&record.key), text(record.payload.as_deref().unwrap_or(b"-")));
        if found != expected {
            let (partition, seen, offset) = (self.partition, self.seen, record.offset);
            return Err(format!(
                "partition {partition}, change {seen} (offset {offset}): {found}, expected {expected}"
            ));
        }
        self.seen += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(changes: &[&str], wrong: Option<usize>) {
        let mut oracle = Oracle::new(1, 0, 1);
        let found = changes.iter().position(|change| {
            let (key, payload) = change.split_once('=').unwrap();
            oracle
                .take(&Record {
                    key: key.to_owned().into(),
                    payload: Some(payload.to_owned().into()),
                    ..Record::default()
                })
                .is_err()
        });
        assert_eq!(found, wrong);
    }

    #[test]
    fn the_oracle_sees_what_is_lost_repeated_or_out_of_order() {
        check(&["0=1@0 of 1", "0=2@1 of 1", "0=3@2 of 1"], None);
        check(&["0=1@0 of 1", "0=3@2 of 1"], Some(1));
        check(&["0=1@0 of 1", "0=1@0 of 1"], Some(1));
        check(&["0=1@0 of 1", "0=1@1 of 1"], Some(1));
        check(&["0=1@0 of 2"], Some(0));
    }
}
