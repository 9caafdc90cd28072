//! What can go wrong below a processor.

/// Why the kernel cannot go on with a partition, a source or a reader.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing was committed; the same call can be made again.
    #[error("{what}: {why}; nothing was committed, it is tried again")]
    Retry {
        /// What was being done.
        what: String,
        /// What the backend says.
        why: String,
    },
    /// Another owner has taken over: what is in memory is stale. Begin again by opening it anew, if it is still ours.
    #[error("{what}: another owner has taken over ({why})")]
    Fenced {
        /// What was being done.
        what: String,
        /// What the backend says.
        why: String,
    },
    /// It cannot go on until somebody mends it.
    #[error("{what}: {why}. {mend}")]
    Fatal {
        /// What was being done.
        what: String,
        /// What the backend says.
        why: String,
        /// How to mend it.
        mend: String,
    },
}

impl Fault {
    pub(crate) fn retry(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Retry { what: what.into(), why: why.to_string() }
    }

    pub(crate) fn fenced(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Fenced { what: what.into(), why: why.to_string() }
    }

    pub(crate) fn fatal(what: impl Into<String>, why: impl std::fmt::Display, mend: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), why: why.to_string(), mend: mend.into() }
    }
}
