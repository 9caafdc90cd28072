//! The state's entries: keys, and values in postcard behind a version byte.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ENGINE;

/// What to do about a state that this engine cannot read.
const MEND: &str = "Run that engine or a newer one; docs/operations.md#upgrade-and-rollback tells how to go back";
/// Who wrote a state that does not say.
const UNKNOWN: &str = "another engine";

/// Versions of a format of stored state: the first byte of each value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// What this engine reads.
    oldest: u8,
    /// What it reads and writes.
    newest: u8,
}

/// A cluster's state.
///
/// 3. A fingerprint's entry has its earlier incidents one by one; there are entries of what is remembered.
/// 2. Every redirect leads to an incident that is remembered, which lists it; the writer says who it is.
/// 1. A redirect may lead to another.
pub(crate) const CLUSTER: Format = Format { oldest: 1, newest: 3 };
/// The fleet's.
pub(crate) const FLEET: Format = Format { oldest: 1, newest: 1 };

/// What an entry is; its first byte is the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The engine that wrote the state: text, in every version of the format.
    Writer,
    /// Log time, and the numbers given so far.
    Clock,
    /// An object.
    Entity(u64),
    /// An incident without its members.
    Head(u64),
    /// A member.
    Row(u64, u32),
    /// What became of an incident that was merged.
    Redirect(u64),
    /// Earlier incidents of a fingerprint.
    Fingerprint(String),
    /// When the first incident of a class began.
    Kind(String),
    /// How often Events of a class come about a workload.
    Series(u64),
    /// The week as a class has it.
    Profile(String),
    /// From when on incidents are remembered, and what is known of the cluster's load.
    Memory,
    /// What people did to an incident and said of it, if they did.
    Voice(u64),
    /// What the Events at an incident's root say, if they say anything.
    Quotes(u64),
    /// A silence.
    Silence(String),
    /// What an incident was parted from by hand.
    Apart(u64),
}

/// Why a stored entry is no state. Never retryable.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key is none of this engine's.
    #[error(
        "state entry {key}: not a key of engine {ENGINE}; it was written by {writer}, or by another service. {MEND}"
    )]
    Key {
        /// The key in hex.
        key: String,
        /// Who wrote the state.
        writer: String,
    },
    /// Written in a format that this engine does not know.
    #[error(
        "state entry {key} has format {found}, engine {ENGINE} reads {oldest} to {newest}; it was written by {writer}. {MEND}"
    )]
    Version {
        /// The key in hex.
        key: String,
        /// The format.
        found: u8,
        /// What this engine reads.
        oldest: u8,
        /// The newest that it reads.
        newest: u8,
        /// Who wrote the state.
        writer: String,
    },
    /// Cut off or damaged.
    #[error("state entry {key} is malformed: {problem}")]
    Malformed {
        /// The key in hex.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl Key {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Writer => vec![b'w'],
            Self::Clock => vec![b'c'],
            Self::Entity(id) => [&[b'e'][..], &id.to_be_bytes()].concat(),
            Self::Head(no) => [&[b'i'][..], &no.to_be_bytes()].concat(),
            Self::Row(no, row) => [&[b'm'][..], &no.to_be_bytes(), &row.to_be_bytes()].concat(),
            Self::Redirect(no) => [&[b'r'][..], &no.to_be_bytes()].concat(),
            Self::Fingerprint(text) => [&[b'f'][..], text.as_bytes()].concat(),
            Self::Kind(text) => [&[b'k'][..], text.as_bytes()].concat(),
            Self::Memory => vec![b'h'],
            Self::Series(key) => [&[b'n'][..], &key.to_be_bytes()].concat(),
            Self::Profile(text) => [&[b'p'][..], text.as_bytes()].concat(),
            Self::Voice(no) => [&[b'v'][..], &no.to_be_bytes()].concat(),
            Self::Quotes(no) => [&[b'q'][..], &no.to_be_bytes()].concat(),
            Self::Silence(id) => [&[b's'][..], id.as_bytes()].concat(),
            Self::Apart(no) => [&[b'a'][..], &no.to_be_bytes()].concat(),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let number = |bytes: &[u8]| bytes.first_chunk::<8>().map(|chunk| u64::from_be_bytes(*chunk));
        let known = match bytes {
            [b'w'] => Some(Self::Writer),
            [b'c'] => Some(Self::Clock),
            [b'e', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Entity),
            [b'i', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Head),
            [b'r', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Redirect),
            [b'm', rest @ ..] if rest.len() == 12 => {
                let row = rest.last_chunk::<4>().map(|chunk| u32::from_be_bytes(*chunk));
                number(rest).zip(row).map(|(no, row)| Self::Row(no, row))
            }
            [b'f', rest @ ..] => std::str::from_utf8(rest).ok().map(|text| Self::Fingerprint(text.to_owned())),
            [b'k', rest @ ..] => std::str::from_utf8(rest).ok().map(|text| Self::Kind(text.to_owned())),
            [b'h'] => Some(Self::Memory),
            [b'n', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Series),
            [b'p', rest @ ..] => std::str::from_utf8(rest).ok().map(|text| Self::Profile(text.to_owned())),
            [b'v', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Voice),
            [b'q', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Quotes),
            [b'a', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Apart),
            [b's', rest @ ..] => std::str::from_utf8(rest).ok().map(|text| Self::Silence(text.to_owned())),
            _ => None,
        };
        known.ok_or_else(|| unknown(bytes))
    }
}

/// The error about a key that is none of ours.
pub(crate) fn unknown(key: &[u8]) -> StateError {
    StateError::Key { key: hex(key), writer: UNKNOWN.to_owned() }
}

fn hex(key: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(key)
}

impl StateError {
    /// The same error, which says who wrote the state.
    pub(crate) fn by(mut self, engine: &str) -> Self {
        if let Self::Key { writer, .. } | Self::Version { writer, .. } = &mut self {
            *writer = format!("engine {engine}");
        }
        self
    }
}

impl Format {
    pub fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(self.newest);
        postcard::to_extend(value, bytes).expect("a Vec takes any length, and all lengths here are known")
    }

    pub fn decode<T: DeserializeOwned>(self, key: &[u8], value: &[u8]) -> Result<T, StateError> {
        let malformed = |problem: String| StateError::Malformed { key: hex(key), problem };
        let Self { oldest, newest } = self;
        let (found, body) = value.split_first().ok_or_else(|| malformed("empty".to_owned()))?;
        if !(oldest..=newest).contains(found) {
            let writer = UNKNOWN.to_owned();
            return Err(StateError::Version { key: hex(key), found: *found, oldest, newest, writer });
        }
        match postcard::take_from_bytes(body) {
            Ok((decoded, [])) => Ok(decoded),
            Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(malformed(error.to_string())),
        }
    }
}
