//! The vocabulary of Epicenter: what travels on the topics, and the codec that frames it.
//!
//! Pure data. Nothing here does I/O, reads a clock or knows a broker. Entry points: [`RawRecord`] (what an exporter saw),
//! [`EnrichedRecord`] (what it means), [`IncidentChange`] and [`Incident`] (what it comes to), [`FleetRecord`] (what clusters may have in common), [`Codec`]
//! (bytes).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod cloudevents;
mod codec;
mod command;
mod dead_letter;
mod enriched;
mod event;
mod facts;
mod fleet;
mod incident;
mod key;
mod meaning;
mod number;
mod object;
mod position;
mod raw;
mod recurrence;
mod schema;
mod time;
mod trace;
mod tree;
mod writer;

pub use cloudevents::headers;
pub use codec::{Codec, CodecError};
pub use command::{Act, Action, Command, CommandError, Matcher, Note, Silence, Silenced};
pub use dead_letter::DeadLetter;
pub use enriched::{Context, ContextUpdate, EnrichedEvent, EnrichedRecord, Entity};
pub use event::Event;
pub use facts::{Condition, ContainerFacts, ObjectFacts};
pub use fleet::{FLEET, FleetRecord, FleetSignal};
pub use incident::{
    Because, Candidate, Cause, EventCounts, Impact, Incident, IncidentChange, IncidentState, Member, MemberObject,
    Transition,
};
pub use key::{cluster_of, incident_id, murmur2, partition_of};
pub use meaning::{Category, Role, Severity};
pub use number::thousands;
pub use object::ObjectRef;
pub use position::WatchPosition;
pub use raw::{Gap, GapReason, Heartbeat, ObjectChange, RawEvent, RawRecord, Swept};
pub use recurrence::{EndedBy, Ending, Hours, Novelty, Place, Recurrence};
pub use schema::{Contract, RecordType};
pub use time::{Timestamp, TimestampError, instant, span};
pub use trace::TraceContext;
pub use tree::Branch;
pub use writer::{NoWriter, Schemas, Writer};
