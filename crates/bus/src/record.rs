//! Records, as they are read and as they are written.

/// Header names and values, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A record of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic, without the installation's prefix.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
    /// ms since the epoch, UTC.
    pub timestamp: i64,
    /// The key, empty when it has none.
    pub key: Vec<u8>,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.key.len() + self.payload.as_ref().map_or(0, Vec::len) + 64
    }
}

/// A record to be written to the partition of the step that writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// The topic, without the installation's prefix.
    pub topic: String,
    /// ms since the epoch, UTC.
    pub timestamp: i64,
    /// The key.
    pub key: Vec<u8>,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl Emit {
    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.key.len() + self.payload.as_ref().map_or(0, Vec::len) + 64
    }
}
