//! A partition of the log in a directory, as a processor sees it.

use std::collections::VecDeque;
use std::time::Duration;

use super::store::{Changes, Store};
use crate::drive::{Assigned, Poll};
use crate::step::Batch;
use crate::topic::partition_in;
use crate::{Fault, ProcessorSpec, Record, State, Stop, StoreId};

/// Bytes that are read ahead.
const READ_AHEAD: usize = 1024 * 1024;

pub(super) struct LocalPartition<'s> {
    store: &'s Store,
    spec: &'s ProcessorSpec,
    partition: u32,
    /// The partition of the installation for which it writes.
    writes_for: u32,
    stop: &'s Stop,
    /// The offset to read next.
    offset: i64,
    ahead: VecDeque<Record>,
}

impl<'s> LocalPartition<'s> {
    /// The partition with its restored state, where the processor left it.
    pub(super) fn open(
        store: &'s Store,
        spec: &'s ProcessorSpec,
        partition: u32,
        stop: &'s Stop,
    ) -> Result<(Self, State), Fault> {
        let writes_for = spec.writes_for(partition, store.partitions());
        let mut state = State::new(&spec.stores);
        for (index, table) in spec.stores.iter().enumerate() {
            for (key, value) in store.table(table.topic, partition_in(table.topic, writes_for), &[])? {
                state.set(StoreId(index), &key, Some(&value));
            }
        }
        let offset = store.committed(&spec.name, spec.input, partition)?.unwrap_or(0);
        Ok((Self { store, spec, partition, writes_for, stop, offset, ahead: VecDeque::new() }, state))
    }
}

impl Assigned for LocalPartition<'_> {
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault> {
        if !self.is_owned()? {
            return Ok(Poll::Drain);
        }
        if self.ahead.is_empty() {
            self.ahead.extend(self.store.read(self.spec.input, self.partition, self.offset, READ_AHEAD, wait)?);
        }
        let Some(record) = self.ahead.pop_front() else { return Ok(Poll::Idle) };
        self.offset = record.offset + 1;
        Ok(Poll::Record(record))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut changes = Changes { emits: &batch.emits, ..Changes::default() };
        for ((store, key), value) in &batch.delta {
            let table = &self.spec.stores[store.0];
            changes.puts.push((table.topic, key, value.as_deref()));
            if table.public {
                changes.published.push((table.topic, batch.timestamp, key, value.as_deref()));
            }
        }
        changes.offset = Some((&self.spec.name, self.spec.input, batch.next_offset));
        self.store.commit_until(self.writes_for, &changes, self.stop)
    }

    fn is_owned(&mut self) -> Result<bool, Fault> {
        Ok(!self.stop.requested())
    }

    fn behind(&mut self) -> Option<u64> {
        let end = self.store.end(self.spec.input, self.partition).ok()?;
        u64::try_from(end - self.offset).ok()
    }
}
