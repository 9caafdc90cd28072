//! How a new owner takes a partition over.
//!
//! 1. *Fence*: `init_transactions` bumps the producer's epoch, so that the predecessor can commit nothing more, and ends
//!    the transaction that it left open.
//! 2. Read the *committed offset*. Not before: a pending commit would still be decided.
//! 3. Write a *barrier* record with a nonce to each changelog, in a transaction that also commits the offset as it is:
//!    an owner whose membership the coordinator no longer knows fails here.
//! 4. *Restore*: read each changelog, committed records only, up to the own barrier, from its beginning or from where a
//!    [`super::standby`] has come. What comes before the barrier is decided, so no end offset is needed: those lie when there
//!    are open transactions or control records (KAFKA-10167, risingwave#24717). The client begins to fetch before the fence:
//!    that takes half a second when there is a transaction to end.
//! 5. *Judge* whether state and input still belong together ([`super::lineage`]).
//! 6. The first commit also writes the owner's name, by which the next one knows that all of the state is there: so each changelog must
//!    still have the barrier then. One that was created again since has what changed, and nothing else.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::DEADLINE;
use super::client::{Clients, Producer, fault, number};
use super::fetch::{Fetch, Fetched};
use super::lineage::Committed;
use crate::{Fault, Record};

/// The key of barrier records. No processor's key begins with a zero byte.
pub(super) const BARRIER: &[u8] = b"\0barrier";
/// A restore that does not get on for that time has failed.
const STALL: Duration = Duration::from_secs(60);

/// A value that no other barrier has.
pub(super) fn nonce(id: &str) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{id} {} {now}", std::process::id()).into_bytes()
}

/// Beside the offset that a first owner commits to fence others, and that says nothing of what was read.
pub(super) const FIRST: &str = "first";

/// A record of a changelog that is none of the state's.
pub(super) fn is_own(key: &[u8]) -> bool {
    key.starts_with(b"\0")
}

/// What the group of `fetch` committed.
pub(super) fn committed(clients: &Clients, fetch: &Fetch, topic: &str, partition: u32) -> Result<Committed, Fault> {
    Ok(offset_of(clients, fetch, topic, partition)?.map_or(Committed::Nothing, |(offset, beside)| {
        match beside.as_str() {
            FIRST => Committed::Nothing,
            _ => Committed::At(offset),
        }
    }))
}

/// The offset that the group of `fetch` committed, and what was written beside it.
pub(super) fn offset_of(
    clients: &Clients,
    fetch: &Fetch,
    topic: &str,
    partition: u32,
) -> Result<Option<(i64, String)>, Fault> {
    let full = clients.topic(topic);
    let what = || format!("reading the committed offset of {full}/{partition}");
    let mut list = TopicPartitionList::new();
    list.add_partition(&full, number(partition));
    let list = fetch.consumer.committed_offsets(list, DEADLINE).map_err(|error| fault(what(), &error))?;
    let element = list.find_partition(&full, number(partition));
    match element.map(|element| element.error().map(|()| (element.offset(), element.metadata().to_owned()))) {
        Some(Ok((Offset::Offset(offset), beside))) => Ok(Some((offset, beside))),
        Some(Ok(_)) | None => Ok(None),
        Some(Err(error)) => Err(fault(what(), &error)),
    }
}

/// Fails, retryably, unless these `changelogs` (full name, partition, and offset of the own barrier) are still those that were read: in
/// others the owner's name would say that all of the state is there.
pub(super) fn check<'c>(
    clients: &Clients,
    producer: &Producer,
    changelogs: impl Iterator<Item = ((&'c str, u32), i64)>,
) -> Result<(), Fault> {
    for ((topic, partition), barrier) in changelogs {
        let (begin, end) = clients.watermarks(producer.client(), topic, partition)?;
        if !(begin..end).contains(&barrier) {
            let why = "it was created again, or emptied, since the state was read from it";
            return Err(Fault::retry(format!("giving {topic}/{partition} its owner's name"), why));
        }
    }
    Ok(())
}

/// Gives every committed record of the changelog that `fetch` reads to `apply`, up to the barrier with `nonce`, whose offset it returns.
/// `going_on` is asked now and then whether the partition is still wanted.
pub(super) fn replay(
    fetch: &mut Fetch,
    nonce: &[u8],
    going_on: impl Fn() -> Result<(), Fault>,
    mut apply: impl FnMut(Record),
) -> Result<i64, Fault> {
    let mut progress = Instant::now();
    loop {
        match fetch.poll(Duration::from_millis(100))? {
            Fetched::Record(record) if record.key == BARRIER => {
                if record.payload.as_deref() == Some(nonce) {
                    return Ok(record.offset);
                }
                progress = Instant::now();
            }
            Fetched::Record(record) => {
                apply(record);
                progress = Instant::now();
            }
            Fetched::End(_) | Fetched::Nothing => {
                going_on()?;
                if progress.elapsed() > STALL {
                    let why = format!("nothing new for {} s, and the own barrier has not come", STALL.as_secs());
                    return Err(Fault::retry(format!("restoring from {}", fetch.topic()), why));
                }
            }
        }
    }
}
