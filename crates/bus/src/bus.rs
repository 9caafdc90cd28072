//! The two backends behind one door.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::kafka::{KafkaBus, KafkaReader, KafkaSource};
use crate::local::{LocalBus, LocalReader, LocalSource};
use crate::topic::topics::POSITIONS;
use crate::{
    Bookmark, Bookmarks, Damage, Emit, Fault, KafkaConfig, Lag, LocalConfig, Loss, Moved, Observer, Processor,
    ProcessorSpec, Record, Recovered, Stop, TopicProblem,
};

/// A log with topics: a Kafka cluster, or a directory. Cheap to clone.
#[derive(Clone)]
pub enum Bus {
    /// A Kafka cluster.
    Kafka(KafkaBus),
    /// A directory of this machine; one process at a time.
    Local(LocalBus),
}

/// A key of a source's table, and its new value, if it is to have one.
pub type Row<'r> = (&'r [u8], Option<&'r [u8]>);

/// Where a reader begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that there is.
    Earliest,
    /// After the last record that could be read when the reader opened: on Kafka that may be before what was committed a moment ago.
    Latest,
    /// Where the reader of that name committed last; at the oldest when it never did.
    Committed(String),
    /// As [`Start::Committed`], but where the bookmarks of the partitions are, which somebody else keeps; at the oldest without
    /// one.
    At(String, BTreeMap<u32, Bookmark>),
}

impl Bus {
    /// Connects to a Kafka cluster. Topics are not looked at: see [`Bus::check_topics`].
    pub fn kafka(config: KafkaConfig) -> Result<Self, Fault> {
        KafkaBus::new(config).map(Self::Kafka)
    }

    /// Opens, or creates, a log in a directory. [`Fault::Fatal`] when another process has it open, when it is damaged
    /// beyond what a power loss does, or when the disk is full.
    pub fn local(config: LocalConfig) -> Result<Self, Fault> {
        LocalBus::open(config).map(Self::Local)
    }

    /// How many partitions each topic has.
    pub fn partitions(&self) -> u32 {
        match self {
            Self::Kafka(bus) => bus.partitions(),
            Self::Local(bus) => bus.partitions(),
        }
    }

    /// Drives the processor that `spec` describes until `stop`. One instance is made for each partition that this
    /// process owns. `observer` hears how it goes. Blocks: give it a thread. Faults that pass are retried inside; returns
    /// an error only for what somebody must mend.
    pub fn run<P: Processor>(
        &self,
        spec: &ProcessorSpec,
        make: impl Fn() -> P + Send + Sync,
        observer: Observer<'_>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        match self {
            Self::Kafka(bus) => bus.run(spec, &make, observer, stop),
            Self::Local(bus) => bus.run(spec, &make, observer, stop),
        }
    }

    /// Opens the source `id` that writes to `partition`: fences its predecessor, and gives the positions that were
    /// committed under keys that begin with `prefix`. Blocks.
    pub fn source(
        &self,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(Source, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        self.source_in(POSITIONS.name, id, partition, prefix)
    }

    /// The same for a source that keeps its positions in the compacted topic `table`.
    pub fn source_in(
        &self,
        table: &'static str,
        id: &str,
        partition: u32,
        prefix: &[u8],
    ) -> Result<(Source, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        match self {
            Self::Kafka(bus) => {
                bus.source(table, id, partition, Some(prefix)).map(|(s, p)| (Source::Kafka(Box::new(s)), p))
            }
            Self::Local(bus) => bus.source(table, id, partition, prefix).map(|(s, p)| (Source::Local(s), p)),
        }
    }

    /// Opens a source that keeps no positions, and whose id `kind.…` nothing else has had. However many come, a bounded number of a kind is
    /// known in a partition: those that came the longest ago are fenced, and have to be opened again. Blocks.
    pub fn source_without_positions(&self, id: &str, partition: u32) -> Result<Source, Fault> {
        match self {
            Self::Kafka(bus) => {
                bus.source(POSITIONS.name, id, partition, None).map(|(source, _)| Source::Kafka(Box::new(source)))
            }
            // A directory has one process, and keeps nothing of its sources.
            Self::Local(bus) => {
                bus.source(POSITIONS.name, id, partition, b"\0").map(|(source, _)| Source::Local(source))
            }
        }
    }

    /// Reads `topic`, all of `partitions`, without a group. Only committed records are seen.
    pub fn reader(&self, topic: &'static str, partitions: &[u32], start: Start) -> Result<Reader, Fault> {
        match self {
            Self::Kafka(bus) => bus.reader(topic, partitions, start).map(|r| Reader::Kafka(Box::new(r))),
            Self::Local(bus) => bus.reader(topic, partitions, start).map(Reader::Local),
        }
    }

    /// The offset of the oldest record of a partition, and the one after its newest. Offsets from the first to the second
    /// are there, but for those that hold no record. Blocks.
    pub fn bounds(&self, topic: &'static str, partition: u32) -> Result<(i64, i64), Fault> {
        match self {
            Self::Kafka(bus) => bus.bounds(topic, partition),
            Self::Local(bus) => bus.bounds(topic, partition),
        }
    }

    /// The newest value of each key of a compacted topic, all partitions together, as it is now. Blocks.
    pub fn table(&self, topic: &'static str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Fault> {
        self.rows(topic, &|_| true)
    }

    /// The same of the keys that are `wanted`: others are read over, and not kept. Blocks.
    pub fn rows(
        &self,
        topic: &'static str,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Fault> {
        match self {
            Self::Kafka(bus) => bus.rows(topic, wanted),
            Self::Local(bus) => bus.rows(topic, wanted),
        }
    }

    /// What keeps this process from the log, and how to mend it; `None` when nothing is known to. When something is, the
    /// brokers are asked anew: it may block for some seconds.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Kafka(bus) => bus.trouble(),
            Self::Local(_) => None,
        }
    }

    /// Creates the topics that are missing.
    pub fn create_topics(&self) -> Result<Vec<String>, Fault> {
        match self {
            Self::Kafka(bus) => bus.create_topics(),
            Self::Local(_) => Ok(Vec::new()),
        }
    }

    /// The partitions of which the processor that `spec` describes has not processed everything, whoever runs it. Nothing is
    /// behind in a directory that nobody works on. Blocks.
    pub fn lag(&self, spec: &ProcessorSpec) -> Result<Vec<Lag>, Fault> {
        match self {
            Self::Kafka(bus) => bus.lag(spec),
            Self::Local(_) => Ok(Vec::new()),
        }
    }

    /// What is lost of the partitions of the processor that `spec` describes, so that they stand still. Reads its changelogs and
    /// changes nothing. Blocks.
    pub fn losses(&self, spec: &ProcessorSpec) -> Result<Vec<Loss>, Fault> {
        match self {
            Self::Kafka(bus) => bus.losses(spec),
            Self::Local(_) => Ok(Vec::new()),
        }
    }

    /// Lets a partition go on with what is left of its topics, also while services run; `None` when nothing is lost of it.
    /// Blocks. After a [`Fault::Retry`] it can be called again.
    pub fn recover(&self, spec: &ProcessorSpec, partition: u32) -> Result<Option<Recovered>, Fault> {
        match self {
            Self::Kafka(bus) => bus.recover(spec, partition),
            Self::Local(_) => Ok(None),
        }
    }

    /// Moves this installation to `new`, on the same brokers with another prefix, and another number of partitions. Nobody
    /// may work on it; then it is kept as it is, and closed. Can be called again after a fault, or a kill. `tell` hears how it
    /// goes; `ready` is called when all is there and before anything can be added, for those who keep a position of their own in its
    /// topics: it may be called again, when what comes after it did not. Blocks.
    pub fn move_to(
        &self,
        new: &Self,
        specs: &[ProcessorSpec],
        bookmarks: &dyn Bookmarks,
        tell: &mut dyn FnMut(&str),
        ready: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Moved, Fault> {
        match (self, new) {
            (Self::Kafka(old), Self::Kafka(new)) => old.move_to(new, specs, bookmarks, tell, ready),
            _ => Err(Fault::fatal("moving the installation", "it is a directory", "Only one on Kafka can be moved")),
        }
    }

    /// Opens this installation again, whose move was not finished or is not wanted.
    pub fn undo_move(&self, specs: &[ProcessorSpec]) -> Result<(), Fault> {
        match self {
            Self::Kafka(bus) => bus.undo_move(specs),
            Self::Local(_) => Ok(()),
        }
    }

    /// What is wrong with the topics.
    pub fn check_topics(&self) -> Result<Vec<TopicProblem>, Fault> {
        match self {
            Self::Kafka(bus) => bus.check_topics(),
            Self::Local(_) => Ok(Vec::new()),
        }
    }
}

/// What brings records from outside, or takes them there: its records and its position are committed together. Positions
/// live in the `positions` topic, or in a table of its own.
pub enum Source {
    /// On Kafka.
    Kafka(Box<KafkaSource>),
    /// In a directory.
    Local(LocalSource),
}

impl Source {
    /// The table of positions was lost, and with it, or with a part of it, where this source was, though it had written until
    /// then, ms since the epoch: what it got with its rows does not count. It is told until it commits.
    pub fn lost(&self) -> Option<i64> {
        match self {
            Self::Kafka(source) => source.lost(),
            Self::Local(_) => None,
        }
    }

    /// Writes `records` to the source's partition and sets `positions`, wholly or not at all. Blocks.
    ///
    /// [`Fault::Retry`]: nothing was written, call it again with the same. [`Fault::Fenced`]: open the source anew and go
    /// on from the position that it gives.
    pub fn commit(&mut self, records: &[Emit], positions: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        let rows: Vec<Row<'_>> =
            positions.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))).collect();
        self.change(records, &rows)
    }

    /// The same, with positions that may also be deleted (`None`).
    pub fn change(&mut self, records: &[Emit], rows: &[Row<'_>]) -> Result<(), Fault> {
        match self {
            Self::Kafka(source) => source.commit(records, rows),
            Self::Local(source) => source.commit(records, rows),
        }
    }
}

/// Reads committed records of a topic.
pub enum Reader {
    /// From Kafka.
    Kafka(Box<KafkaReader>),
    /// From a directory.
    Local(LocalReader),
}

impl Reader {
    /// The next record, or `None` when there is none within `wait`. Blocks.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Record>, Fault> {
        match self {
            Self::Kafka(reader) => reader.next(wait),
            Self::Local(reader) => reader.next(wait),
        }
    }

    /// Gives `take` the records from where it is to the end, as that is now, until `take` returns `false` or `deadline` is over. `true`
    /// when it came to the end of all partitions, of which a busy log may be beyond by then. Blocks.
    pub fn read_on(&mut self, deadline: Instant, take: &mut dyn FnMut(Record) -> bool) -> Result<bool, Fault> {
        match self {
            Self::Kafka(reader) => reader.read_on(deadline, take),
            Self::Local(reader) => reader.read_on(deadline, take),
        }
    }

    /// The partitions of which what was read last is not in the topic any more, so that they begin at the oldest: the topic was
    /// deleted and created again, or what comes next was deleted unread. None when it goes on where it was.
    pub fn lost(&self) -> &BTreeMap<u32, Damage> {
        static NONE: BTreeMap<u32, Damage> = BTreeMap::new();
        match self {
            Self::Kafka(reader) => reader.lost(),
            Self::Local(_) => &NONE,
        }
    }

    /// Remembers that everything that [`Reader::next`] gave so far is dealt with. Only for [`Start::Committed`] and [`Start::At`].
    pub fn commit(&mut self) -> Result<(), Fault> {
        match self {
            Self::Kafka(reader) => reader.commit(),
            Self::Local(reader) => reader.commit(),
        }
    }
}
