//! Reads what `kubectl` and API servers write to files, and makes of it the log that an exporter would have written.
//!
//! Pure but for [`file::read`]. In order: [`file`] (bytes to text), [`document`] (text to items, with [`yaml`] and [`dump`]),
//! [`timeline`] (items to records in order of time, with heartbeats).

pub mod document;
pub mod dump;
pub mod file;
pub mod timeline;
pub mod yaml;

use std::path::PathBuf;

/// Why a file cannot be replayed. Not retryable.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file ends in the middle.
    #[error(
        "{file}: it is cut off at {place}: {what}. Write it again, and wait until the command that writes it has ended"
    )]
    CutOff {
        /// The file.
        file: PathBuf,
        /// Line and column, or byte.
        place: String,
        /// What is missing.
        what: String,
    },
    /// The file is neither JSON nor YAML.
    #[error("{file}: {what} at {place}. {MEND}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line and column.
        place: String,
        /// What was found.
        what: String,
    },
    /// It is well-formed, and something else.
    #[error("{file}: document {document} (line {line}) is no Kubernetes object: {what}. {MEND}")]
    NotKubernetes {
        /// The file.
        file: PathBuf,
        /// Which document, from 1.
        document: usize,
        /// Its first line.
        line: usize,
        /// What was found.
        what: String,
    },
    /// There is nothing in it.
    #[error("{file}: it is empty. {MEND}")]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// No file has an Event.
    #[error(
        "there is no Event in {files}: there are {objects} other objects. Add the output of `kubectl get events -A -o json`"
    )]
    NoEvents {
        /// The files.
        files: String,
        /// Objects that were found.
        objects: usize,
    },
}

const MEND: &str = "What can be replayed is JSON or YAML as `kubectl get events -A -o json`, `kubectl get … -o yaml`, a watch or \
                    `kubectl cluster-info dump` writes it, also compressed with gzip";

/// An item that is passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// Which item of the file, from 1.
    pub item: usize,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: item {} is passed over: {}", self.file.display(), self.item, self.why)
    }
}
