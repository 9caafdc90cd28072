//! The rows of `enricher.state`.
//!
//! Key: cluster, `\0`, the table's letter, 16 bytes of SHA-256 of what the row is about. Value: a version byte, then
//! postcard. Another shape needs another version.

use epicenter_bus::{Reject, StoreId};
use epicenter_model::{ObjectRef, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The public table of objects.
pub(crate) const OBJECTS: StoreId = StoreId(0);
/// The private rows.
pub(crate) const STATE: StoreId = StoreId(1);

const VERSION: u8 = 1;

/// Names what a row is about. Short, because memory holds an index of them.
pub(crate) type Digest = [u8; 16];

/// The tables of the private store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// [`Counted`] by namespace and name of an Event.
    Counted,
    /// [`Recorded`] by key of an object.
    Recorded,
    /// [`Waiting`] by keys of the object that is not known yet and of the one that waits.
    Waiting,
}

impl Table {
    const ALL: [Self; 3] = [Self::Counted, Self::Recorded, Self::Waiting];

    const fn letter(self) -> u8 {
        match self {
            Self::Counted => b'e',
            Self::Recorded => b'o',
            Self::Waiting => b'w',
        }
    }

    /// The key of the row about `digest`.
    pub(crate) fn key(self, cluster: &str, digest: &Digest) -> Vec<u8> {
        [cluster.as_bytes(), &[0, self.letter()], digest].concat()
    }
}

/// How far an Event is counted. An Event that expired and was written again has its name, and another uid.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// The newest resourceVersion.
    pub version: &'a str,
    /// The history that this resourceVersion belongs to.
    pub epoch: i64,
    /// Occurrences until that version.
    pub total: i64,
    /// When the newest one happened, by the emitter's clock.
    pub occurred: Option<Timestamp>,
    /// The class it had.
    pub class: &'a str,
    /// Log time of that version.
    pub at: Timestamp,
}

/// When an object was seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// Log time of its newest record.
    pub at: Timestamp,
    /// Log time of its deletion.
    pub deleted: Option<Timestamp>,
}

/// An object that an Event was about, and whose surroundings cannot be told before another object is known.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Digest of the other object's key.
    pub missing: Digest,
    /// The object.
    pub object: ObjectRef,
    /// Log time of that Event.
    pub at: Timestamp,
    /// Digest of the context that was sent last.
    pub sent: Digest,
}

/// The digest of `parts`.
pub(crate) fn digest(parts: &[&str]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
        hasher.update([0]);
    }
    shortened(hasher)
}

/// The digest of a value, by its postcard.
pub(crate) fn digest_of(value: &impl Serialize) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(postcard::to_stdvec(value).expect("postcard writes anything of known length into memory"));
    shortened(hasher)
}

fn shortened(hasher: Sha256) -> Digest {
    let whole: [u8; 32] = hasher.finalize().into();
    let (digest, _) = whole.split_first_chunk().expect("SHA-256 has 32 bytes");
    *digest
}

/// A row's bytes.
pub(crate) fn encode(row: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(VERSION);
    postcard::to_extend(row, bytes).expect("postcard writes anything of known length into memory")
}

/// Reads a row.
pub(crate) fn decode<'a, R: Deserialize<'a>>(bytes: &'a [u8]) -> Result<R, Reject> {
    match bytes {
        [VERSION, row @ ..] => postcard::from_bytes(row).map_err(|error| {
            Reject(format!("a row of enricher.state is malformed ({error}): delete the topic and replay"))
        }),
        [found, ..] => Err(Reject(format!(
            "a row of enricher.state has version {found}, this version reads {VERSION}: upgrade the enricher"
        ))),
        [] => Err(Reject("a row of enricher.state is empty: delete the topic and replay".to_owned())),
    }
}

/// Cluster, table and digest of a row's key.
pub(crate) fn parse_key(key: &[u8]) -> Result<(&str, Table, Digest), Reject> {
    let parse = || {
        let end = key.iter().position(|byte| *byte == 0)?;
        let (letter, digest) = key[end + 1..].split_first()?;
        let table = Table::ALL.into_iter().find(|table| table.letter() == *letter)?;
        Some((std::str::from_utf8(&key[..end]).ok()?, table, digest.try_into().ok()?))
    };
    parse().ok_or_else(|| {
        let key = data_encoding::HEXLOWER.encode(key);
        Reject(format!("enricher.state has a key that is none of this version's: {key}; upgrade the enricher"))
    })
}
