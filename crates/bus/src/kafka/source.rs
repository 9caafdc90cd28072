//! A source that writes to a Kafka cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::Offset;

use super::client::{Clients, Producer, SPREAD};
use super::fetch::Fetch;
use super::lineage::Standing;
use super::origin::{self, HEARD, ORIGIN, Origin};
use super::partition::{arriving, moved};
use super::restore::{self, BARRIER};
use super::transaction::{Write, fence, transact};
use crate::record::now;
use crate::topic::partition_in;
use crate::topic::topics::{DEAD_LETTER, EVENTS_RAW, POSITIONS};
use crate::{Emit, Fault, Row};

/// A source on a Kafka cluster. Its `transactional.id` is its id: who opens it later fences it.
pub struct KafkaSource {
    clients: Arc<Clients>,
    table: &'static str,
    id: String,
    partition: u32,
    producer: Producer,
    /// Until when its positions were good that are lost, ms since the epoch.
    lost: Option<i64>,
    /// The row that says that it has heard so, until it is written.
    heard: Option<(Vec<u8>, Vec<u8>)>,
}

/// Of the sources of a kind that keep no positions, so many are known in a partition.
const KNOWN: usize = 32;
/// So many are forgotten by each that opens: more than come with it.
const FORGOTTEN: usize = 4;

impl KafkaSource {
    /// `prefix` begins the keys of its positions; a source without one keeps none.
    pub(super) fn open(
        clients: &Arc<Clients>,
        table: &'static str,
        id: &str,
        partition: u32,
        prefix: Option<&[u8]>,
    ) -> Result<(Self, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        let producer = clients.transactional(id)?;
        fence(clients, &producer, id)?;
        let (lost, heard) = (None, None);
        let mut source =
            Self { clients: Arc::clone(clients), table, id: id.to_owned(), partition, producer, lost, heard };
        let nonce = restore::nonce(id);
        let full = clients.topic(table);
        let at = partition_in(table, partition);
        let payload = Some(nonce.as_slice());
        let barrier = Write { topic: &full, partition: at, key: BARRIER, payload, timestamp: now(), headers: &[] };
        source.transact(std::iter::once(barrier))?;
        let mut fetch = Fetch::new(clients, id)?;
        let topics = [table, DEAD_LETTER.name].into_iter().chain((table == POSITIONS.name).then_some(EVENTS_RAW.name));
        clients.check_spread(fetch.client(), topics)?;
        let mut found = BTreeMap::new();
        let (mut origin, mut heard) = (None, None);
        let own = [HEARD, id.as_bytes()].concat();
        // Those of its kind, by key, with the offset at which each came.
        let kind = [HEARD, id.split_inclusive('.').next().unwrap_or(id).as_bytes()].concat();
        let mut alike: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        fetch.assign(clients, table, std::iter::once((at, Offset::Beginning)))?;
        restore::replay(
            &mut fetch,
            &nonce,
            || Ok(()),
            |record| {
                if record.key == ORIGIN {
                    origin = record.payload.as_deref().and_then(Origin::decode);
                } else if record.key == own {
                    heard = record.payload;
                } else if prefix.is_none() && record.key.starts_with(&kind) {
                    match record.payload {
                        Some(_) => drop(alike.insert(record.key.into(), record.offset)),
                        None => drop(alike.remove(record.key.as_ref())),
                    }
                } else if prefix.is_some_and(|prefix| record.key.starts_with(prefix)) && !restore::is_own(&record.key) {
                    match record.payload {
                        Some(value) => drop(found.insert(record.key.into(), value.into())),
                        None => drop(found.remove(record.key.as_ref())),
                    }
                }
            },
        )?;
        match origin.as_ref().map(|origin| &origin.standing) {
            Some(Standing::Moved(to)) => return Err(moved(format!("opening {id}"), to)),
            Some(Standing::Arriving) => return Err(arriving(format!("opening {id}"))),
            _ => {}
        }
        if table == POSITIONS.name {
            source.examine(&fetch, origin, heard.as_deref(), &nonce, own)?;
        }
        source.forget(alike);
        Ok((source, found))
    }

    /// Forgets those of its kind that came the longest ago, when there are too many: what is kept of each serves to fence it
    /// when the installation moves, so it is fenced first. Its own producer then takes its row away, which fails when it is there again. One
    /// that is still there opens itself again, and is known again.
    fn forget(&self, alike: BTreeMap<Vec<u8>, i64>) {
        let mut oldest: Vec<_> = alike.into_iter().map(|(key, offset)| (offset, key)).collect();
        oldest.sort_unstable();
        oldest.truncate(oldest.len().saturating_sub(KNOWN).min(FORGOTTEN));
        let table = self.clients.topic(self.table);
        for (_, key) in oldest {
            let Some(id) = key.strip_prefix(HEARD).and_then(|id| std::str::from_utf8(id).ok()) else { continue };
            let row = Write {
                topic: &table,
                partition: partition_in(self.table, self.partition),
                key: &key,
                payload: None,
                timestamp: now(),
                headers: &[],
            };
            let forgotten = self.clients.transactional(id).and_then(|producer| {
                fence(&self.clients, &producer, id)?;
                transact(&producer, id, std::iter::once(row), None)
                    .map_err(|unfinished| unfinished.into_fault(format!("forgetting {id}")))
            });
            // The next one that opens tries it again.
            if let Err(fault) = forgotten {
                tracing::debug!(id, %fault, "it is not forgotten");
            }
        }
    }

    /// Finds out whether the positions are all there.
    fn examine(
        &mut self,
        fetch: &Fetch,
        origin: Option<Origin>,
        heard: Option<&[u8]>,
        nonce: &[u8],
        own: Vec<u8>,
    ) -> Result<(), Fault> {
        let origin = match origin {
            Some(origin) => origin,
            None => {
                let origin = Origin::found(&self.clients, fetch, self.partition, nonce)?;
                if let Some(until) = origin.lost {
                    let (table, partition) = (self.table, self.partition);
                    tracing::error!(
                        table,
                        partition,
                        until,
                        "positions are lost: their clusters are listed anew, with a gap"
                    );
                }
                let table = self.clients.topic(self.table);
                let (partition, payload) = (self.partition, origin.encode());
                let payload = Some(payload.as_slice());
                let row = Write { topic: &table, partition, key: ORIGIN, payload, timestamp: now(), headers: &[] };
                self.transact(std::iter::once(row))?;
                origin
            }
        };
        let own_partitions = self.clients.config.partitions;
        if origin.partitions != own_partitions {
            let why = format!(
                "the installation has {} partitions, and bus.kafka.partitions is {own_partitions}",
                origin.partitions
            );
            return Err(Fault::fatal(format!("opening {}", self.id), why, SPREAD));
        }
        if origin.lost.is_some() {
            self.lost = origin.lost_to(heard, origin::ends(&self.clients, fetch, self.partition)?.0);
        }
        self.heard = (heard != Some(&origin.nonce)).then_some((own, origin.nonce));
        Ok(())
    }

    pub(crate) fn lost(&self) -> Option<i64> {
        self.lost
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
        let heard = self.heard.as_ref().map(|(key, nonce)| Write {
            topic: &table,
            partition: partition_in(self.table, self.partition),
            key,
            payload: Some(nonce),
            timestamp: newest,
            headers: &[],
        });
        self.transact(emits.chain(rows).chain(heard))?;
        self.heard = None;
        Ok(())
    }

    fn transact<'w>(&self, writes: impl Iterator<Item = Write<'w>>) -> Result<(), Fault> {
        transact(&self.producer, &self.id, writes, None)
            .map_err(|unfinished| unfinished.into_fault(format!("committing {}", self.id)))?;
        self.clients.trouble.connected();
        Ok(())
    }
}
