//! Reads partitions without a group: exactly from where it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::DEADLINE;
use super::client::{Clients, Consumer, fault, number};
use super::trouble::Context;
use crate::record::header;
use crate::{Fault, Headers, Record};

/// After that time without a record the client is not believed that there is none.
const SILENCE: Duration = Duration::from_secs(10);
/// Room for keys and payloads is taken in pieces of that many bytes: a piece per record would cost more than its copy.
const ROOM: usize = 256 * 1024;
/// How long to wait for the end of a partition when that is asked.
const ASK: Duration = Duration::from_secs(5);
/// The same, when the answer is for a metric only.
const GLANCE: Duration = Duration::from_millis(250);

/// A consumer with an assignment.
///
/// librdkafka can stop fetching a partition for good after its broker restarted, without an error. So a silent partition
/// is compared with its end from time to time, and the client is replaced when it should have had something.
pub(super) struct Fetch {
    pub(super) consumer: Consumer,
    config: ClientConfig,
    context: Context,
    /// The topic, without and with prefix.
    topic: &'static str,
    full: String,
    partitions: BTreeMap<u32, Progress>,
    /// When the ends were looked at.
    looked: Instant,
    polls: u32,
    /// The last poll gave nothing.
    idle: bool,
    /// Room for keys and payloads of the next records.
    room: BytesMut,
}

/// How far a partition is read.
struct Progress {
    next: Offset,
    /// A record came since the ends were looked at.
    heard: bool,
    /// The client said that it is at the end, since the last record.
    at_end: bool,
    /// The end up to which there was nothing more for us: what is behind it are control records.
    nothing_until: i64,
}

/// What came.
pub(super) enum Fetched {
    Record(Record),
    /// The end of that partition, for now.
    End(u32),
    Nothing,
}

impl Fetch {
    /// A consumer whose committed offsets are those of `group`, with nothing assigned yet.
    pub(super) fn new(clients: &Clients, group: &str) -> Result<Self, Fault> {
        let config = clients.fetching(group);
        let consumer = clients.consumer(group)?;
        let context = clients.context(group);
        let (topic, full, partitions, room) = Default::default();
        Ok(Self {
            consumer,
            config,
            context,
            topic,
            full,
            partitions,
            looked: Instant::now(),
            polls: 0,
            idle: true,
            room,
        })
    }

    /// Reads `partitions` of `topic` from the given offsets on, and nothing else.
    pub(super) fn assign(
        &mut self,
        clients: &Clients,
        topic: &'static str,
        partitions: impl Iterator<Item = (u32, Offset)>,
    ) -> Result<(), Fault> {
        self.topic = topic;
        self.full = clients.topic(topic);
        self.partitions = partitions
            .map(|(partition, next)| (partition, Progress { next, heard: false, at_end: false, nothing_until: -1 }))
            .collect();
        // Without it the client asks for the topic's leader only with its next tick, up to a second later.
        let poll = || while self.consumer.poll(Duration::ZERO).is_some() {};
        let metadata =
            clients.metadata(self.consumer.client(), Some(&self.full), &format!("reading {}", self.full), poll)?;
        if let Some(found) = metadata.topics().iter().find(|found| found.error().is_none()) {
            clients.compare_spread(topic, found.partitions().len())?;
        }
        self.reassign()
    }

    /// Gives every committed record of a partition from `from` on to `apply`, as it is now.
    pub(super) fn read_to_end(
        &mut self,
        clients: &Clients,
        topic: &'static str,
        partition: u32,
        from: Offset,
        mut apply: impl FnMut(Record) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.assign(clients, topic, std::iter::once((partition, from)))?;
        let mut progress = Instant::now();
        loop {
            match self.poll(Duration::from_millis(100))? {
                Fetched::Record(record) => {
                    progress = Instant::now();
                    apply(record)?;
                }
                Fetched::End(_) => return Ok(()),
                Fetched::Nothing if progress.elapsed() > DEADLINE => {
                    return Err(Fault::retry(format!("reading {topic}/{partition}"), "the cluster does not answer"));
                }
                Fetched::Nothing => {}
            }
        }
    }

    fn reassign(&mut self) -> Result<(), Fault> {
        let what = || format!("reading {}", self.full);
        let mut list = TopicPartitionList::new();
        for (partition, progress) in &self.partitions {
            list.add_partition_offset(&self.full, number(*partition), progress.next)
                .map_err(|error| fault(what(), &error))?;
        }
        self.looked = Instant::now();
        self.consumer.assign(&list).map_err(|error| fault(what(), &error))
    }

    /// The next record. Errors that pass by themselves count as nothing.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<Fetched, Fault> {
        self.polls = self.polls.wrapping_add(1);
        // The clock is not asked for every record.
        if (self.idle || self.polls.is_multiple_of(1024)) && self.looked.elapsed() > SILENCE {
            self.look()?;
        }
        self.idle = false;
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                let record = record(self.topic, &message, &mut self.room);
                if let Some(progress) = self.partitions.get_mut(&record.partition) {
                    progress.next = Offset::Offset(record.offset + 1);
                    progress.at_end = false;
                    progress.heard = true;
                }
                Ok(Fetched::Record(record))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let partition = partition.try_into().unwrap_or_default();
                if let Some(progress) = self.partitions.get_mut(&partition) {
                    progress.at_end = true;
                }
                Ok(Fetched::End(partition))
            }
            Some(Err(error)) => match fault(format!("reading {}", self.full), &error) {
                Fault::Retry { .. } => {
                    tracing::trace!(%error, topic = self.full, "passing");
                    Ok(Fetched::Nothing)
                }
                fault => Err(fault),
            },
            None => {
                self.idle = true;
                Ok(Fetched::Nothing)
            }
        }
    }

    /// Offsets from the last record of `partition` that was read to its end; `None` when that is not known. Asks the broker,
    /// unless the end was reached.
    pub(super) fn behind(&self, partition: u32) -> Option<u64> {
        let progress = self.partitions.get(&partition)?;
        let Offset::Offset(next) = progress.next else { return None };
        if progress.at_end {
            return Some(0);
        }
        let (_, end) = self.consumer.fetch_watermarks(&self.full, number(partition), GLANCE).ok()?;
        if end == progress.nothing_until { Some(0) } else { u64::try_from(end - next).ok() }
    }

    /// Nothing more is known to be there to read. Asks the broker about partitions whose end was not reached.
    pub(super) fn is_at_end(&self) -> bool {
        self.partitions.keys().all(|partition| self.behind(*partition) == Some(0))
    }

    /// Replaces the client when a partition has records that it did not give.
    fn look(&mut self) -> Result<(), Fault> {
        self.looked = Instant::now();
        let mut missed = Vec::new();
        for (partition, progress) in &mut self.partitions {
            if std::mem::take(&mut progress.heard) {
                continue;
            }
            // Without an answer nothing is known: it is asked again.
            let Ok((_, end)) = self.consumer.fetch_watermarks(&self.full, number(*partition), ASK) else {
                return Ok(());
            };
            let behind = match progress.next {
                Offset::Offset(next) => end > next,
                _ => end > 0,
            };
            if behind && !progress.at_end && end != progress.nothing_until {
                missed.push(*partition);
            }
            progress.at_end = false;
            progress.nothing_until = end;
        }
        if missed.is_empty() {
            return Ok(());
        }
        tracing::warn!(topic = self.full, ?missed, "the client stands still behind the end: it is replaced");
        self.consumer = self
            .config
            .create_with_context(self.context.clone())
            .map_err(|error| fault(format!("reading {}", self.full), &error))?;
        self.reassign()
    }
}

fn record(topic: &'static str, message: &BorrowedMessage<'_>, room: &mut BytesMut) -> Record {
    let headers = message.headers().map_or_else(Headers::new, |headers| {
        headers.iter().map(|found| header(found.key, found.value.unwrap_or_default())).collect()
    });
    let mut copy = |bytes: &[u8]| -> Bytes {
        if room.capacity() < bytes.len() {
            *room = BytesMut::with_capacity(ROOM.max(bytes.len()));
        }
        room.extend_from_slice(bytes);
        room.split().freeze()
    };
    Record {
        topic,
        partition: message.partition().try_into().unwrap_or_default(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
        key: message.key().map(&mut copy).unwrap_or_default(),
        payload: message.payload().map(copy),
        headers,
    }
}
