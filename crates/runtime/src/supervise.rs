//! Owns every thread and task of a process, and lets none of them die in silence.

use std::future::Future;

use tokio::task::JoinSet;

use crate::Shutdown;
use crate::shutdown::GRACE;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service of this process ended as it should not.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It gave up: somebody must mend what the source says.
    #[error("{service}: {source}")]
    Failed {
        /// Its name.
        service: String,
        /// Why.
        source: BoxError,
    },
    /// It panicked. A bug.
    #[error("{service} panicked: a bug, please report it")]
    Panicked {
        /// Its name.
        service: String,
    },
    /// It did not stop in time.
    #[error("did not stop within {seconds} s: {services}. Everything committed is safe")]
    Stuck {
        /// How long it had.
        seconds: u64,
        /// Their names.
        services: String,
    },
    /// The process cannot make threads or wait for signals.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Owns the services of a process: the first that fails stops the others.
pub struct Supervisor {
    shutdown: Shutdown,
    services: JoinSet<(String, Result<(), ServiceError>)>,
    running: Vec<String>,
}

impl Supervisor {
    /// Supervises until `shutdown` is requested.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, services: JoinSet::new(), running: Vec::new() }
    }

    /// Runs `work` on a named thread of its own. It must return soon after the stop is requested.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn thread<E: Into<BoxError> + Send + 'static>(
        &mut self,
        name: &str,
        work: impl FnOnce(&epicenter_bus::Stop) -> Result<(), E> + Send + 'static,
    ) -> Result<(), ServiceError> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        let stop = self.shutdown.stop().clone();
        let run = move || drop(done.send(work(&stop).map_err(Into::into)));
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|source| ServiceError::System { what: "starting a thread", source })?;
        // A thread that panics drops its end of the channel.
        self.task_of(name, async move { outcome.await.ok() });
        Ok(())
    }

    /// Runs `work` as a task. It must return soon after the stop is requested.
    pub fn task<E: Into<BoxError> + Send + 'static>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let task = tokio::spawn(work);
        self.task_of(name, async move { task.await.ok().map(|outcome| outcome.map_err(Into::into)) });
    }

    fn task_of(&mut self, name: &str, outcome: impl Future<Output = Option<Result<(), BoxError>>> + Send + 'static) {
        let service = name.to_owned();
        self.running.push(service.clone());
        self.services.spawn(async move {
            let result = match outcome.await {
                Some(Ok(())) => Ok(()),
                Some(Err(source)) => Err(ServiceError::Failed { service: service.clone(), source }),
                None => Err(ServiceError::Panicked { service: service.clone() }),
            };
            (service, result)
        });
    }

    /// Waits until a signal comes, a service fails or all have ended; then stops all of them, and gives the first error.
    pub async fn run(mut self) -> Result<(), ServiceError> {
        let shutdown = self.shutdown.clone();
        let mut first = Ok(());
        let signal = shutdown.on_signal();
        tokio::pin!(signal);
        loop {
            tokio::select! {
                outcome = &mut signal => {
                    first = outcome.map_err(|source| ServiceError::System { what: "waiting for signals", source });
                    break;
                }
                ended = self.services.join_next() => match ended {
                    Some(ended) => {
                        first = self.ended(ended);
                        if first.is_err() { break }
                    }
                    None => break,
                }
            }
        }
        shutdown.request();
        let rest = tokio::select! {
            rest = tokio::time::timeout(GRACE, self.drain()) => rest,
            () = second_signal() => Ok(Ok(())),
        };
        let rest = rest.unwrap_or_else(|_| {
            Err(ServiceError::Stuck { seconds: GRACE.as_secs(), services: self.running.join(", ") })
        });
        first.and(rest)
    }

    async fn drain(&mut self) -> Result<(), ServiceError> {
        let mut first = Ok(());
        while let Some(ended) = self.services.join_next().await {
            let outcome = self.ended(ended);
            first = first.and(outcome);
        }
        first
    }

    fn ended(
        &mut self,
        ended: Result<(String, Result<(), ServiceError>), tokio::task::JoinError>,
    ) -> Result<(), ServiceError> {
        let (service, outcome) = match ended {
            Ok(ended) => ended,
            Err(_) => return Err(ServiceError::Panicked { service: "supervisor".to_owned() }),
        };
        self.running.retain(|name| *name != service);
        if let Err(error) = &outcome {
            tracing::error!(%error, "a service ended; the others stop");
        }
        outcome
    }
}

async fn second_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stops_all_when_one_fails() {
        let shutdown = Shutdown::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        supervisor
            .thread("patient", |stop| {
                while !stop.wait(std::time::Duration::from_secs(1)) {}
                Ok::<_, BoxError>(())
            })
            .unwrap();
        supervisor.task("broken", async { Err::<(), BoxError>("no such topic".into()) });
        let error = supervisor.run().await.unwrap_err();
        assert_eq!(error.to_string(), "broken: no such topic");
        assert!(shutdown.stop().requested());
    }

    #[tokio::test]
    async fn names_a_service_that_panics() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        supervisor.thread("faulty", |_| -> Result<(), BoxError> { panic!("bug") }).unwrap();
        let error = supervisor.run().await.unwrap_err();
        assert_eq!(error.to_string(), "faulty panicked: a bug, please report it");
    }

    #[tokio::test]
    async fn ends_well_when_all_have_ended() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        supervisor.task("short", async { Ok::<_, BoxError>(()) });
        supervisor.run().await.unwrap();
    }
}
