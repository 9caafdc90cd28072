//! What people and applications have to say: from the command line, from HTTP, from annotations, into the cluster's log.
//!
//! [`Intake`] writes it beside the cluster's exporter, in log time, so that it is a part of the one history that all else
//! follows from. [`routes`] is its door for HTTP, [`run_annotations`] the one for Incident objects; [`read`] says what an
//! application's events have to look like.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod annotations;
mod application;
mod clusters;
mod http;
mod incidents;
mod intake;

pub use annotations::run_annotations;
pub use application::{FormError, MediaType, read};
pub use http::routes;
pub use intake::{Intake, IntakeError};
