//! Records, as they are read and as they are written.

use std::borrow::Cow;

use bytes::Bytes;
use epicenter_model::{Codec, DeadLetter, RecordType};

use crate::topic::topics::DEAD_LETTER;

/// Header names and values, in order.
pub type Headers = Vec<(Cow<'static, str>, Bytes)>;

/// ms since the epoch, UTC, by this machine's clock: for what is no part of any history.
pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// A header as it was read.
pub(crate) fn header(name: &str, value: &[u8]) -> (Cow<'static, str>, Bytes) {
    (Cow::Owned(name.to_owned()), Bytes::copy_from_slice(value))
}

/// A record of a topic. Key and payload are shared with other records that were read with it: a processor that keeps
/// them beyond its call keeps up to 256 KiB alive, and should copy them instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic, without the installation's prefix.
    pub topic: &'static str,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
    /// ms since the epoch, UTC.
    pub timestamp: i64,
    /// The key, empty when it has none.
    pub key: Bytes,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.key.len() + self.payload.as_ref().map_or(0, Bytes::len) + 64
    }
}

/// A record to be written to the partition of the step that writes it, or to the one partition of a topic of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// The topic, without the installation's prefix.
    pub topic: &'static str,
    /// ms since the epoch, UTC. A topic of [`crate::Stamp::Log`] does not keep it.
    pub timestamp: i64,
    /// The key.
    pub key: Bytes,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Emit {
    /// Says of what `key` is about that it could not be processed, and why.
    pub fn dead_letter(codec: &Codec, key: impl Into<Bytes>, letter: &DeadLetter) -> Self {
        let payload = codec.encode(letter).expect("a dead letter fits its schema, which has an id: tested");
        Self {
            topic: DEAD_LETTER.name,
            timestamp: letter.at.as_millis(),
            key: key.into(),
            payload: Some(payload.into()),
            headers: vec![("ce_type".into(), Bytes::from_static(RecordType::DeadLetter.event_type().as_bytes()))],
        }
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.key.len() + self.payload.as_ref().map_or(0, Bytes::len) + 64
    }
}
