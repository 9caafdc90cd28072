//! How the process ends: exit codes as in `sysexits.h`.

use std::process::ExitCode;

use epicenter_bus::Fault;
use epicenter_runtime::{AdminError, ConfigErrors, OpenError, RegistryError};

use crate::pipeline::PipelineError;
use crate::replay::ReplayError;
use crate::rules::Unreadable;

/// Wrong arguments.
pub const USAGE: u8 = 64;
/// The input is wrong.
pub const DATAERR: u8 = 65;
/// The input is not there.
pub const NOINPUT: u8 = 66;
/// Something that is needed cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// A bug.
pub const SOFTWARE: u8 = 70;
/// Nothing was done; trying again may help.
pub const TEMPFAIL: u8 = 75;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;

/// The exit code for an error.
pub fn code(error: &anyhow::Error) -> u8 {
    let fault = |fault: &Fault| match fault {
        Fault::Retry { .. } | Fault::Fenced { .. } => TEMPFAIL,
        Fault::Fatal { .. } => UNAVAILABLE,
    };
    error
        .chain()
        .find_map(|cause| {
            cause
                .downcast_ref::<ReplayError>()
                .map(|error| if matches!(error, ReplayError::Unreadable { .. }) { NOINPUT } else { DATAERR })
                .or_else(|| cause.downcast_ref::<Unreadable>().map(|_| NOINPUT))
                .or_else(|| cause.downcast_ref::<epicenter_rules::Problems>().map(|_| DATAERR))
                .or_else(|| cause.downcast_ref::<ConfigErrors>().map(|_| CONFIG))
                .or_else(|| cause.downcast_ref::<AdminError>().map(|_| CONFIG))
                .or_else(|| cause.downcast_ref::<OpenError>().map(|_| UNAVAILABLE))
                .or_else(|| {
                    let registry = cause.downcast_ref::<RegistryError>()?;
                    Some(if matches!(registry, RegistryError::Authorities(_)) { CONFIG } else { UNAVAILABLE })
                })
                .or_else(|| archive(cause))
                .or_else(|| cause.downcast_ref::<Fault>().map(fault))
                .or_else(|| match cause.downcast_ref::<PipelineError>()? {
                    PipelineError::Stalled(_) | PipelineError::Codec(_) => Some(SOFTWARE),
                    PipelineError::Bus(inner) => Some(fault(inner)),
                    PipelineError::Directory(_) => Some(UNAVAILABLE),
                })
        })
        .unwrap_or(1)
}

#[cfg(feature = "archive")]
fn archive(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    use epicenter_archive::ArchiveError;
    use epicenter_archive::ask::Malformed;

    if cause.is::<Malformed>() {
        return Some(USAGE);
    }
    let error = cause.downcast_ref::<ArchiveError>()?;
    Some(match error {
        ArchiveError::Location { .. } | ArchiveError::Secret(_) => CONFIG,
        ArchiveError::Malformed(_) => USAGE,
        ArchiveError::Absent { .. } => NOINPUT,
        error if error.is_retryable() => TEMPFAIL,
        _ => UNAVAILABLE,
    })
}

#[cfg(not(feature = "archive"))]
fn archive(_: &(dyn std::error::Error + 'static)) -> Option<u8> {
    None
}

/// Says what is wrong with what was typed, or what can be typed when that was asked for, and gives the exit code.
pub fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is no reason to complain.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// Says on stderr what is wrong, and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("epicenter: {error:#}");
    ExitCode::from(code(error))
}
