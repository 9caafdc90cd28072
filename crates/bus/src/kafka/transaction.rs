//! One transaction: begun, filled, committed or aborted.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use super::DEADLINE;
use super::client::{Clients, LISTEN, Producer, drain, fault, is_stale_member, number, refused_access, serve};
use super::trouble::GRANTS;
use crate::Fault;

/// Before a call is made again.
const AGAIN: Duration = Duration::from_millis(20);

/// What a transaction writes besides its records: offsets of a group, under the member's token.
pub(super) struct Offsets<'t> {
    pub(super) offsets: TopicPartitionList,
    pub(super) token: &'t ConsumerGroupMetadata,
}

/// A record to be written; `topic` with prefix.
pub(super) struct Write<'w> {
    pub(super) topic: &'w str,
    pub(super) partition: u32,
    pub(super) key: &'w [u8],
    pub(super) payload: Option<&'w [u8]>,
    pub(super) timestamp: i64,
    pub(super) headers: &'w [(Cow<'static, str>, Bytes)],
}

/// How a transaction ended when it was not committed.
pub(super) enum Unfinished {
    /// It was aborted: nothing of it is there. The error is the reason.
    Aborted(KafkaError),
    /// The producer can do nothing more.
    Lost(Fault),
}

impl Unfinished {
    /// What it means to who can only write `what` again.
    pub(super) fn into_fault(self, what: impl Into<String>) -> Fault {
        match self {
            Self::Aborted(error) => Fault::retry(what, error),
            Self::Lost(fault) => fault,
        }
    }
}

/// Fences other producers of the same id and aborts what they left open.
pub(super) fn fence(clients: &Clients, producer: &Producer, what: &str) -> Result<(), Fault> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match producer.init_transactions(Duration::from_secs(2)) {
            Ok(()) => {
                producer.context().admitted();
                return Ok(());
            }
            // The coordinator is loading, moving, or still ends the predecessor's transaction.
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                producer.poll(LISTEN);
                if let Some(obstacle) = clients.trouble.connection().filter(|obstacle| obstacle.by_refusal) {
                    return Err(Fault::fatal(format!("fencing {what}"), obstacle.why, obstacle.mend));
                }
            }
            Err(error) => return Err(fault(format!("fencing {what}"), &error)),
        }
    }
}

/// Writes `writes`, and `offsets` to the group, in one transaction.
pub(super) fn transact<'w>(
    producer: &Producer,
    what: &str,
    writes: impl Iterator<Item = Write<'w>>,
    offsets: Option<&Offsets<'_>>,
) -> Result<(), Unfinished> {
    if let Err(error) = producer.begin_transaction() {
        return Err(Unfinished::Lost(fault(format!("beginning a transaction of {what}"), &error)));
    }
    let filled = fill(producer, writes).and_then(|()| {
        if !drain(producer) {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        match offsets {
            Some(offsets) => {
                retrying(|left| producer.send_offsets_to_transaction(&offsets.offsets, offsets.token, left))
            }
            None => Ok(()),
        }
    });
    match filled.and_then(|()| retrying(|left| producer.commit_transaction(left))) {
        Ok(()) => Ok(()),
        Err(error) if is_final(&error) => Err(Unfinished::Lost(fault(format!("committing {what}"), &error))),
        // Whether a commit that timed out took place is not known here: the next owner's fencing decides it, and the
        // committed offset tells. So only what the client says is abortable is aborted and tried again.
        Err(error) if is_undecided(&error) => Err(Unfinished::Lost(Fault::fenced(
            format!("committing {what}"),
            format!("{error}; its outcome is not known"),
        ))),
        Err(error) => {
            drain(producer);
            let aborted = retrying(|left| producer.abort_transaction(left));
            // A group that moved on refuses nothing: the next owner waits, and there is nothing to listen for.
            if !is_stale_member(&error)
                && let Some(fault) = refused(producer, what, &error)
            {
                return Err(Unfinished::Lost(fault));
            }
            match aborted {
                Ok(()) if is_too_large(&error) => Err(Unfinished::Lost(fault(format!("committing {what}"), &error))),
                Ok(()) => Err(Unfinished::Aborted(error)),
                Err(second) => {
                    let why = format!("{second}, after {error}");
                    Err(Unfinished::Lost(Fault::fenced(format!("aborting a transaction of {what}"), why)))
                }
            }
        }
    }
}

fn fill<'w>(producer: &Producer, writes: impl Iterator<Item = Write<'w>>) -> Result<(), KafkaError> {
    for write in writes {
        let mut record =
            BaseRecord::to(write.topic).partition(number(write.partition)).key(write.key).timestamp(write.timestamp);
        if let Some(payload) = write.payload {
            record = record.payload(payload);
        }
        if !write.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(write.headers.len());
            for (key, value) in write.headers {
                headers = headers.insert(Header { key, value: Some(value.as_ref()) });
            }
            record = record.headers(headers);
        }
        while let Err((error, refused)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                producer.context().failed(write.topic, &error);
                return Err(error);
            }
            serve(producer);
            record = refused;
        }
    }
    Ok(())
}

/// Calls what takes at most the time that it is given, again and again while it says that it can be called again and time is left.
fn retrying(call: impl Fn(Duration) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let deadline = Instant::now() + DEADLINE;
    let mut left = DEADLINE;
    loop {
        let error = match call(left) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => error,
            outcome => return outcome,
        };
        std::thread::sleep(AGAIN);
        left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(KafkaError::Transaction(error));
        }
    }
}

/// The fault of a batch that this client may not write, when that is why it failed.
fn refused(producer: &Producer, what: &str, error: &KafkaError) -> Option<Fault> {
    // The error of a transaction does not tell the topic; what the client said beside it does.
    producer.poll(LISTEN);
    let what = format!("committing {what}");
    match producer.context().refused() {
        Some(topic) => Some(Fault::fatal(what, error, format!("Grant Write on topic {topic}: {GRANTS}"))),
        None => refused_access(error).map(|_| fault(what, error)),
    }
}

fn is_final(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.is_fatal())
}

/// The same batch would be refused again.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
    )
}

fn is_undecided(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if !inner.is_fatal() && !inner.txn_requires_abort())
}
