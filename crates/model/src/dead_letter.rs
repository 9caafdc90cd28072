//! Records that a processor could not take.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A record that could not be processed, whole, with the reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Topic it was read from; `watch/<cluster>/<resource>` for a line of an API server's watch.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset it was read from; -1 for what has none.
    pub offset: i64,
    /// Its payload, cut at the source's limit.
    #[serde(with = "apache_avro::serde::bytes")]
    pub payload: Vec<u8>,
    /// What is wrong and how to mend it.
    pub error: String,
    /// The service that refused it.
    pub service: String,
    /// Log time of the record.
    pub at: Timestamp,
}
