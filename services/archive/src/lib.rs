//! Long memory: `events.enriched` and `incident.changes` as two Delta Lake tables, on a directory or on S3.
//!
//! Each record is in its table exactly once: the Delta commit that adds a batch's files says, as an application
//! transaction of its topic's partition, which offset was the last, and the position is read from there. Nothing is
//! committed to the log.
//!
//! Entry points: [`run`] (from the log to a table), [`Table`] (one table, and where it stands), [`Table::compact`] and
//! [`Table::retain`] (what becomes of old files and rows), [`ask`] (questions to it), [`report`] (what a week comes to).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod ask;
mod batch;
mod change;
mod column;
mod entry;
mod error;
mod event;
mod maintain;
mod moved;
mod position;
pub mod report;
mod retain;
mod run;
mod store;
mod table;
mod writer;

pub use entry::{Entry, Kind};
pub use error::ArchiveError;
pub use maintain::{Compacted, Vacuumed};
pub use moved::{moved, whole};
pub use retain::Expired;
pub use run::{Context, run};
pub use store::Store;
pub use table::Table;
