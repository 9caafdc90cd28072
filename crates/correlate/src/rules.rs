//! Causal rules and the class table.

use sha2::{Digest, Sha256};

use crate::class::Classes;

/// The causal rules, ready for use, and the class table.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) classes: Classes,
    hash: String,
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {rule}: {field}: {problem}")]
pub struct RulesError {
    /// The file.
    pub file: String,
    /// The rule's id, or its number.
    pub rule: String,
    /// The field.
    pub field: String,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

impl Rules {
    /// The built-in rules, over a class table.
    pub fn builtin(classes: Classes) -> Self {
        let mut digest = Sha256::new();
        for info in classes.iter() {
            digest.update(format!("{info:?}"));
        }
        let hash = data_encoding::HEXLOWER.encode(&digest.finalize()[..8]);
        Self { classes, hash }
    }

    /// Names these rules and classes: 16 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}
