//! The loop of one resource: list when it must be, watch from the position, and know why the watch ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use epicenter_model::{Event, GapReason, Timestamp};
use epicenter_runtime::Backoff;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use crate::api::{Api, ApiError, status_error};
use crate::config::ExporterConfig;
use crate::health::{Health, WatchState};
use crate::lines::{Line, Lines};
use crate::list::{Page, Pages, Why};
use crate::observation::{Message, Observation, Progress, Reached, Seen, is_newer};
use crate::position::{Elsewhere, Positions};
use crate::project;
use crate::redact::Redaction;
use crate::resource::{Resource, Scope, escaped};
use crate::seen::{self, Known, Reading};
use epicenter_runtime::Clock;

/// A watch that closes sooner than that, without a word, did not find its resourceVersion: so do some managed clouds
/// instead of 410 (kubernetes/kubernetes#137089; fabric8io/kubernetes-client#7898).
const CLOSED_AT_ONCE: Duration = Duration::from_secs(2);
/// After that many such ends in a row it is listed.
const EMPTY_CLOSES: u32 = 2;
/// So often an API server must say that the position is ahead of it: a cache that lags behind says so too.
const AHEAD_ANSWERS: u32 = 3;
/// The server closes the watch; when it does not, it is closed here, that much later.
const OVERDUE: Duration = Duration::from_secs(60);
/// How often it is told that something came.
const TOLD: Duration = Duration::from_secs(1);
/// Of the answer to a request for one object; it is not looked at.
const MAX_CHECK: usize = 8 * 1024 * 1024;

/// The queue's other end is gone: the exporter is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the queue is closed")]
pub(crate) struct Closed;

/// Why a list or a watch ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    List(Why),
    /// Is the position of this history?
    Check,
    Watch,
}

/// A message of a watch.
#[derive(Deserialize)]
struct WatchLine<'l> {
    r#type: Cow<'l, str>,
    #[serde(borrow)]
    object: &'l RawValue,
}

/// Reads one scope of one cluster.
pub(crate) struct Watcher {
    scope: Arc<Scope>,
    api: Api,
    config: Arc<ExporterConfig>,
    queue: Sender<Message>,
    health: Health,
    clock: Clock,
    backoff: Backoff,
    reading: Reading,
    /// Where the watch goes on; empty when nothing is in the log.
    version: String,
    epoch: i64,
    /// When the log was up to date: what an Event of a restored history tells is new when it happened later.
    current_at: Timestamp,
    /// How much of a list that was not finished is in the log.
    progress: Option<Progress>,
    /// What is in the log was selected otherwise.
    reselected: bool,
    /// Where it was is lost.
    lost: bool,
    /// [`Reading::known`] has every object that there was at the position: it was listed since the process began.
    whole: bool,
    elsewhere: Vec<Elsewhere>,
    empty_closes: u32,
    ahead: u32,
    /// When it was last told that something came.
    told: Instant,
}

impl Watcher {
    pub(crate) fn new(
        scope: Scope,
        api: Api,
        config: Arc<ExporterConfig>,
        queue: Sender<Message>,
        health: Health,
        clock: Clock,
        positions: &Positions,
    ) -> Self {
        let position = positions.of(&scope).cloned().unwrap_or_default();
        let progress = Progress { version: position.list_resource_version, key: position.list_key };
        health.watch(&scope, WatchState::Starting);
        // It is checked before: see `ExporterConfig::check`.
        let redaction = Redaction::new(&config.redact).unwrap_or_default();
        Self {
            backoff: Backoff::new(config.retry_first_ms, config.retry_longest_ms),
            elsewhere: positions.elsewhere(&scope),
            // Events that were left out before are history; an object's facts must not stay behind.
            reselected: scope.resource != Resource::Events && position.selection != scope.selection,
            whole: false,
            scope: Arc::new(scope),
            api,
            config,
            queue,
            health,
            clock,
            reading: Reading { redaction, known: Known::default() },
            version: position.resource_version,
            epoch: position.epoch,
            current_at: position.lost_at.unwrap_or(position.at),
            lost: position.lost_at.is_some(),
            progress: Some(progress).filter(|progress| !progress.key.is_empty()),
            empty_closes: 0,
            ahead: 0,
            told: Instant::now(),
        }
    }

    /// Reads until the queue is closed.
    pub(crate) async fn run(mut self) -> Closed {
        let mut phase = match (self.version.as_str(), self.reselected) {
            ("", _) if self.lost => Phase::List(Why::Gap(GapReason::Lost)),
            ("", _) => Phase::List(Why::First),
            (_, true) => Phase::List(Why::Selection),
            (_, false) => Phase::Check,
        };
        loop {
            let outcome = match phase {
                Phase::List(why) => self.list(why).await,
                Phase::Check => self.check().await.map(|()| Phase::Watch),
                Phase::Watch => self.watch().await,
            };
            phase = match outcome {
                Ok(next) => next,
                Err(End::Closed(closed)) => return closed,
                Err(End::Api(error)) => self.failed(phase, error).await,
            };
        }
    }

    /// What to do after an error, after the time that it takes.
    async fn failed(&mut self, phase: Phase, error: ApiError) -> Phase {
        let (scope, why) = (Arc::clone(&self.scope), error.explained(self.scope.resource.name()));
        let resource = scope.name.as_str();
        if error.is_gone() {
            tracing::info!(resource, ?phase, version = self.version, why, "its history is gone: listing it");
            self.health.reconnected("expired");
            // A page that is gone: the list begins again, for the same reason.
            let again = if let Phase::List(why) = phase { why } else { Why::Gap(GapReason::Expired) };
            if matches!(phase, Phase::List(_)) {
                self.backoff.wait(None).await;
            }
            return Phase::List(again);
        }
        if error.is_ahead() {
            self.ahead += 1;
            if self.ahead >= AHEAD_ANSWERS {
                tracing::warn!(
                    resource,
                    version = self.version,
                    why,
                    "the cluster's history is shorter than what was read: it was restored"
                );
                self.health.reconnected("restored");
                self.ahead = 0;
                self.epoch += 1;
                // A list that is older than the position was one of the new history.
                self.progress = self.progress.take().filter(|list| !is_newer(&list.version, &self.version));
                return Phase::List(Why::Gap(GapReason::Restored));
            }
        }
        if error.is_unavailable() {
            self.health.watch(&scope, WatchState::Unavailable(why));
            tokio::time::sleep(Duration::from_millis(self.config.unavailable_retry_ms)).await;
        } else {
            if phase == Phase::Watch {
                self.health.reconnected("failed");
            }
            self.health.watch(&scope, WatchState::Failing(why));
            self.backoff.wait(error.retry_after()).await;
        }
        match phase {
            Phase::List(why) => Phase::List(why),
            Phase::Check | Phase::Watch => Phase::Check,
        }
    }

    async fn send(&self, seen: Seen, reached: Reached) -> Result<(), Closed> {
        let observation = Observation { scope: Arc::clone(&self.scope), epoch: self.epoch, seen, reached };
        self.queue.send(Message::Observation(observation)).await.map_err(|_| Closed)
    }

    /// Asks for an answer that is as new as the position. A watch from a position that the cluster has not come to is
    /// silent until it has, a list is refused (kubernetes/kubernetes#107457).
    async fn check(&mut self) -> Result<(), End> {
        let version = escaped(&self.version);
        let uri = self.scope.uri(&format!("limit=1&resourceVersion={version}&resourceVersionMatch=NotOlderThan"));
        self.api.get(&uri, MAX_CHECK).await?;
        self.ahead = 0;
        Ok(())
    }

    async fn list(&mut self, why: Why) -> Result<Phase, End> {
        self.health.watch(&self.scope, WatchState::Listing);
        self.send(Seen::ListBegan, Reached::Same).await?;
        let (known, whole) = (std::mem::take(&mut self.reading.known), std::mem::take(&mut self.whole));
        let mut missed = !whole;
        let (size, longest) = (self.config.page_size, self.config.max_page_bytes);
        let mut pages = Pages::new(self.api.clone(), Arc::clone(&self.scope), size, longest);
        let version = loop {
            let bytes = self.page(&mut pages).await?;
            let page = Page::read(&bytes)?;
            let version = &page.metadata.resource_version;
            for item in page.items.into_iter().flatten() {
                let json = item.get().as_bytes();
                match self.scope.resource {
                    Resource::Events => self.listed_event(why, version, json).await?,
                    Resource::Objects(kind) => {
                        missed = missed || seen::version_of(json).is_none_or(|it| is_newer(&it, &self.version));
                        let seen = self.reading.listed(kind, json);
                        let seen = seen.unwrap_or_else(|error| self.reading.rejected(json, error));
                        self.send(seen, Reached::Same).await?;
                    }
                }
            }
            if !pages.turn(page.metadata.r#continue) {
                break page.metadata.resource_version;
            }
        };
        // An API server that starts again knows no history of objects before that, and often nothing happened in it.
        missed = missed || !self.reading.known.has_all(&known) || self.scope.resource == Resource::Events;
        let gap = match why {
            Why::Gap(reason @ GapReason::Restored) => Some(reason),
            Why::Gap(reason) => Some(reason).filter(|_| missed),
            Why::First | Why::Selection => None,
        };
        self.whole = true;
        self.send(Seen::ListEnded { gap }, Reached::Version(version.clone())).await?;
        self.version = version;
        self.progress = None;
        Ok(Phase::Watch)
    }

    /// The next page. One that fails in passing is asked for again: the list need not begin anew, as long as the API
    /// server has its state.
    async fn page(&mut self, pages: &mut Pages) -> Result<bytes::Bytes, ApiError> {
        loop {
            match pages.get().await {
                Err(error) if error.passes() => {
                    self.health.watch(&self.scope, WatchState::Failing(error.explained(self.scope.resource.name())));
                    self.backoff.wait(error.retry_after()).await;
                    self.health.watch(&self.scope, WatchState::Listing);
                }
                answer => {
                    if answer.is_ok() {
                        self.backoff.reset();
                    }
                    return answer;
                }
            }
        }
    }

    /// An Event of a list goes to the log when the log does not have it.
    async fn listed_event(&mut self, why: Why, list_version: &str, json: &[u8]) -> Result<(), Closed> {
        // In a history of its own, old versions mean nothing.
        let same_history = why != Why::Gap(GapReason::Restored);
        let in_log = |version: &str| same_history && !self.version.is_empty() && !is_newer(version, &self.version);
        let event = match self.reading.event(json) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(_) if seen::version_of(json).is_some_and(|version| in_log(&version)) => return Ok(()),
            Err(error) => return self.send(self.reading.rejected(json, error), Reached::Same).await,
        };
        let key = seen::key_of(&event);
        let listed = self.progress.as_ref().is_some_and(|progress| progress.covers(&key, &event.resource_version));
        if listed || in_log(&event.resource_version) || self.is_elsewhere(&event) {
            return Ok(());
        }
        let backfill = match why {
            Why::First | Why::Selection => true,
            Why::Gap(GapReason::Restored | GapReason::Lost) => {
                event.occurred_at().is_none_or(|at| at <= self.health.in_cluster(self.current_at))
            }
            Why::Gap(_) => false,
        };
        // An older list came further: what it covers stays covered until this one has passed it.
        let further = self.progress.as_ref().filter(|progress| progress.key > key).cloned();
        let progress = further.unwrap_or_else(|| Progress { version: list_version.to_owned(), key });
        self.progress = Some(progress.clone());
        self.send(Seen::Event { event: Box::new(event), backfill }, Reached::Listed(progress)).await
    }

    async fn watch(&mut self) -> Result<Phase, End> {
        let shortest = self.config.watch_timeout_s;
        let seconds = rand::random_range(shortest..=shortest.saturating_mul(2));
        let version = escaped(&self.version);
        let query = format!("watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds={seconds}");
        let began = Instant::now();
        let overdue = began + Duration::from_secs(seconds) + OVERDUE;
        let mut lines = Lines::new(self.api.open(&self.scope.uri(&query)).await?, self.config.max_object_bytes);
        self.health.watch(&self.scope, WatchState::Watching);
        self.health.received(&self.scope, (self.clock)());
        let mut messages = 0_u64;
        let ended = loop {
            let check = Instant::now() + Duration::from_millis(self.config.watch_check_ms);
            match tokio::time::timeout_at(check.min(overdue), lines.next()).await {
                Ok(Ok(Some(line))) => self.line(line).await?,
                Ok(Ok(None)) => break Ok(Phase::Check),
                Ok(Err(error)) => break Err(error.into()),
                Err(_) if Instant::now() >= overdue => break Ok(Phase::Check),
                Err(_) => match self.check().await {
                    // It lives, and is busy.
                    Ok(()) | Err(End::Api(ApiError::Status { code: 429, .. })) => {
                        self.health.received(&self.scope, (self.clock)());
                        continue;
                    }
                    Err(end) => break Err(end),
                },
            }
            messages += 1;
        };
        if messages > 0 || began.elapsed() >= CLOSED_AT_ONCE {
            self.backoff.reset();
            self.empty_closes = 0;
        }
        if messages > 0 || began.elapsed() >= CLOSED_AT_ONCE || ended.is_err() {
            if ended.is_ok() {
                self.health.reconnected("closed");
            }
            return ended;
        }
        self.empty_closes += 1;
        if self.empty_closes < EMPTY_CLOSES {
            self.backoff.wait(None).await;
            return Ok(Phase::Check);
        }
        self.empty_closes = 0;
        let why = "the watch closed at once, without a word";
        self.health.reconnected("closed_empty");
        self.health.watch(&self.scope, WatchState::Failing(why.to_owned()));
        tracing::info!(resource = self.scope.name, version = self.version, why, "listing it");
        self.backoff.wait(None).await;
        Ok(Phase::List(Why::Gap(GapReason::ClosedEmpty)))
    }

    async fn line(&mut self, line: Line) -> Result<(), End> {
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong(start, length) => {
                let limit = self.config.max_object_bytes;
                let error = format!("the line has {length} bytes and {limit} are read: see max_object_bytes");
                self.send(self.reading.rejected(&start, error), Reached::Same).await?;
                return Ok(());
            }
        };
        let WatchLine { r#type, object } = match project::read(&line) {
            Ok(message) => message,
            Err(error) => {
                self.send(self.reading.rejected(&line, error), Reached::Same).await?;
                return Ok(());
            }
        };
        let json = object.get().as_bytes();
        let seen = match (&*r#type, self.scope.resource) {
            ("ERROR", _) => return Err(status_error(500, None, json).into()),
            // The deletion of an Event is its expiry: it says nothing of what the Event told.
            ("BOOKMARK", _) | ("DELETED", Resource::Events) => Ok(Seen::Nothing),
            ("ADDED" | "MODIFIED", Resource::Events) => self.reading.event(json).map(|event| self.watched_event(event)),
            ("ADDED" | "MODIFIED", Resource::Objects(kind)) => self.reading.changed(kind, json),
            ("DELETED", Resource::Objects(kind)) => self.reading.deleted(kind, json),
            (other, _) => {
                let error = format!("a watch message of type `{other}` is not known to this version");
                Ok(self.reading.rejected(&line, error))
            }
        };
        let seen = seen.unwrap_or_else(|error| self.reading.rejected(json, error));
        let reached = match &seen {
            Seen::Event { event, .. } => self.reached(Some(event.resource_version.clone())),
            Seen::Object { facts, .. } => self.reached(Some(facts.resource_version.clone())),
            _ => self.reached(seen::version_of(json)),
        };
        self.send(seen, reached).await?;
        self.current_at = (self.clock)();
        if self.told.elapsed() >= TOLD {
            self.told = Instant::now();
            self.health.received(&self.scope, self.current_at);
        }
        Ok(())
    }

    /// An Event of a watch; one that an unfinished list already brought is in the log.
    fn watched_event(&self, event: Option<Event>) -> Seen {
        let listed = |event: &Event| {
            self.progress.as_ref().is_some_and(|list| list.covers(&seen::key_of(event), &event.resource_version))
        };
        match event.filter(|event| !listed(event) && !self.is_elsewhere(event)) {
            Some(event) => Seen::Event { event: Box::new(event), backfill: false },
            None => Seen::Nothing,
        }
    }

    /// Another scope brought it to the log, before the configured namespaces were others.
    fn is_elsewhere(&self, event: &Event) -> bool {
        self.elsewhere.iter().any(|other| {
            other.epoch == self.epoch
                && (other.namespace.is_empty() || other.namespace == event.namespace)
                && !is_newer(&event.resource_version, &other.version)
        })
    }

    /// The watch has come to that version.
    fn reached(&mut self, version: Option<String>) -> Reached {
        match version.filter(|version| !version.is_empty()) {
            Some(version) => {
                self.version.clone_from(&version);
                Reached::Version(version)
            }
            None => Reached::Same,
        }
    }
}
