//! The kernel: one atomic step, over a Kafka cluster or over a log in one directory.
//!
//! Everything that Epicenter promises rests on one primitive: **commit(outputs, state delta, input positions)** happens
//! wholly or not at all, per partition, and only the partition's present owner can do it.
//!
//! A service is a [`Processor`]: it maps an input record to effects on a [`Step`]. [`Bus::run`] drives it: it reads,
//! batches, commits, restores, fences and stops, over either backend. What comes from outside enters by a [`Source`];
//! what leaves is read by a [`Reader`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod access;
mod bookmark;
mod bus;
mod drive;
mod fault;
mod kafka;
mod local;
mod loss;
mod migration;
mod observer;
mod packed;
mod processor;
mod record;
mod state;
mod step;
mod stop;
mod topic;

pub use access::{Grant, Operation, Resource};
pub use bookmark::Bookmark;
pub use bus::{Bus, Reader, Row, Source, Start};
pub use drive::Driver;
pub use fault::Fault;
pub use kafka::{GroupProtocol, KafkaConfig, Token, TokenError, Tokens};
pub use local::LocalConfig;
pub use loss::{Damage, Loss, Recovered};
pub use migration::{Bookmarks, Moved, Rows};
pub use observer::{Lag, Observer, Progress, Traced};
pub use packed::Entry;
pub use processor::{Processor, ProcessorSpec, Put, Reject, Store};
pub use record::{Emit, Headers, Record};
pub use state::{MAX_STATE_VALUE, State, StoreId};
pub use step::Step;
pub use stop::Stop;
pub use topic::{Cleanup, MAX_RECORD, Spread, Stamp, Topic, TopicProblem, topics};
