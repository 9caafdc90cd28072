//! A source that writes to a Kafka cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::{Clients, Producer};
use super::fetch::Fetch;
use super::restore::{self, BARRIER};
use super::transaction::{Unfinished, Write, fence, transact};
use crate::record::now;
use crate::topic::partition_in;
use crate::{Emit, Fault, Row};

/// A source on a Kafka cluster. Its `transactional.id` is its id: who opens it later fences it.
pub struct KafkaSource {
    clients: Arc<Clients>,
    table: &'static str,
    id: String,
    partition: u32,
    producer: Producer,
}

impl KafkaSource {
    pub(super) fn open(
        clients: &Arc<Clients>,
        table: &'static str,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(Self, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        let producer = clients.transactional(id)?;
        fence(clients, &producer, id)?;
        let source = Self { clients: Arc::clone(clients), table, id: id.to_owned(), partition, producer };
        let nonce = restore::nonce(id);
        let full = clients.topic(table);
        let at = partition_in(table, partition);
        let payload = Some(nonce.as_slice());
        let barrier = Write { topic: &full, partition: at, key: BARRIER, payload, timestamp: now(), headers: &[] };
        source.transact(std::iter::once(barrier))?;
        let mut fetch = Fetch::new(clients, id)?;
        let mut found = BTreeMap::new();
        restore::replay(
            clients,
            &mut fetch,
            table,
            at,
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

    pub(crate) fn commit(&mut self, records: &[Emit], rows: &[Row<'_>]) -> Result<(), Fault> {
        let table = self.clients.topic(self.table);
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
        let rows = rows.iter().map(|(key, value)| Write {
            topic: &table,
            partition: partition_in(self.table, self.partition),
            key,
            payload: *value,
            timestamp: newest,
            headers: &[],
        });
        self.transact(emits.chain(rows))
    }

    fn transact<'w>(&self, writes: impl Iterator<Item = Write<'w>>) -> Result<(), Fault> {
        transact(&self.producer, &self.id, writes, None).map_err(|unfinished| match unfinished {
            Unfinished::Aborted(error) => Fault::retry(format!("committing {}", self.id), error),
            Unfinished::Lost(fault) => fault,
        })?;
        self.clients.trouble.connected();
        Ok(())
    }
}
