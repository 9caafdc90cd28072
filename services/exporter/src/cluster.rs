//! One cluster's exporter: watches, queue, log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use epicenter_bus::{Bus, Fault, Source};
use epicenter_model::{Codec, CodecError, Timestamp};
use epicenter_runtime::{Backoff, Traces};
use kube::Client;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::backlog::Backlog;
use crate::claim::{Claim, Claims};
use crate::committer::{self, Batch, CommitError, Committer};
use crate::config::ExporterConfig;
use crate::health::{Health, WatchState, is_events};
use crate::lease::Election;
use crate::observation::Message;
use crate::position::Positions;
use crate::resource::{Resource, Scope};
use crate::spool::Spool;
use crate::watch::Watcher;
use crate::writer::Writer;
use epicenter_runtime::Clock;

/// How often it is looked whether the lists of objects are done.
const LOOK: Duration = Duration::from_millis(50);

/// A log that takes nothing for so long is not well: a commit has its own deadlines, and they are shorter.
const STALLED: Duration = Duration::from_secs(60);

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
    /// The log takes no more from it: another exporter has it, or somebody must mend something.
    Ended(String),
}

/// What a session goes on from.
struct Opened {
    /// `None` while commits are spooled: whether the log can be reached does not matter then.
    source: Option<Source>,
    spool: Option<Spool>,
    /// The positions, as the newest commit has them.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Where an exporter writes to. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    /// The log.
    pub bus: Bus,
    /// How records are written.
    pub codec: Codec,
    /// From which log time is made.
    pub clock: Clock,
    /// Who is told of the way of records.
    pub traces: Traces,
}

/// Everything that an exporter works with. Cheap to clone.
#[derive(Clone)]
struct Exporter {
    config: Arc<ExporterConfig>,
    api: Api,
    log: Log,
    claims: Claims,
    health: Health,
    stop: CancellationToken,
}

/// Reads one cluster into the log until `stop`, from the position that is committed. `client` is one of
/// [`crate::client`]; `claims` are those of all exporters of this process; `health` tells how it goes.
///
/// An API server or a log that is away is waited for. A second exporter of the same cluster takes over: this one then
/// begins again, after a pause, and so takes over in turn; let a Lease choose between them ([`crate::LeaseConfig`]).
///
/// # Errors
/// What somebody must mend. Nothing is lost: it goes on from the committed position.
pub async fn run(
    config: ExporterConfig,
    client: Client,
    log: Log,
    claims: Claims,
    health: Health,
    stop: CancellationToken,
) -> Result<(), ExporterError> {
    config.check()?;
    let mut election = Election::new(&config, client.clone(), health.clone());
    let api = Api::new(client, &config, health.clone(), Arc::clone(&log.clock));
    let exporter = Exporter { config: Arc::new(config), api, log, claims, health, stop };
    let ended = exporter.run(&mut election).await;
    if let Some(election) = &mut election {
        election.release().await;
    }
    ended
}

impl Exporter {
    fn backoff(&self) -> Backoff {
        Backoff::new(self.config.retry_first_ms, self.config.retry_longest_ms)
    }

    async fn run(&self, election: &mut Option<Election>) -> Result<(), ExporterError> {
        let mut backoff = self.backoff();
        let mut claim = None;
        while let Some(cluster_uid) = self.cluster_uid(&mut claim).await {
            if let Some(election) = election.as_mut()
                && self.stop.run_until_cancelled(election.acquire()).await.is_none()
            {
                break;
            }
            let (began, stop) = (Instant::now(), self.stop.child_token());
            let session = self.session(&cluster_uid, &stop);
            tokio::pin!(session);
            let ended = tokio::select! {
                ended = &mut session => ended,
                holder = keep(election.as_mut()) => {
                    tracing::warn!(cluster = self.config.cluster, holder, "another exporter has the Lease: stopping");
                    stop.cancel();
                    session.await
                }
            };
            self.health.ended();
            match ended? {
                Session::Stopped if self.stop.is_cancelled() => break,
                Session::Stopped => {}
                Session::Ended(why) => {
                    self.health.restarted();
                    tracing::warn!(cluster = self.config.cluster, why, "beginning again");
                    self.health.log(Some(why));
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

    /// The cluster's identity, as soon as its API server can be asked and no other exporter of this process has the
    /// cluster; `None` when it is to stop.
    async fn cluster_uid(&self, claim: &mut Option<Claim>) -> Option<String> {
        let mut backoff = self.backoff();
        loop {
            let (why, retry_after) = match self.stop.run_until_cancelled(self.api.cluster_uid()).await? {
                Ok(uid) => match self.claim(claim, &uid) {
                    Ok(()) => {
                        self.health.cluster(None);
                        return Some(uid);
                    }
                    Err(why) => (why, None),
                },
                Err(error) => {
                    let mend = "it must be reachable, and allow `get` on namespace kube-system";
                    (
                        format!("{}; waiting for the API server: {mend}", error.explained("namespaces")),
                        error.retry_after(),
                    )
                }
            };
            self.health.cluster(Some(why));
            self.stop.run_until_cancelled(backoff.wait(retry_after)).await?;
        }
    }

    fn claim(&self, claim: &mut Option<Claim>, uid: &str) -> Result<(), String> {
        if claim.as_ref().is_some_and(|claim| claim.is_to(uid)) {
            return Ok(());
        }
        *claim = None;
        *claim = Some(self.claims.take(uid).map_err(|(me, other)| {
            format!("{me} is the same cluster as {other}, which is read already: remove one of them")
        })?);
        Ok(())
    }

    /// Reads until it is to stop, or another exporter takes over.
    async fn session(&self, cluster_uid: &str, stop: &CancellationToken) -> Result<Session, ExporterError> {
        let Some(Opened { source, spool, rows }) = self.open(cluster_uid, stop).await? else {
            return Ok(Session::Stopped);
        };
        self.health.began();
        let scopes = Scope::all(&self.config);
        let mut positions = Positions::read(&self.log.codec, &self.config.cluster, cluster_uid, &rows)?;
        // What is spooled knows the position.
        if let Some(until) = source.as_ref().and_then(Source::lost) {
            let (cluster, until) = (&self.config.cluster, Timestamp::from_millis(until));
            tracing::error!(cluster, %until, "its position is lost: it is listed anew, with a gap since then");
            positions.begin_anew(&scopes, until, (self.log.clock)());
        }
        let newest = positions.now();
        let backlog = Arc::new(Backlog::new(spool, newest));
        let (queue, observations) = mpsc::channel(self.config.queue_records);

        let watching = stop.child_token();
        let mut tasks = JoinSet::new();
        for scope in scopes {
            let (api, config) = (self.api.clone(), Arc::clone(&self.config));
            let (health, clock) = (self.health.clone(), Arc::clone(&self.log.clock));
            let wait = (scope.resource == Resource::Events).then(|| self.clone().objects_listed());
            let watcher = Watcher::new(scope, api, config, queue.clone(), health, clock, &positions);
            tasks.spawn(watching.clone().run_until_cancelled_owned(async move {
                if let Some(wait) = wait {
                    wait.await;
                }
                watcher.run().await;
            }));
        }
        tasks.spawn(watching.clone().run_until_cancelled_owned(self.clone().heartbeats(queue)));

        let committer = Committer {
            cluster: self.config.cluster.clone(),
            cluster_uid: cluster_uid.to_owned(),
            codec: self.log.codec.clone(),
            clock: Arc::clone(&self.log.clock),
            traces: self.log.traces.clone(),
            positions,
            batch_bytes: self.config.batch_bytes,
            backlog: Arc::clone(&backlog),
            health: self.health.clone(),
            newest,
            batch: Batch::default(),
            listing_since: BTreeMap::new(),
        };
        let writer = Writer {
            cluster: self.config.cluster.clone(),
            cluster_uid: cluster_uid.to_owned(),
            log: self.log.clone(),
            source,
            backlog,
            health: self.health.clone(),
            stop: stop.clone(),
            backoff: self.backoff(),
        };
        let committing = tokio::task::spawn_blocking(move || committer.run(observations));
        let mut writing = tokio::task::spawn_blocking(move || writer.run());
        let early = tokio::select! {
            ended = &mut writing => Some(ended),
            _ = tasks.join_next() => None,
        };
        let stopped = stop.is_cancelled();
        // Without watches the queue ends; then committer and writer end with what is left of it.
        watching.cancel();
        while tasks.join_next().await.is_some() {}
        let made = committing.await.map_err(|_| ExporterError::Ended("committer"))?;
        let written = match early {
            Some(ended) => ended,
            None => writing.await,
        };
        match written.map_err(|_| ExporterError::Ended("writer"))?.and(made) {
            Err(CommitError::Fault(fault @ Fault::Fenced { .. })) => Ok(Session::Ended(fault.to_string())),
            Err(CommitError::Fault(fault)) if self.log_heals() => Ok(Session::Ended(fault.to_string())),
            Err(CommitError::Spool(error)) => Ok(Session::Ended(error.to_string())),
            Err(CommitError::Fault(fault)) => Err(ExporterError::Log(fault)),
            Err(CommitError::Codec(error)) => Err(error.into()),
            Ok(()) | Err(CommitError::Abandoned) if stopped => Ok(Session::Stopped),
            Ok(()) | Err(CommitError::Abandoned) => Err(ExporterError::Ended("watches")),
        }
    }

    /// Somebody can mend the log while this process waits for it: brokers, topics, access.
    fn log_heals(&self) -> bool {
        matches!(self.log.bus, Bus::Kafka(_))
    }

    /// Opens the source, as soon as the log can be reached, unless what is spooled tells where to go on; `None` when it is
    /// to stop.
    async fn open(&self, cluster_uid: &str, stop: &CancellationToken) -> Result<Option<Opened>, ExporterError> {
        let mut backoff = self.backoff();
        loop {
            let (exporter, uid) = (self.clone(), cluster_uid.to_owned());
            let opened = tokio::task::spawn_blocking(move || exporter.try_open(&uid)).await;
            let why = match opened.map_err(|_| ExporterError::Ended("committer"))? {
                Ok(opened) => {
                    let waits = || "not reached yet; what was spooled before waits for it".to_owned();
                    self.health.log(opened.source.is_none().then(waits));
                    return Ok(Some(opened));
                }
                Err(CommitError::Fault(fault @ Fault::Fatal { .. })) if !self.log_heals() => {
                    return Err(ExporterError::Log(fault));
                }
                Err(error) => error.to_string(),
            };
            self.health.log(Some(why));
            if stop.run_until_cancelled(backoff.wait(None)).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Blocks.
    fn try_open(&self, cluster_uid: &str) -> Result<Opened, CommitError> {
        let (log, cluster) = (&self.log, &self.config.cluster);
        let (mut spool, mut spooled) = (None, None);
        // A log in a directory is on a disk itself.
        if self.log_heals() && !self.config.spool.directory.is_empty() {
            let opened = Spool::open(&self.config.spool, cluster, cluster_uid).map_err(CommitError::Spool)?;
            (spool, spooled) = (Some(opened.0), opened.1);
        }
        if let Some(rows) = spooled {
            let rows: BTreeMap<_, _> = rows.into_iter().collect();
            committer::check_readable(&log.codec, cluster, &rows)?;
            return Ok(Opened { source: None, spool, rows });
        }
        let (source, rows) = committer::open(&log.bus, &log.codec, cluster, cluster_uid)?;
        Ok(Opened { source: Some(source), spool, rows })
    }

    /// Waits until every kind of object is listed, or cannot be, or it takes too long.
    async fn objects_listed(self) {
        let deadline = Instant::now() + Duration::from_millis(self.config.objects_first_ms);
        let pending = |health: &Health| {
            let watches = health.snapshot().watches;
            let objects = watches.iter().filter(|(name, _)| !is_events(name));
            objects.into_iter().any(|(_, state)| matches!(state, WatchState::Starting | WatchState::Listing))
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
            let heartbeat = Message::Heartbeat { healthy: self.health.is_healthy() };
            // A commit that hangs fills the queue.
            if let Ok(Err(_)) = tokio::time::timeout(STALLED, queue.send(heartbeat)).await {
                return;
            }
            let since = self.health.since_commit();
            if since > STALLED && self.health.snapshot().log_problem.is_none() {
                self.health.log(Some(format!("nothing was committed for {} s", since.as_secs())));
            }
        }
    }
}

/// Who took the Lease, when there is one to keep.
async fn keep(election: Option<&mut Election>) -> String {
    match election {
        Some(election) => election.keep().await,
        None => std::future::pending().await,
    }
}
