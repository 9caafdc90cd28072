//! The kernel on a real broker with a processor that passes records on, against the bare loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use epicenter_bus::{Bus, KafkaConfig, Processor, ProcessorSpec, Put, Record, Reject, State, Step, Stop};
use epicenter_tests::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::bare;
use crate::report::{Report, median, thousands};

const PARTITIONS: u32 = 4;
const RECORDS: u64 = 4_500_000;
const PAIRS: usize = 5;
/// Bytes of a record's payload.
pub const PAYLOAD: usize = 500;

/// Passes every record on.
pub struct PassThrough {
    pub progress: Arc<Progress>,
}

/// How far a run is.
#[derive(Default)]
pub struct Progress {
    began: OnceLock<Instant>,
    records: AtomicU64,
}

impl Processor for PassThrough {
    fn restore(&mut self, _: &State) -> Result<(), Reject> {
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        self.progress.began.get_or_init(Instant::now);
        step.emit("out", record.key.clone(), record.payload.clone().unwrap_or_default(), vec![]);
        self.progress.records.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self, _: &mut Put<'_>) {}
}

/// Runs a pass-through named `name` until it has taken `count` records and committed them; gives records per second.
pub fn pass_through(bus: &Bus, name: &str, count: u64) -> anyhow::Result<f64> {
    let spec = ProcessorSpec { name: name.to_owned(), input: "in", stores: vec![], outputs: vec!["out"] };
    let progress = Arc::new(Progress::default());
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let running =
            scope.spawn(|| bus.run(&spec, || PassThrough { progress: Arc::clone(&progress) }, &|_, _, _| {}, &stop));
        while progress.records.load(Ordering::Relaxed) < count && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let taken = Instant::now();
        // The stop waits for the commit of what was taken.
        stop.request();
        running.join().expect("the kernel does not panic")?;
        let began = *progress.began.get().expect("it has taken records");
        // Leaving the group is no part of it, and takes as long as the last commit at most.
        let elapsed = (taken - began) + taken.elapsed().min(Duration::from_millis(100));
        Ok(count as f64 / elapsed.as_secs_f64())
    })
}

/// Measures, and adds the table.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    let kafka = Kafka::start()?;
    let bootstrap = kafka.bootstrap();
    create_topics(&bootstrap)?;
    fill(&bootstrap)?;
    let mut config = KafkaConfig::new(&bootstrap);
    config.prefix = "bench.".to_owned();
    config.partitions = PARTITIONS;
    let bus = Bus::kafka(config)?;
    let (mut kernel, mut bare) = (vec![], vec![]);
    for pair in 0..=PAIRS {
        let with = pass_through(&bus, &format!("kernel-{pair}"), RECORDS)?;
        let without = bare::copy(&bootstrap, "bench.in", "bench.bare", PARTITIONS, RECORDS)?;
        println!(
            "{} kernel {}/s, bare {}/s",
            if pair == 0 { "warm-up:" } else { "pair:" },
            thousands(with),
            thousands(without)
        );
        if pair > 0 {
            kernel.push(with);
            bare.push(without);
        }
    }
    let ratio = median(kernel.iter().zip(&bare).map(|(with, without)| with / without).collect());
    let body = format!(
        "{RECORDS} records of {PAYLOAD} bytes, {PARTITIONS} partitions, acks=all, lz4, one broker on the same machine; medians \
         of {PAIRS} interleaved pairs.\n\n| | records/s |\n|---|---|\n| bare rdkafka loop, no transactions | {} |\n| kernel, \
         exactly once, pass-through | {} |\n| **ratio** | **{ratio:.2}** |",
        thousands(median(bare)),
        thousands(median(kernel)),
    );
    report.section("Kernel on Kafka", &body);
    Ok(())
}

fn create_topics(bootstrap: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let topics = ["bench.in", "bench.out", "bench.bare", "bench.dead-letter"]
        .map(|topic| NewTopic::new(topic, PARTITIONS as i32, TopicReplication::Fixed(1)));
    for outcome in futures::executor::block_on(admin.create_topics(&topics, &AdminOptions::new()))? {
        outcome.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    Ok(())
}

/// A payload that compresses about as well as an Event does.
pub fn payload(n: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAYLOAD);
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < PAYLOAD {
        x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(format!("{:08x} Back-off restarting failed container ", (x >> 33) as u32).as_bytes());
    }
    bytes.truncate(PAYLOAD);
    bytes
}

fn fill(bootstrap: &str) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .create()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as i64;
    for n in 0..RECORDS {
        let (key, payload) = (n.to_be_bytes(), payload(n));
        let partition = (n % u64::from(PARTITIONS)) as i32;
        let mut record = BaseRecord::to("bench.in").partition(partition).key(&key).payload(&payload).timestamp(now);
        while let Err((error, refused)) = producer.send(record) {
            anyhow::ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), error);
            producer.poll(Duration::from_millis(5));
            record = refused;
        }
    }
    Ok(producer.flush(Duration::from_secs(120))?)
}
