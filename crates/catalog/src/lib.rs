//! What an Event means, as data.
//!
//! `data/classes.yaml` lists every *class* (`node.not_ready`, `sched.insufficient_cpu`) with its category, severity, role
//! and words. The other files, one per emitting component, say which Events belong to which class, and which objects
//! their text names; each entry carries examples, and one test runs them all. An Event that no entry knows is
//! `unknown.warning` or `unknown.normal`.
//!
//! ```
//! use epicenter_catalog::Catalog;
//! use epicenter_model::{Event, ObjectRef};
//!
//! let event = Event {
//!     component: "node-controller".into(),
//!     regarding: ObjectRef::named("Node", "", "worker-1"),
//!     reason: "NodeNotReady".into(),
//!     event_type: "Normal".into(),
//!     ..Event::default()
//! };
//! assert_eq!(Catalog::builtin().classify(&event).class, "node.not_ready");
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod builder;
mod builtin;
mod catalog;
mod class;
mod entry;
mod scheduling;
mod source;
mod template;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub use builder::{Builder, Problem};
pub use catalog::{Catalog, Classified, Mismatch};
pub use class::{Class, Classes};
pub use source::{CatalogError, EntryFile};
