//! Reads a topic of the log in a directory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::store::{Changes, Store};
use crate::{Fault, Record, Start};

/// Bytes that are read ahead from each partition.
const READ_AHEAD: usize = 256 * 1024;
/// With several partitions: how long to wait for one before looking at the next.
const TURN: Duration = Duration::from_millis(20);

/// A reader of the log in a directory.
pub struct LocalReader {
    store: Arc<Store>,
    topic: &'static str,
    /// The reader's name, when it commits.
    name: Option<String>,
    /// The offset to read next, by partition.
    next: BTreeMap<u32, i64>,
    /// The offset after the last record that was given out, by partition, since the last commit.
    given: BTreeMap<u32, i64>,
    ahead: VecDeque<Record>,
}

impl LocalReader {
    pub(super) fn open(
        store: &Arc<Store>,
        topic: &'static str,
        partitions: &[u32],
        start: Start,
    ) -> Result<Self, Fault> {
        let mut next = BTreeMap::new();
        for partition in partitions {
            let offset = match &start {
                Start::Earliest => 0,
                Start::Latest => store.end(topic, *partition)?,
                Start::Committed(name) => store.committed(name, topic, *partition)?.unwrap_or(0),
                Start::At(_, bookmarks) => bookmarks.get(partition).map_or(0, |bookmark| bookmark.next),
            };
            next.insert(*partition, offset);
        }
        let name = if let Start::Committed(name) | Start::At(name, _) = start { Some(name) } else { None };
        Ok(Self { store: Arc::clone(store), topic, name, next, given: BTreeMap::new(), ahead: VecDeque::new() })
    }

    pub(crate) fn next(&mut self, wait: Duration) -> Result<Option<Record>, Fault> {
        if self.ahead.is_empty() {
            self.read_ahead(wait)?;
        }
        let record = self.ahead.pop_front();
        if let Some(record) = &record {
            self.given.insert(record.partition, record.offset + 1);
        }
        Ok(record)
    }

    fn read_ahead(&mut self, wait: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + wait;
        // Nobody waits for one partition while another has records.
        let mut turn = Duration::ZERO;
        loop {
            for (partition, offset) in &mut self.next {
                let left = deadline.saturating_duration_since(Instant::now());
                let wait = if self.ahead.is_empty() { turn.min(left) } else { Duration::ZERO };
                let records = self.store.read(self.topic, *partition, *offset, READ_AHEAD, wait)?;
                if let Some(last) = records.last() {
                    *offset = last.offset + 1;
                }
                self.ahead.extend(records);
            }
            if !self.ahead.is_empty() || Instant::now() >= deadline {
                return Ok(());
            }
            turn = if self.next.len() == 1 { wait } else { TURN };
        }
    }

    pub(crate) fn read_on(&mut self, deadline: Instant, take: &mut dyn FnMut(Record) -> bool) -> Result<bool, Fault> {
        while let Some(record) = self.next(Duration::ZERO)? {
            if !take(record) || Instant::now() >= deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        let Some(name) = &self.name else { return Ok(()) };
        for (partition, offset) in std::mem::take(&mut self.given) {
            let changes = Changes { offset: Some((name, self.topic, offset)), ..Changes::default() };
            self.store.commit(partition, &changes)?;
        }
        Ok(())
    }
}
