//! What the machine can do without a kernel: consume, produce, nothing else. No transactions, no state, no offsets.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// Copies `count` records from one topic to the other, partition by partition; gives records per second.
pub fn copy(bootstrap: &str, from: &str, to: &str, partitions: u32, count: u64) -> anyhow::Result<f64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("batch.size", "4128768")
        .set("message.max.bytes", "4194304")
        .set("batch.num.messages", "100000")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(from, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut began = None;
    let mut copied = 0;
    while copied < count {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        began.get_or_insert_with(Instant::now);
        let mut record = BaseRecord::to(to)
            .partition(message.partition())
            .key(message.key().unwrap_or_default())
            .payload(message.payload().unwrap_or_default());
        while let Err((error, refused)) = producer.send(record) {
            anyhow::ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), error);
            producer.poll(Duration::from_millis(1));
            record = refused;
        }
        copied += 1;
        if copied % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(count as f64 / began.map_or(f64::NAN, |began| began.elapsed().as_secs_f64()))
}
