//! Brokers and API servers that ask who is there, and what of that goes wrong.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod access;
mod api_server;
mod brokers;
mod provider;
mod refused;
mod site;
