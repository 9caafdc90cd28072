//! What moving an installation needs to know of its services, and what it tells.

use std::collections::BTreeMap;

use crate::Bookmark;

/// Rows of a table, by key.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The positions in `incident.changes` that rows of `alerts.state` hold.
pub trait Bookmarks {
    /// Those that there are: whose, of which partition, and where.
    fn read(&self, rows: &Rows) -> Vec<(String, u32, Bookmark)>;

    /// The same rows, but every reader that there is has read the partitions up to `ends`.
    fn rewrite(&self, rows: Rows, ends: &[Bookmark]) -> Rows;
}

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Records, or rows, of each topic, by its name without prefix. Without those that an earlier run copied.
    pub records: Vec<(String, u64)>,
}
