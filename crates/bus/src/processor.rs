//! What a service is to the kernel.

use epicenter_model::{Codec, partition_of};

use crate::topic::count;
use crate::{Record, State, Step, StoreId};

/// A service's logic for one partition: a plain struct without client, clock or task.
///
/// The kernel makes one instance per partition that it owns, calls [`Processor::restore`] once, then
/// [`Processor::process`] for each input record in order, and [`Processor::flush`] before each commit. What the instance
/// keeps in memory besides must follow from the restored state and the records since: it dies with the ownership of the
/// partition, and is restored when a record leads it astray; the records since the last commit are processed again then.
pub trait Processor: Send {
    /// Rebuilds what the processor keeps in memory from the restored state. An error stops the partition, loudly.
    fn restore(&mut self, state: &State) -> Result<(), Reject>;

    /// Maps one input record to effects. On an error the record's effects are taken back and the record goes to the
    /// dead-letter topic in the same commit; the processor must not have changed its own memory then.
    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject>;

    /// Writes what [`Processor::process`] has kept back, if anything: state that changes with many records of a batch need be
    /// written once. `put` takes store, key, and value or `None` to delete. Where batches end is chance: after it the stored
    /// state must be that of a processor that writes with each record. So what is kept back must be within
    /// [`MAX_STATE_VALUE`](crate::MAX_STATE_VALUE) at any record.
    fn flush(&mut self, put: &mut Put<'_>);

    /// How records and public stores are framed. What it cannot read now and may read later waits, in its place: the
    /// processor sees neither a record nor a state whose schema cannot be had.
    fn codec(&self) -> Codec {
        Codec::single_object()
    }
}

/// Takes store, key, and value or `None` to delete.
pub type Put<'p> = dyn FnMut(StoreId, Vec<u8>, Option<Vec<u8>>) + 'p;

/// Why a record cannot be processed: what is wrong, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reject(pub String);

impl Reject {
    /// A rejection for the reason that `error` gives.
    pub fn because(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// How a processor is wired to topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorSpec {
    /// Its name: the consumer group, and the stem of its transactional ids. When its input has one partition for all
    /// clusters, also the name under which it speaks: it writes where a cluster of that name would live.
    pub name: String,
    /// The topic it reads.
    pub input: &'static str,
    /// Its state stores, in the order of their [`crate::StoreId`]s.
    pub stores: Vec<Store>,
    /// The topics it writes, besides those of its stores and `dead-letter`.
    pub outputs: Vec<&'static str>,
}

impl ProcessorSpec {
    /// The store whose changelog has the mark: a private one, since others need not see it.
    pub(crate) fn marked(&self) -> Option<&Store> {
        self.stores.iter().find(|store| !store.public).or(self.stores.first())
    }

    /// The partition of the installation for which the processor of `partition` of its input writes.
    pub(crate) fn writes_for(&self, partition: u32, partitions: u32) -> u32 {
        match count(self.input, u32::MAX) {
            1 => partition_of(&self.name, partitions),
            _ => partition,
        }
    }
}

/// A keyed table whose changelog is a compacted topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The changelog topic, without the installation's prefix.
    pub topic: &'static str,
    /// Others read this table too.
    pub public: bool,
    /// It takes a third of the memory, and some µs to read a row: for a table that is large and is asked seldom.
    pub packed: bool,
}
