//! Alerts: tells receivers of incidents, as a file of rules says.
//!
//! [`Alerts::read`] reads the file. A [`Desk`] decides what one receiver is to be told, and when: a pure state machine that
//! [`run`] drives over `incident.changes`, with a position and a state of its own for each receiver, so that one that is
//! away neither loses anything nor holds up the others. [`watch`] is the dead-man's switch.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod alertmanager;
mod deliver;
mod desk;
mod file;
mod look;
mod notice;
mod otlp;
mod post;
mod receiver;
mod rule;
mod slack;
mod state;
mod watchdog;
mod webhook;

pub use deliver::{Context, run};
pub use desk::Desk;
pub use file::{Alerts, Watchdog};
pub use look::{Outlook, outlook};
pub use notice::{Kind, Notice};
pub use post::reach;
pub use receiver::{Receiver, Request};
pub use rule::{Rule, Rules};
pub use state::Positions;
pub use watchdog::watch;
