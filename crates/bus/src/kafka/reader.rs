//! Reads a topic of a Kafka cluster without a group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::DEADLINE;
use super::client::{Clients, fault, number};
use super::fetch::{Fetch, Fetched};
use super::lineage::{Before, is_behind};
use super::restore;
use crate::bookmark::{Bookmark, Witness};
use crate::loss::Damage;
use crate::topic::{count, is_compacted};
use crate::{Fault, Record, Start};

/// How long to wait for a record before looking whether there is one to wait for: a transaction ends for readers a moment after it did
/// for who wrote it.
const GLANCE: Duration = Duration::from_millis(10);
/// A record that is there comes within that.
const LATE: Duration = Duration::from_millis(500);

/// A reader of a Kafka cluster.
pub struct KafkaReader {
    clients: Arc<Clients>,
    fetch: Fetch,
    topic: &'static str,
    commits: bool,
    /// The offset after the last record that was given out, and that record, by partition, since the last commit.
    given: BTreeMap<u32, (i64, Witness)>,
    lost: BTreeMap<u32, Damage>,
}

impl KafkaReader {
    pub(super) fn open(
        clients: &Arc<Clients>,
        topic: &'static str,
        partitions: &[u32],
        start: Start,
    ) -> Result<Self, Fault> {
        let (name, commits) = match &start {
            Start::Committed(name) | Start::At(name, _) => (name.as_str(), true),
            Start::Earliest | Start::Latest => ("reader", false),
        };
        let mut fetch = Fetch::new(clients, name)?;
        let (mut from, mut lost) = (Vec::new(), BTreeMap::new());
        for partition in partitions {
            let offset = match &start {
                Start::Earliest => Offset::Beginning,
                Start::Latest => {
                    Offset::Offset(clients.watermarks(fetch.client(), &clients.topic(topic), *partition)?.1)
                }
                Start::Committed(_) | Start::At(..) => {
                    let bookmark = match &start {
                        Start::At(_, bookmarks) => bookmarks.get(partition).copied(),
                        _ => bookmark(clients, &fetch, topic, *partition)?,
                    };
                    match resume(clients, &mut fetch, topic, *partition, bookmark)? {
                        Ok(offset) => Offset::Offset(offset),
                        Err(damage) => {
                            tracing::error!(reader = name, partition, %damage, "it is read again from its beginning");
                            lost.insert(*partition, damage);
                            Offset::Beginning
                        }
                    }
                }
            };
            from.push((*partition, offset));
        }
        fetch.assign(clients, topic, from.into_iter())?;
        Ok(Self { clients: Arc::clone(clients), fetch, topic, commits, given: BTreeMap::new(), lost })
    }

    pub(crate) fn lost(&self) -> &BTreeMap<u32, Damage> {
        &self.lost
    }

    pub(crate) fn next(&mut self, wait: Duration) -> Result<Option<Record>, Fault> {
        let deadline = Instant::now() + wait;
        loop {
            match self.fetch.poll(deadline.saturating_duration_since(Instant::now()))? {
                Fetched::Record(record) => {
                    if restore::is_own(&record.key) {
                        continue;
                    }
                    self.given.insert(record.partition, (record.offset + 1, Witness::of(&record)));
                    return Ok(Some(record));
                }
                Fetched::End(_) | Fetched::Nothing => {}
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    pub(crate) fn read_on(&mut self, deadline: Instant, take: &mut dyn FnMut(Record) -> bool) -> Result<bool, Fault> {
        let settled = Instant::now() + GLANCE;
        let mut bound: Option<(BTreeMap<u32, i64>, Instant)> = None;
        while Instant::now() < deadline {
            if bound.is_none() && Instant::now() > settled {
                bound = self.fetch.ends().map(|ends| (ends, Instant::now() + LATE));
            }
            if let Some((ends, late)) = &mut bound {
                let late = Instant::now() > *late;
                ends.retain(|partition, end| !self.fetch.has_read(*partition, *end, late));
                if ends.is_empty() {
                    return Ok(true);
                }
            }
            if let Some(record) = self.next(GLANCE)?
                && !take(record)
            {
                return Ok(false);
            }
        }
        Ok(false)
    }

    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        if !self.commits || self.given.is_empty() {
            return Ok(());
        }
        let what = || format!("committing the position in {}", self.topic);
        let full = self.clients.topic(self.topic);
        let mut list = TopicPartitionList::new();
        for (partition, (offset, last)) in &self.given {
            let mut element = list.add_partition(&full, number(*partition));
            element.set_offset(Offset::Offset(*offset)).map_err(|error| fault(what(), &error))?;
            element.set_metadata(last.to_string());
        }
        self.fetch.consumer.commit(&list, CommitMode::Sync).map_err(|error| fault(what(), &error))?;
        self.given.clear();
        Ok(())
    }
}

/// What the group of `fetch` committed.
fn bookmark(clients: &Clients, fetch: &Fetch, topic: &str, partition: u32) -> Result<Option<Bookmark>, Fault> {
    let committed = restore::offset_of(clients, fetch, topic, partition)?;
    Ok(committed.map(|(next, beside)| Bookmark { next, last: Witness::parse(&beside) }))
}

/// Where a reader goes on that has come to `bookmark`, or why it cannot. Of a compacted topic the last record that was read may be gone:
/// there only the ends tell.
fn resume(
    clients: &Clients,
    fetch: &mut Fetch,
    topic: &'static str,
    partition: u32,
    bookmark: Option<Bookmark>,
) -> Result<Result<i64, Damage>, Fault> {
    let full = clients.topic(topic);
    let (begin, end) = clients.watermarks(fetch.client(), &full, partition)?;
    let Some(Bookmark { next: offset, last }) = bookmark else { return Ok(Ok(begin)) };
    let full = format!("{full}/{partition}");
    if end < offset {
        return Ok(Err(Damage::InputCut { topic: full, offset, end }));
    }
    if offset < begin {
        return Ok(Err(Damage::InputExpired { topic: full, offset, begin }));
    }
    if let Some(last) = last.filter(|_| begin < offset) {
        fetch.assign(clients, topic, std::iter::once((partition, Offset::Offset(offset - 1))))?;
        let same = match is_behind(fetch, offset, last)? {
            Before::Same => true,
            Before::Other => false,
            Before::None => is_compacted(topic),
        };
        if !same {
            return Ok(Err(Damage::InputOther { topic: full, offset }));
        }
    }
    Ok(Ok(offset))
}

/// The offsets of the oldest record of a partition and after its newest.
pub(super) fn bounds(clients: &Clients, topic: &'static str, partition: u32) -> Result<(i64, i64), Fault> {
    let fetch = Fetch::new(clients, "reader")?;
    clients.watermarks(fetch.client(), &clients.topic(topic), partition)
}

/// The newest value of each key of a compacted topic that is `wanted`, as it is now.
pub(super) fn rows(
    clients: &Clients,
    topic: &'static str,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Fault> {
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
                    _ if restore::is_own(&record.key) || !wanted(&record.key) => {}
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
