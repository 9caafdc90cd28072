//! What can go wrong between the log and a table.

use deltalake::DeltaTableError;
use deltalake::datafusion::error::DataFusionError;
use epicenter_bus::{Damage, Fault};
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
    /// A question cannot be asked so.
    #[error(transparent)]
    Malformed(#[from] crate::ask::Malformed),
    /// A file of a table is damaged, missing or out of reach. Other days and clusters can be asked for.
    #[error(
        "the archive cannot be read: {source}. Restore the file that is named from a copy of the store, or look after the store"
    )]
    Unreadable {
        /// What the query engine says.
        source: Box<DataFusionError>,
    },
    /// There is no archive yet.
    #[error(
        "there is no table {table} in the archive yet: it is made when `epicenter archive run`, or `up`, first starts"
    )]
    Absent {
        /// The table.
        table: &'static str,
    },
    /// A question took its time.
    #[error(
        "there is no answer within {seconds} s: ask for less time or fewer clusters, or raise archive.query.seconds"
    )]
    TooLong {
        /// How long it had.
        seconds: u64,
    },
    /// A question took its memory.
    #[error(
        "the answer takes more than {mebibytes} MiB of memory: ask for less time, fewer groups or fewer columns, or raise archive.query.memory"
    )]
    TooMuch {
        /// How much all questions have together.
        mebibytes: usize,
    },
    /// Incidents have too many Events.
    #[error("the incidents have {found} Events, and {most} at most can be looked for: name fewer of them")]
    Many {
        /// How many.
        found: usize,
        /// How many may be.
        most: usize,
    },
    /// A record in a table is none.
    #[error(
        "a row of incident_changes holds no change of an incident: {error}; it was not written by Epicenter, or by a newer one"
    )]
    Record {
        /// What is wrong.
        error: serde_json::Error,
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
    /// Another engine has made the table one that cannot be read here.
    #[error(
        "{url} is not as Epicenter wrote it: another engine made it one that needs a newer reader (deletion vectors or column mapping). Write a copy of it without these, and name that in archive.location"
    )]
    Changed {
        /// Where.
        url: String,
    },
    /// The log is not the one that the table was made of.
    #[error(
        "{damage}. Raise archive.generation by one to archive what is in it now to the same tables, from its beginning"
    )]
    Recreated {
        /// What tells that.
        damage: Damage,
    },
    /// What is to be moved is not all archived.
    #[error(
        "not all of {topic} is archived: run the archive on the installation as it is until `epicenter_archive_lag_seconds` is 0, and move it then"
    )]
    Behind {
        /// The topic, without prefix.
        topic: &'static str,
    },
}

impl ArchiveError {
    pub(crate) fn store(what: impl Into<String>, source: DeltaTableError) -> Self {
        Self::Store { what: what.into(), source: Box::new(source) }
    }

    pub(crate) fn query(what: impl Into<String>, source: DataFusionError) -> Self {
        Self::Query { what: what.into(), source: Box::new(source) }
    }

    /// Who asks must ask otherwise.
    pub(crate) fn is_askers(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::TooLong { .. } | Self::TooMuch { .. } | Self::Many { .. })
    }

    /// The same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(fault) => matches!(fault, Fault::Retry { .. }),
            Self::Schema(error) => error.is_retryable(),
            Self::Store { .. } | Self::Slow { .. } | Self::Overtaken { .. } => true,
            Self::Query { .. }
            | Self::Malformed(_)
            | Self::Unreadable { .. }
            | Self::Absent { .. }
            | Self::TooLong { .. }
            | Self::TooMuch { .. }
            | Self::Many { .. }
            | Self::Record { .. }
            | Self::Location { .. }
            | Self::Secret(_)
            | Self::Foreign { .. }
            | Self::Changed { .. }
            | Self::Recreated { .. }
            | Self::Behind { .. } => false,
        }
    }
}
