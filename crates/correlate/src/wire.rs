//! The state's entries: keys, and values in postcard behind a version byte.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the format.
pub(crate) const VERSION: u8 = 1;

/// What an entry is; its first byte is the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
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
}

/// Why a stored entry is no state. Never retryable: delete the state, and it is built again from the log.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key is none of this engine's.
    #[error("state entry {key}: not a key of this engine; it was written by another version or another service")]
    Key {
        /// The key in hex.
        key: String,
    },
    /// Written by a version that this one does not know.
    #[error("state entry {key} has version {found}, this engine reads version {VERSION}: run the engine that wrote it")]
    Version {
        /// The key in hex.
        key: String,
        /// The version byte.
        found: u8,
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
            Self::Clock => vec![b'c'],
            Self::Entity(id) => [&[b'e'][..], &id.to_be_bytes()].concat(),
            Self::Head(no) => [&[b'i'][..], &no.to_be_bytes()].concat(),
            Self::Row(no, row) => [&[b'm'][..], &no.to_be_bytes(), &row.to_be_bytes()].concat(),
            Self::Redirect(no) => [&[b'r'][..], &no.to_be_bytes()].concat(),
            Self::Fingerprint(text) => [&[b'f'][..], text.as_bytes()].concat(),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let number = |bytes: &[u8]| bytes.first_chunk::<8>().map(|chunk| u64::from_be_bytes(*chunk));
        let known = match bytes {
            [b'c'] => Some(Self::Clock),
            [b'e', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Entity),
            [b'i', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Head),
            [b'r', rest @ ..] if rest.len() == 8 => number(rest).map(Self::Redirect),
            [b'm', rest @ ..] if rest.len() == 12 => {
                let row = rest.last_chunk::<4>().map(|chunk| u32::from_be_bytes(*chunk));
                number(rest).zip(row).map(|(no, row)| Self::Row(no, row))
            }
            [b'f', rest @ ..] => std::str::from_utf8(rest).ok().map(|text| Self::Fingerprint(text.to_owned())),
            _ => None,
        };
        known.ok_or_else(|| unknown(bytes))
    }
}

/// The error about a key that is none of ours.
pub(crate) fn unknown(key: &[u8]) -> StateError {
    StateError::Key { key: data_encoding::HEXLOWER.encode(key) }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    postcard::to_extend(value, bytes).expect("a Vec takes any length, and all lengths here are known")
}

pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StateError> {
    let hex = || data_encoding::HEXLOWER.encode(key);
    let malformed = |problem: String| StateError::Malformed { key: hex(), problem };
    match value.split_first() {
        None => Err(malformed("empty".to_owned())),
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((decoded, [])) => Ok(decoded),
            Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(malformed(error.to_string())),
        },
        Some((found, _)) => Err(StateError::Version { key: hex(), found: *found }),
    }
}
