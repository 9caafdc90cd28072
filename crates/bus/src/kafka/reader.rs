//! Reads a topic of a Kafka cluster without a group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::DEADLINE;
use super::client::{Clients, fault, number};
use super::fetch::{Fetch, Fetched};
use super::restore::{self, BARRIER};
use crate::topic::count;
use crate::{Fault, Record, Start};

/// A reader of a Kafka cluster.
pub struct KafkaReader {
    clients: Arc<Clients>,
    fetch: Fetch,
    topic: &'static str,
    commits: bool,
    /// The offset after the last record that was given out, by partition, since the last commit.
    given: BTreeMap<u32, i64>,
}

impl KafkaReader {
    pub(super) fn open(
        clients: &Arc<Clients>,
        topic: &'static str,
        partitions: &[u32],
        start: Start,
    ) -> Result<Self, Fault> {
        let (name, commits) = match &start {
            Start::Committed(name) => (name.as_str(), true),
            Start::Earliest | Start::Latest => ("reader", false),
        };
        let mut fetch = Fetch::new(clients, name)?;
        let mut from = Vec::new();
        for partition in partitions {
            let offset = match &start {
                Start::Earliest => Offset::Beginning,
                Start::Latest => {
                    Offset::Offset(clients.watermarks(&fetch.consumer, &clients.topic(topic), *partition)?.1)
                }
                Start::Committed(_) => Offset::Offset(restore::committed(clients, &fetch, topic, *partition)?),
            };
            from.push((*partition, offset));
        }
        fetch.assign(clients, topic, from.into_iter())?;
        Ok(Self { clients: Arc::clone(clients), fetch, topic, commits, given: BTreeMap::new() })
    }

    pub(crate) fn next(&mut self, wait: Duration) -> Result<Option<Record>, Fault> {
        let deadline = Instant::now() + wait;
        loop {
            match self.fetch.poll(deadline.saturating_duration_since(Instant::now()))? {
                Fetched::Record(record) => {
                    self.given.insert(record.partition, record.offset + 1);
                    if record.key != BARRIER {
                        return Ok(Some(record));
                    }
                }
                Fetched::End(_) | Fetched::Nothing => {}
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        if !self.commits || self.given.is_empty() {
            return Ok(());
        }
        let what = || format!("committing the position in {}", self.topic);
        let full = self.clients.topic(self.topic);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &self.given {
            list.add_partition_offset(&full, number(*partition), Offset::Offset(*offset))
                .map_err(|error| fault(what(), &error))?;
        }
        self.fetch.consumer.commit(&list, CommitMode::Sync).map_err(|error| fault(what(), &error))?;
        self.given.clear();
        Ok(())
    }
}

/// The newest value of each key of a compacted topic, as it is now.
pub(super) fn table(clients: &Clients, topic: &'static str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Fault> {
    let mut fetch = Fetch::new(clients, "table")?;
    let all = 0..count(topic, clients.config.partitions);
    let mut open: BTreeSet<u32> = all.clone().collect();
    fetch.assign(clients, topic, all.map(|partition| (partition, Offset::Beginning)))?;
    let mut table = BTreeMap::new();
    let mut progress = Instant::now();
    while !open.is_empty() {
        match fetch.poll(Duration::from_millis(100))? {
            Fetched::Record(record) => {
                progress = Instant::now();
                match record.payload {
                    _ if record.key == BARRIER => {}
                    Some(value) => drop(table.insert(record.key.into(), value.into())),
                    None => drop(table.remove(record.key.as_ref())),
                }
            }
            Fetched::End(partition) => drop(open.remove(&partition)),
            Fetched::Nothing if progress.elapsed() > DEADLINE => {
                return Err(Fault::retry(format!("reading the table {topic}"), "the cluster does not answer"));
            }
            Fetched::Nothing => {}
        }
    }
    Ok(table)
}
