//! What can go wrong between the log and a table.

use deltalake::DeltaTableError;
use deltalake::datafusion::error::DataFusionError;
use epicenter_bus::Fault;
use epicenter_model::CodecError;
use epicenter_runtime::SecretError;

/// Why the archive does not get on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The log. Retryable when the fault is.
    #[error(transparent)]
    Log(#[from] Fault),
    /// A schema that a record needs cannot be had now. Retryable.
    #[error("{0}; the archive waits for it")]
    Schema(#[from] CodecError),
    /// The store did not take or give something. Retryable.
    #[error("{what}: {source}; nothing is lost, it is tried again")]
    Store {
        /// What was being done.
        what: String,
        /// What the store, or the table's library, says.
        source: Box<DeltaTableError>,
    },
    /// The store did not answer in time. Retryable.
    #[error("{what}: the store has not answered within {seconds} s; nothing is lost, it is tried again")]
    Slow {
        /// What was being done.
        what: String,
        /// How long it had.
        seconds: u64,
    },
    /// Another process has moved the position in the log. Retryable.
    #[error("another process archives to {table}, too: nothing is repeated, but one is enough")]
    Overtaken {
        /// The table.
        table: &'static str,
    },
    /// A query failed.
    #[error("{what}: {source}")]
    Query {
        /// What was being done.
        what: String,
        /// What the query engine says.
        source: Box<DataFusionError>,
    },
    /// The location cannot be used.
    #[error(
        "archive.location {location}: {why}. Name a directory, or s3://BUCKET/PREFIX with the access that archive.s3 describes"
    )]
    Location {
        /// As it is configured.
        location: String,
        /// What is wrong.
        why: String,
    },
    /// A key of S3 cannot be had.
    #[error("archive.s3: {0}")]
    Secret(#[from] SecretError),
    /// There is a table, and it is another one.
    #[error(
        "{url} has no column {column} of type {kind}: it is the table of something else, or of a newer version. Name another archive.location"
    )]
    Foreign {
        /// Where.
        url: String,
        /// The column that is missing.
        column: String,
        /// The type that it should have.
        kind: String,
    },
    /// The log ends before the position that the table has.
    #[error(
        "{topic}/{partition} ends at offset {end}, and the archive has read it up to {position}: the topic was created anew, so its offsets begin again. Raise archive.generation by one to archive the new log to the same tables"
    )]
    Recreated {
        /// The topic, without prefix.
        topic: &'static str,
        /// The partition.
        partition: u32,
        /// Where the log ends.
        end: i64,
        /// The offset that the archive would read next.
        position: i64,
    },
}

impl ArchiveError {
    pub(crate) fn store(what: impl Into<String>, source: DeltaTableError) -> Self {
        Self::Store { what: what.into(), source: Box::new(source) }
    }

    pub(crate) fn query(what: impl Into<String>, source: DataFusionError) -> Self {
        Self::Query { what: what.into(), source: Box::new(source) }
    }

    /// The same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(fault) => matches!(fault, Fault::Retry { .. }),
            Self::Schema(error) => error.is_retryable(),
            Self::Store { .. } | Self::Slow { .. } | Self::Overtaken { .. } => true,
            Self::Query { .. }
            | Self::Location { .. }
            | Self::Secret(_)
            | Self::Foreign { .. }
            | Self::Recreated { .. } => false,
        }
    }
}
