//! The console: incidents, Events and reports in a browser, made on the server, live where scripts run and whole where they do not.
//!
//! [`Board`] holds what is going on in memory, [`follow`] keeps it up with the log, [`Console`] serves pages of it. What is long
//! over comes from the archive, where that is built in (the cargo feature `archive`) and there.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod act;
mod assets;
mod board;
mod config;
mod filter;
mod follow;
mod guard;
mod live;
mod page;
mod past;
mod serve;
mod visit;

pub use board::Board;
pub use config::ConsoleConfig;
pub use follow::{TOPICS, follow};
pub use past::Past;
pub use serve::{Console, ConsoleError, Serve, serve};
