//! Where a reader goes on, in a log that may have become another one.

use std::fmt;

use epicenter_model::murmur2;
use serde::{Deserialize, Serialize};

use crate::Record;

/// How far a partition was read, and what the last record was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// The offset to read next.
    pub next: i64,
    /// The record before it, when one was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Witness>,
}

impl Bookmark {
    /// At the offset `next`, whatever is before it.
    pub fn at(next: i64) -> Self {
        Self { next, last: None }
    }

    /// At the offset `next`, behind a record of which [`Bookmark::last`] was told.
    pub fn behind(next: i64, (timestamp, hash): (i64, u32)) -> Self {
        Self { next, last: Some(Witness { timestamp, hash }) }
    }

    /// The time, ms since the epoch, UTC, and the hash of the record before it, when one was read: enough to tell another log.
    pub fn last(&self) -> Option<(i64, u32)> {
        self.last.map(|Witness { timestamp, hash }| (timestamp, hash))
    }

    /// Behind `record`.
    pub fn after(record: &Record) -> Self {
        Self { next: record.offset + 1, last: Some(Witness::of(record)) }
    }
}

/// Enough of a record to tell whether another one is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Witness {
    /// ms since the epoch, UTC.
    pub(crate) timestamp: i64,
    /// Of the payload.
    pub(crate) hash: u32,
}

impl Witness {
    pub(crate) fn new(timestamp: i64, payload: Option<&[u8]>) -> Self {
        Self { timestamp, hash: murmur2(payload.unwrap_or_default()) }
    }

    pub(crate) fn of(record: &Record) -> Self {
        Self::new(record.timestamp, record.payload.as_deref())
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (timestamp, hash) = text.split_once(' ')?;
        Some(Self { timestamp: timestamp.parse().ok()?, hash: hash.parse().ok()? })
    }
}

/// As it stands beside a committed offset.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.timestamp, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_record_again() {
        let record = Record { offset: 4, timestamp: 7, payload: Some("x".into()), ..Record::default() };
        let last = Bookmark::after(&record).last.unwrap();
        assert_eq!(Witness::parse(&last.to_string()), Some(last));
        assert_eq!(Witness::parse("first"), None);
        let other = Record { payload: Some("y".into()), ..record.clone() };
        assert_ne!(Bookmark::after(&other), Bookmark::after(&record));
        let bookmark = Bookmark::after(&record);
        assert_eq!(Bookmark::behind(bookmark.next, bookmark.last().unwrap()), bookmark);
    }
}
