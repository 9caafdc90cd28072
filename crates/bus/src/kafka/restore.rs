//! How a new owner takes a partition over.
//!
//! 1. *Fence*: `init_transactions` bumps the producer's epoch, so that the predecessor can commit nothing more, and ends
//!    the transaction that it left open.
//! 2. Read the *committed offset*. Not before: a pending commit would still be decided.
//! 3. Write a *barrier* record with a nonce to each changelog, in a transaction that also commits the offset as it is:
//!    an owner whose membership the coordinator no longer knows fails here.
//! 4. *Restore*: read each changelog, committed records only, up to the own barrier. What comes before it is decided, so
//!    no end offset is needed: those lie when there are open transactions or control records (KAFKA-10167,
//!    risingwave#24717).

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::DEADLINE;
use super::client::{Clients, fault, number};
use super::fetch::{Fetch, Fetched};
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

/// The offset that the group of `fetch` committed, or where the topic begins when it never did.
pub(super) fn committed(clients: &Clients, fetch: &Fetch, topic: &str, partition: u32) -> Result<i64, Fault> {
    let full = clients.topic(topic);
    let what = || format!("reading the committed offset of {full}/{partition}");
    let mut list = TopicPartitionList::new();
    list.add_partition(&full, number(partition));
    let list = fetch.consumer.committed_offsets(list, DEADLINE).map_err(|error| fault(what(), &error))?;
    let element = list.find_partition(&full, number(partition));
    match element.map(|element| element.error().map(|()| element.offset())) {
        Some(Ok(Offset::Offset(offset))) => Ok(offset),
        Some(Ok(_)) | None => Ok(clients.watermarks(&fetch.consumer, &full, partition)?.0),
        Some(Err(error)) => Err(fault(what(), &error)),
    }
}

/// Gives every committed record of a changelog to `apply`, from its beginning up to the barrier with `nonce`.
/// `going_on` is asked now and then whether the partition is still wanted.
pub(super) fn replay(
    clients: &Clients,
    fetch: &mut Fetch,
    topic: &'static str,
    partition: u32,
    nonce: &[u8],
    going_on: impl Fn() -> Result<(), Fault>,
    mut apply: impl FnMut(Record),
) -> Result<(), Fault> {
    fetch.assign(clients, topic, std::iter::once((partition, Offset::Beginning)))?;
    let mut progress = Instant::now();
    loop {
        match fetch.poll(Duration::from_millis(100))? {
            Fetched::Record(record) if record.key == BARRIER => {
                if record.payload.as_deref() == Some(nonce) {
                    return Ok(());
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
                    return Err(Fault::retry(format!("restoring from {topic}/{partition}"), why));
                }
            }
        }
    }
}
