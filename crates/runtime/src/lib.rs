//! What every service needs around its processor: configuration, telemetry, health, metrics, an admin endpoint,
//! supervision and an orderly stop.
//!
//! Entry points: [`load`] (configuration), [`telemetry::init`], [`Supervisor`] (owns every thread and task of the
//! process), [`Health`] and [`Metrics`] (what the admin endpoint shows), [`BusConfig::open`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod access;
mod admin;
mod archive;
mod authorities;
mod backoff;
mod bus;
mod causes;
mod clock;
mod health;
mod load;
mod log;
pub mod metric;
mod observe;
mod registry;
mod secret;
mod shutdown;
mod supervise;
pub mod telemetry;
mod tokens;
mod traces;

pub use access::{Access, Names, TokenConfig};
pub use admin::{AdminConfig, AdminError, Serve, serve};
pub use archive::{ArchiveConfig, BatchSection, QuerySection, RetentionRule, RetentionSection, S3Section};
pub use backoff::Backoff;
pub use bus::{BusConfig, KafkaSection, LocalSection, OpenError};
pub use causes::with_causes;
pub use clock::{Clock, now, system_clock};
pub use health::Health;
pub use load::{ConfigErrors, Problem, Settings, load};
pub use log::watch_log;
pub use metric::Metrics;
pub use registry::{Client as RegistryClient, Registry, RegistryConfig, RegistryError, subject};
pub use secret::{Secret, SecretError, same};
pub use shutdown::Shutdown;
pub use supervise::{BoxError, ServiceError, Supervisor};
pub use tokens::{TokenEndpoint, TokenEndpointConfig, TokenFile};
pub use traces::{Traces, TracesConfig, TracesError};
