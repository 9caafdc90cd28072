//! `epicenter`, the one binary: from a cluster, or from files, to incidents on a terminal; and every service by itself.
//!
//! Entry points: [`cli`] (what can be typed), [`commands`] (a module per command), [`replay`] (what files say, as a
//! log), [`pipeline`] (the whole pipeline on a local log).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod alerts;
pub mod archive;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod console;
pub mod counted;
pub mod difference;
pub mod directory;
pub mod engine;
pub mod exit;
pub mod history;
pub mod pipeline;
pub mod render;
pub mod replay;
pub mod requests;
pub mod rules;
pub mod settings;
pub mod view;
