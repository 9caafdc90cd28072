//! Reads partitions without a group: exactly from where it is told.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::client::{Clients, fault, number};
use crate::{Fault, Headers, Record};

/// A consumer with an assignment.
pub(super) struct Fetch {
    pub(super) consumer: BaseConsumer,
    /// The topic, without prefix.
    topic: String,
}

/// What came.
pub(super) enum Fetched {
    Record(Record),
    /// The end of that partition, for now; only when the client reports it.
    End(u32),
    Nothing,
}

impl Fetch {
    /// A consumer whose committed offsets are those of `group`, with nothing assigned yet.
    pub(super) fn new(clients: &Clients, group: &str) -> Result<Self, Fault> {
        Ok(Self { consumer: clients.consumer(group)?, topic: String::new() })
    }

    /// Reads `partitions` of `topic` from the given offsets on, and nothing else.
    pub(super) fn assign(
        &mut self,
        clients: &Clients,
        topic: &str,
        partitions: impl Iterator<Item = (u32, Offset)>,
    ) -> Result<(), Fault> {
        let full = clients.topic(topic);
        let what = || format!("reading {full}");
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            list.add_partition_offset(&full, number(partition), offset).map_err(|error| fault(what(), &error))?;
        }
        self.topic = topic.to_owned();
        self.consumer.assign(&list).map_err(|error| fault(what(), &error))
    }

    /// The next record. Errors that pass by themselves count as nothing.
    pub(super) fn poll(&self, wait: Duration) -> Result<Fetched, Fault> {
        match self.consumer.poll(wait) {
            None => Ok(Fetched::Nothing),
            Some(Ok(message)) => Ok(Fetched::Record(record(&self.topic, &message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                Ok(Fetched::End(partition.try_into().unwrap_or_default()))
            }
            Some(Err(error)) => match fault(format!("reading {}", self.topic), &error) {
                Fault::Retry { .. } => {
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
                        tracing::trace!(%error, topic = self.topic, "passing");
                    }
                    Ok(Fetched::Nothing)
                }
                fault => Err(fault),
            },
        }
    }
}

fn record(topic: &str, message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Headers::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
    });
    Record {
        topic: topic.to_owned(),
        partition: message.partition().try_into().unwrap_or_default(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
        key: message.key().unwrap_or_default().to_vec(),
        payload: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}
