//! Secrets: never in the configuration itself, only where they are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a secret is: in a file, or in an environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// A file that holds it; white space at its end does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// Why a secret cannot be had. Not retryable.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Neither place or both are named.
    #[error("name either `file` or `env`, not both")]
    NotOnePlace,
    /// The file cannot be read.
    #[error("the secret's file {file}: {source}")]
    File {
        /// Its path.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set, or no UTF-8.
    #[error("the secret's environment variable {name}: {source}")]
    Env {
        /// Its name.
        name: String,
        /// Why.
        source: std::env::VarError,
    },
}

impl Secret {
    /// A place is named.
    pub fn is_set(&self) -> bool {
        self.file.is_some() || self.env.is_some()
    }

    /// The secret.
    pub fn read(&self) -> Result<String, SecretError> {
        match (&self.file, &self.env) {
            (Some(file), None) => std::fs::read_to_string(file)
                .map(|text| text.trim_end().to_owned())
                .map_err(|source| SecretError::File { file: file.clone(), source }),
            (None, Some(name)) => std::env::var(name).map_err(|source| SecretError::Env { name: name.clone(), source }),
            _ => Err(SecretError::NotOnePlace),
        }
    }
}

/// Compares a secret with what was given, in a time that does not depend on where the difference is.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
