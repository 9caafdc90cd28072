//! A schema registry with Confluent's API: Confluent's own, Karapace, or Apicurio below `/apis/ccompat/v7`.
//!
//! Schemas are registered when an installation is made or upgraded ([`Client::register`]), never by a service. A service
//! asks for the ids of its own schemas when it starts, and for a schema when it meets an id that it does not know
//! ([`Registry`]).

mod cache;
mod client;
mod config;
mod schemas;
mod subject;

pub use client::{Client, RegistryError};
pub use config::RegistryConfig;
pub use schemas::Registry;
pub use subject::subject;
