//! What is said of an incident's root, and kept with it.

use std::sync::Arc;

use epicenter_model::{ObjectRef, Timestamp};

/// What is said of a root, for as long as nothing of it changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words {
    pub of: Root,
    pub title: String,
    pub began: String,
    pub said: Option<String>,
    pub hidden: Option<String>,
    pub command: Option<String>,
}

/// What these words follow from: the candidate, its beginning, its row and its workload, the change before it, and the rules.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Root {
    pub candidate: usize,
    pub first: Timestamp,
    pub observed: bool,
    pub row: bool,
    pub workload: Option<Arc<ObjectRef>>,
    pub trigger: Option<(u32, Timestamp)>,
    pub rules: Arc<str>,
}
