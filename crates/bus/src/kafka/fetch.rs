//! Reads partitions without a group: exactly from where it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdkafka::client::Client;
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
/// So long it has to give what is there by then, or to say that it is at the end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Room for keys and payloads is taken in pieces of that many bytes: a piece per record would cost more than its copy.
const ROOM: usize = 256 * 1024;
/// How long to wait for the end of a partition when that is asked.
const ASK: Duration = Duration::from_secs(5);
/// The same, when the answer is for a metric only.
const GLANCE: Duration = Duration::from_millis(250);

/// A consumer with an assignment.
///
/// librdkafka can stop fetching a partition for good after its broker restarted, without an error. So a silent partition
/// is compared with its end from time to time. When that is further, the client is told to read on from where it is: it gives
/// what is there, or says that it is at the end; when it does neither, it is replaced.
pub(super) struct Fetch {
    pub(super) consumer: Consumer,
    config: ClientConfig,
    context: Context,
    /// Topics whose leaders the client knows.
    met: BTreeSet<&'static str>,
    /// The topic, without and with prefix.
    topic: &'static str,
    full: String,
    partitions: BTreeMap<u32, Progress>,
    /// When the ends are looked at again.
    look_at: Instant,
    polls: u32,
    /// The last poll gave nothing.
    idle: bool,
    /// Room for keys and payloads of the next records.
    room: BytesMut,
}

/// How far a partition is read.
struct Progress {
    next: Offset,
    /// A record came since its end was looked at.
    heard: bool,
    /// The client said that it is at the end, since the last record and since its end was looked at.
    at_end: bool,
    /// Its end when it was looked at, while nothing was heard.
    end: Option<i64>,
    /// The end up to which there was nothing more for us: what is before it are control records.
    nothing_until: i64,
}

/// What an end says of a partition of which nothing was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All is read.
    Read,
    /// There is something that the client did not give yet.
    Behind,
    /// There was already when its end was looked at before.
    Missed,
}

impl Progress {
    fn from(next: Offset) -> Self {
        Self { next, heard: false, at_end: false, end: None, nothing_until: -1 }
    }

    fn take(&mut self, offset: i64) {
        self.next = Offset::Offset(offset + 1);
        self.at_end = false;
        self.heard = true;
    }

    /// Where it is: what is before is given, or known to be no record.
    fn read(&self) -> i64 {
        match self.next {
            Offset::Offset(next) => next.max(self.nothing_until),
            _ => self.nothing_until.max(0),
        }
    }

    /// Nothing is to come any more of what is before `end`. Transactions end with a mark that is no record, and that is all that is
    /// between two ends at one offset's distance. What else is there the client had time to give when it is `late`.
    fn has_read(&self, end: i64, late: bool) -> bool {
        let left = end - self.read();
        left <= 0 || self.at_end && (left == 1 || late)
    }

    /// Takes in that nothing was heard since the last time, and that the partition ends at `end` now. That the client said that it is at
    /// the end holds for the end that was known when it was told to read on; it may have stopped right after it said so.
    fn look(&mut self, end: i64) -> Verdict {
        let before = self.end.replace(end);
        if std::mem::take(&mut self.at_end) {
            self.nothing_until = self.nothing_until.max(before.unwrap_or(-1));
        }
        let read = self.read();
        match before {
            Some(before) if before > read => Verdict::Missed,
            _ if end > read => Verdict::Behind,
            _ => Verdict::Read,
        }
    }
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
        let (met, topic, full, partitions, room) = Default::default();
        Ok(Self {
            consumer,
            config,
            context,
            met,
            topic,
            full,
            partitions,
            look_at: Instant::now() + SILENCE,
            polls: 0,
            idle: true,
            room,
        })
    }

    /// With which what is beside the reading is asked.
    pub(super) fn client(&self) -> &Client<Context> {
        self.consumer.client()
    }

    /// The topic that it reads, with prefix.
    pub(super) fn topic(&self) -> &str {
        &self.full
    }

    /// Asks for the leaders of a topic's partitions, once. Otherwise the client does so only with its next tick, up to a second after it is
    /// told to read; and when it reads something else by then, the question waits for that, up to `fetch.wait.max.ms`: brokers
    /// answer the requests of a connection one after the other. What comes meanwhile of what it reads is lost: it is for before it reads.
    pub(super) fn meet(&mut self, clients: &Clients, topic: &'static str) -> Result<(), Fault> {
        if self.met.contains(topic) {
            return Ok(());
        }
        let full = clients.topic(topic);
        let poll = || while self.consumer.poll(Duration::ZERO).is_some() {};
        let metadata = clients.metadata(self.consumer.client(), Some(&full), &format!("reading {full}"), poll)?;
        if let Some(found) = metadata.topics().iter().find(|found| found.error().is_none()) {
            clients.compare_spread(topic, found.partitions().len())?;
            self.met.insert(topic);
        }
        Ok(())
    }

    /// Reads `partitions` of `topic` from the given offsets on, and nothing else. Costs nothing where it is there already; otherwise the
    /// first record comes up to `fetch.wait.max.ms` later than it could, since what was read before is waited for.
    pub(super) fn assign(
        &mut self,
        clients: &Clients,
        topic: &'static str,
        partitions: impl Iterator<Item = (u32, Offset)>,
    ) -> Result<(), Fault> {
        let partitions: BTreeMap<_, _> =
            partitions.map(|(partition, next)| (partition, Progress::from(next))).collect();
        if self.topic == topic && self.is_at(&partitions) {
            return Ok(());
        }
        self.meet(clients, topic)?;
        self.topic = topic;
        self.full = clients.topic(topic);
        self.partitions = partitions;
        self.reassign()
    }

    /// It would go on exactly there, and has not said that there is nothing, which it says once.
    fn is_at(&self, wanted: &BTreeMap<u32, Progress>) -> bool {
        let places = |partitions: &BTreeMap<u32, Progress>| -> Vec<_> {
            partitions.iter().map(|(partition, progress)| (*partition, progress.next, progress.at_end)).collect()
        };
        places(&self.partitions) == places(wanted)
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
        self.look_at = Instant::now() + SILENCE;
        self.consumer.assign(&list).map_err(|error| fault(what(), &error))
    }

    /// The next record. Errors that pass by themselves count as nothing.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<Fetched, Fault> {
        self.polls = self.polls.wrapping_add(1);
        // The clock is not asked for every record.
        if (self.idle || self.polls.is_multiple_of(1024)) && Instant::now() > self.look_at {
            self.look()?;
        }
        self.idle = false;
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                let record = record(self.topic, &message, &mut self.room);
                if let Some(progress) = self.partitions.get_mut(&record.partition) {
                    progress.take(record.offset);
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

    /// Where its partitions end now. Asks the brokers, once each; `None` when one does not answer.
    pub(super) fn ends(&self) -> Option<BTreeMap<u32, i64>> {
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.keys() {
            // Instead of a time: the newest.
            list.add_partition_offset(&self.full, number(*partition), Offset::End).ok()?;
        }
        let found = self.consumer.offsets_for_times(list, GLANCE).ok()?;
        let end = |partition: u32| match found.find_partition(&self.full, number(partition))?.offset() {
            Offset::Offset(end) => Some((partition, end)),
            _ => None,
        };
        self.partitions.keys().map(|partition| end(*partition)).collect()
    }

    /// Nothing is to come any more of what is before `end` of `partition`; `late` after a while since that end was asked for.
    pub(super) fn has_read(&self, partition: u32, end: i64, late: bool) -> bool {
        self.partitions.get(&partition).is_none_or(|progress| progress.has_read(end, late))
    }

    /// Replaces the client when a partition has records that it did not give.
    fn look(&mut self) -> Result<(), Fault> {
        self.look_at = Instant::now() + SILENCE;
        let mut missed = Vec::new();
        for (partition, progress) in &mut self.partitions {
            if std::mem::take(&mut progress.heard) {
                progress.end = None;
                continue;
            }
            // Without an answer nothing is known: it is asked again.
            let Ok((_, end)) = self.consumer.fetch_watermarks(&self.full, number(*partition), ASK) else {
                return Ok(());
            };
            match progress.look(end) {
                Verdict::Read => {}
                Verdict::Behind => {
                    self.look_at = Instant::now() + PATIENCE;
                    // Once it has begun, what the client said before is forgotten. When it fails, nothing comes.
                    if let Err(error) = self.consumer.seek(&self.full, number(*partition), progress.next, ASK) {
                        tracing::debug!(%error, topic = self.full, partition, "reading on");
                    }
                }
                Verdict::Missed => missed.push(*partition),
            }
        }
        if missed.is_empty() {
            return Ok(());
        }
        tracing::warn!(topic = self.full, ?missed, "the client stands still behind the end: it is replaced");
        self.consumer = self
            .config
            .create_with_context(self.context.clone())
            .map_err(|error| fault(format!("reading {}", self.full), &error))?;
        self.met.clear();
        self.partitions.values_mut().for_each(|progress| *progress = Progress::from(progress.next));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a client that has given the record at offset 4: `.` it says that it is at the end, a number is the end
    /// when that is looked at.
    #[track_caller]
    fn check(story: &str, expected: &[Verdict]) {
        let mut progress = Progress::from(Offset::Beginning);
        progress.take(4);
        let mut found = Vec::new();
        for happens in story.split(' ') {
            match happens {
                "." => progress.at_end = true,
                end => found.push(progress.look(end.parse().unwrap())),
            }
        }
        assert_eq!(found, expected, "{story}");
    }

    #[test]
    fn a_client_is_behind_until_it_says_so_of_a_known_end() {
        use Verdict::{Behind, Missed, Read};
        check(". 5 5", &[Read, Read]);
        // Control records.
        check(". 6 . 6 6", &[Behind, Read, Read]);
        check(". 6 . 6 8 . 8", &[Behind, Read, Behind, Read]);
        // It stands still, also when it had said that it was at an end that was another one.
        check("9 9", &[Behind, Missed]);
        check(". 9 9", &[Behind, Missed]);
        check(". 6 . 9 9", &[Behind, Behind, Missed]);
        check(". 6 . 6 9 10", &[Behind, Read, Behind, Missed]);
    }

    #[test]
    fn all_is_read_when_nothing_but_marks_is_left() {
        // As above; an end is one that was asked for, and `late` that there was time since.
        let check = |story: &str, expected: &[bool]| {
            let mut progress = Progress::from(Offset::Beginning);
            let (mut found, mut late) = (Vec::new(), false);
            for happens in story.split(' ') {
                match happens {
                    "." => progress.at_end = true,
                    "late" => late = true,
                    "take" => progress.take(4),
                    end => found.push(progress.has_read(end.parse().unwrap(), late)),
                }
            }
            assert_eq!(found, expected, "{story}");
        };
        check("0", &[true]);
        check("5 take 5 6 . 6", &[false, true, false, true]);
        // It said so of an end before; records may be under way, or marks.
        check("take . 9 late 9 10", &[false, true, true]);
        check("take late 9 . 9 8", &[false, true, true]);
        // All there was is deleted.
        check("7 . 7 late 7", &[false, false, true]);
    }

    #[test]
    fn what_was_never_read_has_its_first_record_at_the_beginning() {
        let mut progress = Progress::from(Offset::Beginning);
        assert_eq!([0, 3, 3].map(|end| progress.look(end)), [Verdict::Read, Verdict::Behind, Verdict::Missed]);
    }
}
