//! One cluster's exporter: watches, queue, log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use epicenter_bus::{Bus, Fault};
use epicenter_model::{Codec, CodecError};
use epicenter_runtime::Backoff;
use kube::Client;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::api::Api;
use crate::committer::{self, Batch, CommitError, Committer};
use crate::config::ExporterConfig;
use crate::health::{Health, WatchState};
use crate::observation::Message;
use crate::position::Positions;
use crate::resource::Resource;
use crate::watch::Watcher;

/// How often it is looked whether the lists of objects are done.
const LOOK: Duration = Duration::from_millis(50);

/// Why an exporter gave up. Somebody must mend it; everything that passes is retried inside.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The configuration makes no sense.
    #[error("exporter configuration: {0}")]
    Config(String),
    /// What the log says.
    #[error(transparent)]
    Log(Fault),
    /// A record or position cannot be framed, or a position cannot be read.
    #[error("positions or records of this cluster: {0}")]
    Codec(#[from] CodecError),
    /// A task ended as it should not. A bug.
    #[error("the exporter's {0} ended by itself: a bug, please report it")]
    Ended(&'static str),
}

/// How a session ended that did not fail.
enum Session {
    Stopped,
    Fenced(Fault),
}

/// Everything that an exporter works with. Cheap to clone.
#[derive(Clone)]
struct Exporter {
    config: Arc<ExporterConfig>,
    api: Api,
    bus: Bus,
    codec: Codec,
    clock: Clock,
    health: Health,
    stop: CancellationToken,
}

/// Reads one cluster into the log until `stop`, from the position that is committed. `client` is one of
/// [`crate::client`]; `health` tells how it goes.
///
/// An API server or a log that is away is waited for. A second exporter of the same cluster takes over: this one then
/// begins again, after a pause, and so takes over in turn; run one.
///
/// # Errors
/// What somebody must mend. Nothing is lost: it goes on from the committed position.
pub async fn run(
    config: ExporterConfig,
    client: Client,
    bus: Bus,
    codec: Codec,
    clock: Clock,
    health: Health,
    stop: CancellationToken,
) -> Result<(), ExporterError> {
    let problems: Vec<String> = config.problems().iter().map(|(key, what)| format!("{key} {what}")).collect();
    if !problems.is_empty() {
        return Err(ExporterError::Config(problems.join("; ")));
    }
    let api = Api::new(client, config.request_timeout());
    let exporter = Exporter { config: Arc::new(config), api, bus, codec, clock, health, stop };
    exporter.run().await
}

impl Exporter {
    fn backoff(&self) -> Backoff {
        Backoff::new(self.config.retry_first_ms, self.config.retry_longest_ms)
    }

    async fn run(&self) -> Result<(), ExporterError> {
        let mut backoff = self.backoff();
        while let Some(cluster_uid) = self.cluster_uid().await {
            let began = Instant::now();
            match self.session(&cluster_uid).await? {
                Session::Stopped => break,
                Session::Fenced(fault) => {
                    self.health.restarted();
                    self.health.log(Some(fault.to_string()));
                    tracing::warn!(cluster = self.config.cluster, %fault, "beginning again");
                    if began.elapsed() > Duration::from_millis(self.config.retry_longest_ms.saturating_mul(2)) {
                        backoff.reset();
                    }
                    if self.stop.run_until_cancelled(backoff.wait(None)).await.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The cluster's identity, as soon as its API server can be asked; `None` when it is to stop.
    async fn cluster_uid(&self) -> Option<String> {
        let mut backoff = self.backoff();
        loop {
            let error = match self.stop.run_until_cancelled(self.api.cluster_uid()).await? {
                Ok(uid) => {
                    self.health.cluster(None);
                    return Some(uid);
                }
                Err(error) => error,
            };
            tracing::warn!(
                cluster = self.config.cluster, %error,
                "waiting for the API server: it must be reachable, and allow `get` on namespace kube-system"
            );
            self.health.cluster(Some(error.to_string()));
            self.stop.run_until_cancelled(backoff.wait(error.retry_after())).await?;
        }
    }

    /// Reads until it is to stop, or another exporter takes over.
    async fn session(&self, cluster_uid: &str) -> Result<Session, ExporterError> {
        let stop = self.stop.child_token();
        let objects = self.config.objects.iter().copied().map(Resource::Objects);
        let resources: Vec<Resource> = objects.chain(std::iter::once(Resource::Events)).collect();
        let Some((source, rows)) = self.open(cluster_uid).await? else { return Ok(Session::Stopped) };
        let positions = Positions::read(&self.codec, &self.config.cluster, cluster_uid, &resources, &rows)?;
        let (queue, observations) = mpsc::channel(self.config.queue_records);

        let mut tasks = JoinSet::new();
        for resource in &resources {
            let (api, config) = (self.api.clone(), Arc::clone(&self.config));
            let (health, clock) = (self.health.clone(), Arc::clone(&self.clock));
            let watcher = Watcher::new(*resource, api, config, queue.clone(), health, clock, positions.of(*resource));
            let wait = (*resource == Resource::Events).then(|| self.clone().objects_listed());
            tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
                if let Some(wait) = wait {
                    wait.await;
                }
                watcher.run().await;
            }));
        }
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().heartbeats(queue)));

        let committer = Committer {
            cluster: self.config.cluster.clone(),
            cluster_uid: cluster_uid.to_owned(),
            source,
            codec: self.codec.clone(),
            clock: Arc::clone(&self.clock),
            positions,
            batch_bytes: self.config.batch_bytes,
            health: self.health.clone(),
            stop: self.stop.clone(),
            backoff: self.backoff(),
            batch: Batch::default(),
            listing_since: BTreeMap::new(),
        };
        let mut committing = tokio::task::spawn_blocking(move || committer.run(observations));
        let early = tokio::select! {
            ended = &mut committing => Some(ended),
            _ = tasks.join_next() => None,
        };
        let stopped = self.stop.is_cancelled();
        // Without watches the queue ends, and the committer writes what is left of it.
        stop.cancel();
        while tasks.join_next().await.is_some() {}
        let ended = match early {
            Some(ended) => ended,
            None => committing.await,
        };
        match ended.map_err(|_| ExporterError::Ended("committer"))? {
            Err(CommitError::Fault(fault @ Fault::Fenced { .. })) => Ok(Session::Fenced(fault)),
            Err(CommitError::Fault(fault)) => Err(ExporterError::Log(fault)),
            Err(CommitError::Codec(error)) => Err(error.into()),
            Ok(()) | Err(CommitError::Abandoned) if stopped => Ok(Session::Stopped),
            Ok(()) | Err(CommitError::Abandoned) => Err(ExporterError::Ended("watches")),
        }
    }

    /// Opens the source, as soon as the log can be reached; `None` when it is to stop.
    async fn open(
        &self,
        cluster_uid: &str,
    ) -> Result<Option<(epicenter_bus::Source, BTreeMap<Vec<u8>, Vec<u8>>)>, ExporterError> {
        let mut backoff = self.backoff();
        loop {
            let (bus, cluster, uid) = (self.bus.clone(), self.config.cluster.clone(), cluster_uid.to_owned());
            let opened = tokio::task::spawn_blocking(move || committer::open(&bus, &cluster, &uid)).await;
            let fault = match opened.map_err(|_| ExporterError::Ended("committer"))? {
                Ok(opened) => {
                    self.health.log(None);
                    return Ok(Some(opened));
                }
                Err(fault @ Fault::Fatal { .. }) => return Err(ExporterError::Log(fault)),
                Err(fault) => fault,
            };
            tracing::warn!(cluster = self.config.cluster, %fault, "waiting for the log");
            self.health.log(Some(fault.to_string()));
            if self.stop.run_until_cancelled(backoff.wait(None)).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Waits until every kind of object is listed, or cannot be, or it takes too long.
    async fn objects_listed(self) {
        let deadline = Instant::now() + Duration::from_millis(self.config.objects_first_ms);
        let pending = |health: &Health| {
            let watches = health.snapshot().watches;
            self.config.objects.iter().any(|kind| {
                matches!(watches.get(kind.plural()), None | Some(WatchState::Starting | WatchState::Listing))
            })
        };
        while pending(&self.health) && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn heartbeats(self, queue: Sender<Message>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.config.heartbeat_ms));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if queue.send(Message::Heartbeat { healthy: self.health.is_healthy() }).await.is_err() {
                return;
            }
        }
    }
}
