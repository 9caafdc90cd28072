//! A source that writes to a Kafka cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::producer::BaseProducer;

use super::client::Clients;
use super::fetch::Fetch;
use super::restore::{self, BARRIER};
use super::transaction::{Unfinished, Write, fence, transact};
use crate::record::now;
use crate::topic::{partition_in, topics::POSITIONS};
use crate::{Emit, Fault};

/// A source on a Kafka cluster. Its `transactional.id` is its id: who opens it later fences it.
pub struct KafkaSource {
    clients: Arc<Clients>,
    id: String,
    partition: u32,
    producer: BaseProducer,
}

impl KafkaSource {
    pub(super) fn open(
        clients: &Arc<Clients>,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(Self, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        let producer = clients.transactional(id)?;
        fence(&producer, id)?;
        let source = Self { clients: Arc::clone(clients), id: id.to_owned(), partition, producer };
        let nonce = restore::nonce(id);
        let positions = clients.topic(POSITIONS.name);
        let payload = Some(nonce.as_slice());
        let barrier = Write { topic: &positions, partition, key: BARRIER, payload, timestamp: now(), headers: &[] };
        source.transact(std::iter::once(barrier))?;
        let mut fetch = Fetch::new(clients, id)?;
        let mut found = BTreeMap::new();
        restore::replay(
            clients,
            &mut fetch,
            POSITIONS.name,
            partition,
            &nonce,
            || Ok(()),
            |record| {
                if record.key.starts_with(prefix) {
                    match record.payload {
                        Some(value) => drop(found.insert(record.key.into(), value.into())),
                        None => drop(found.remove(record.key.as_ref())),
                    }
                }
            },
        )?;
        Ok((source, found))
    }

    pub(crate) fn commit(&mut self, records: &[Emit], positions: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        let topic_of_positions = self.clients.topic(POSITIONS.name);
        let mut topics: Vec<(&'static str, String)> = Vec::new();
        for record in records {
            if !topics.iter().any(|(name, _)| *name == record.topic) {
                topics.push((record.topic, self.clients.topic(record.topic)));
            }
        }
        let full = |topic: &str| topics.iter().find(|(name, _)| *name == topic).map_or("", |(_, full)| full);
        let emits = records.iter().map(|emit| Write {
            topic: full(emit.topic),
            partition: partition_in(emit.topic, self.partition),
            key: &emit.key,
            payload: emit.payload.as_deref(),
            timestamp: emit.timestamp,
            headers: &emit.headers,
        });
        let newest = records.iter().map(|emit| emit.timestamp).max().unwrap_or_else(now);
        let positions = positions.iter().map(|(key, value)| Write {
            topic: &topic_of_positions,
            partition: self.partition,
            key,
            payload: Some(value),
            timestamp: newest,
            headers: &[],
        });
        self.transact(emits.chain(positions))
    }

    fn transact<'w>(&self, writes: impl Iterator<Item = Write<'w>>) -> Result<(), Fault> {
        transact(&self.producer, &self.id, writes, None).map_err(|unfinished| match unfinished {
            Unfinished::Aborted(error) => Fault::retry(format!("committing {}", self.id), error),
            Unfinished::Lost(fault) => fault,
        })
    }
}
