//! Brings commits into the log, oldest first, each once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use epicenter_bus::{Fault, Source};
use epicenter_model::TraceContext;
use epicenter_runtime::Backoff;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::backlog::{Backlog, Next};
use crate::cluster::Log;
use crate::committer::{CommitError, open};
use crate::health::Health;
use crate::position::Positions;
use crate::spool::SpoolError;

/// Owns the source. Blocking: it has a thread of its own.
pub(crate) struct Writer {
    pub(crate) cluster: String,
    pub(crate) cluster_uid: String,
    pub(crate) log: Log,
    /// `None` while it is not known who else has written: only with a spool that is not empty.
    pub(crate) source: Option<Source>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) health: Health,
    pub(crate) stop: CancellationToken,
    pub(crate) backoff: Backoff,
}

impl Writer {
    /// Writes until there is nothing more; what is on disk may stay there.
    pub(crate) fn run(mut self) -> Result<(), CommitError> {
        loop {
            let outcome = self.open().and_then(|()| self.backlog.first(&self.stop).map_err(CommitError::Spool));
            let paused = match outcome {
                Ok(Some(next)) => self.write(next)?,
                Ok(None) => return Ok(()),
                Err(CommitError::Fault(fault @ (Fault::Retry { .. } | Fault::Fatal { .. }))) => self.pause(&fault),
                Err(CommitError::Spool(error @ SpoolError::Disk { .. })) => self.pause(&error),
                Err(error) => return Err(error),
            };
            if !paused {
                return match self.backlog.first(&self.stop) {
                    Ok(None) => Ok(()),
                    _ => Err(CommitError::Abandoned),
                };
            }
        }
    }

    /// Opens the source when it is not, and finds out what the log has of what is on disk.
    fn open(&mut self) -> Result<(), CommitError> {
        if self.source.is_none() {
            let Self { log, cluster, cluster_uid, .. } = self;
            let (source, rows) = open(&log.bus, &log.codec, cluster, cluster_uid)?;
            let committed = Positions::read(&log.codec, cluster, cluster_uid, &rows)?.now();
            self.backlog.settle(committed).map_err(CommitError::Spool)?;
            self.source = Some(source);
        }
        Ok(())
    }

    /// Writes a commit, or has it on disk; says whether to go on.
    fn write(&mut self, Next { commit, spooled }: Next) -> Result<bool, CommitError> {
        let mut spooled = spooled;
        while let Some(source) = &mut self.source {
            let fault = match source.commit(&commit.records, &commit.changed) {
                Ok(()) => break,
                Err(fault) => fault,
            };
            spooled = spooled || self.backlog.spool(&commit);
            let passes = matches!(fault, Fault::Retry { .. });
            if !passes && !spooled {
                return Err(fault.into());
            }
            if !passes {
                // Whether it was written is not known, nor who else writes.
                self.source = None;
            }
            let going_on = self.pause(&fault);
            if spooled || !going_on {
                return Ok(going_on);
            }
        }
        self.backoff.reset();
        while spooled && let Err(error) = self.backlog.done() {
            if !self.pause(&error) {
                return Ok(false);
            }
        }
        for record in &commit.records {
            if let Some(trace) = TraceContext::of(&record.headers) {
                let received = Duration::from_millis(record.timestamp.try_into().unwrap_or(0));
                self.log.traces.sent(trace, record.topic, &self.cluster, SystemTime::UNIX_EPOCH + received);
            }
        }
        self.health.committed(commit.done, commit.at, (self.log.clock)());
        self.health.spool(&self.backlog);
        Ok(true)
    }

    /// Says why nothing can be written, and waits; says whether to go on.
    fn pause(&mut self, why: &dyn std::fmt::Display) -> bool {
        let spooled = self.backlog.fill().filter(|_| self.backlog.is_spooling()).map(|(fill, problem)| {
            let problem = problem.map(|problem| format!("; {problem}")).unwrap_or_default();
            format!("; {} of {} bytes are spooled meanwhile{problem}", fill.bytes, fill.max_bytes)
        });
        self.health.log(Some(format!("{why}{}", spooled.unwrap_or_default())));
        self.health.spool(&self.backlog);
        let pause = self.backoff.wait(None);
        Handle::current().block_on(self.stop.run_until_cancelled(pause)).is_some()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.backlog.end();
    }
}
