//! Whether the table of positions is as old as the log that they are positions in.
//!
//! A source whose position is gone looks like one that begins. What it brought before is in `events.raw`, which it may write
//! and not read. So the table says since when it exists: its first record of a partition is an [`Origin`]. A table without one
//! is new; when the log is not, positions are lost, and every source that opens later is told so, once.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::DEADLINE;
use super::client::{Clients, fault, number};
use super::fetch::Fetch;
use super::lineage::Standing;
use crate::Fault;
use crate::record::now;
use crate::topic::topics::EVENTS_RAW;

/// The key of the origin.
pub(super) const ORIGIN: &[u8] = b"\0origin";
/// Begins the keys of what sources know of it; goes on with their ids.
pub(super) const HEARD: &[u8] = b"\0heard/";
const VERSION: u8 = 1;
/// No record of `events.raw` is older, ms: more than it is kept.
const OLDEST: i64 = 30 * 24 * 3_600_000;

/// What a partition of the table says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Names it.
    pub(super) nonce: Vec<u8>,
    /// The positions of sources that have not heard of it are lost: they had brought records until then, ms since the epoch.
    pub(super) lost: Option<i64>,
    /// The offset of `events.raw` that followed those records. Once they are all deleted, who has no position is new.
    pub(super) until: i64,
    /// Partitions of the installation.
    pub(super) partitions: u32,
    pub(super) standing: Standing,
}

impl Origin {
    /// Of a table without one.
    pub(super) fn found(clients: &Clients, fetch: &Fetch, partition: u32, nonce: &[u8]) -> Result<Self, Fault> {
        let (begin, until) = ends(clients, fetch, partition)?;
        let lost = (until > 0).then(|| newest(clients, fetch, partition, (begin, until))).transpose()?;
        Ok(Self::new(clients, nonce, lost, until))
    }

    pub(super) fn new(clients: &Clients, nonce: &[u8], lost: Option<i64>, until: i64) -> Self {
        let partitions = clients.config.partitions;
        Self { nonce: nonce.to_vec(), lost, until: until.max(1), partitions, standing: Standing::Whole }
    }

    /// Until when the positions were good of a source that has heard of the origin `heard`; `None` when they are.
    pub(super) fn lost_to(&self, heard: Option<&[u8]>, begin: i64) -> Option<i64> {
        self.lost.filter(|_| heard != Some(&self.nonce) && begin < self.until)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("postcard writes anything of known length into memory")
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        postcard::from_bytes(rest).ok().filter(|_| *version == VERSION)
    }
}

/// Offsets of the first record of `events.raw`, and behind its last one.
pub(super) fn ends(clients: &Clients, fetch: &Fetch, partition: u32) -> Result<(i64, i64), Fault> {
    clients.watermarks(fetch.client(), &clients.topic(EVENTS_RAW.name), partition)
}

/// About when the last record of `events.raw` was written, ms since the epoch: that can be asked for without the right to read
/// it. 0 when it has none.
fn newest(clients: &Clients, fetch: &Fetch, partition: u32, (begin, end): (i64, i64)) -> Result<i64, Fault> {
    if begin == end {
        return Ok(0);
    }
    let full = clients.topic(EVENTS_RAW.name);
    let is_any_since = |time: i64| -> Result<bool, Fault> {
        let what = || format!("asking when {full}/{partition} was written");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&full, number(partition), Offset::Offset(time))
            .map_err(|error| fault(what(), &error))?;
        let found = fetch.consumer.offsets_for_times(list, DEADLINE).map_err(|error| fault(what(), &error))?;
        let element = found.find_partition(&full, number(partition));
        Ok(element.is_some_and(|element| matches!(element.offset(), Offset::Offset(_))))
    };
    let (mut some, mut none) = (now() - OLDEST, now() + Duration::from_secs(3600).as_millis() as i64);
    while none - some > 100 {
        let middle = some.midpoint(none);
        if is_any_since(middle)? { some = middle } else { none = middle }
    }
    Ok(some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_each_source_once() {
        let origin = |lost| Origin { nonce: b"n".to_vec(), lost, until: 10, partitions: 1, standing: Standing::Whole };
        assert_eq!(origin(None).lost_to(None, 0), None);
        assert_eq!(origin(Some(7)).lost_to(None, 0), Some(7));
        assert_eq!(origin(Some(7)).lost_to(Some(b"before"), 0), Some(7));
        assert_eq!(origin(Some(7)).lost_to(Some(b"n"), 0), None);
        // Nothing is left of what was brought before: who comes now is new.
        assert_eq!(origin(Some(7)).lost_to(None, 10), None);
        assert_eq!(Origin::decode(&origin(Some(7)).encode()), Some(origin(Some(7))));
    }
}
