//! What an exporter says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use epicenter_model::Timestamp;
use epicenter_runtime::metric::{
    ACK_LAG, CLOCK, CLUSTER_UP, DEAD_LETTERS, GAPS, LAST_HEARTBEAT, LEADER, LIMITED, RECORDS, SPOOL, SPOOL_LIMIT,
    WATCH_RESTARTS, WATCH_SEEN, WATCH_UP,
};
use epicenter_runtime::{Health as Parts, Metrics};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::resource::{Resource, Scope};

/// How a watch fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// It has not been opened yet.
    Starting,
    /// It is being listed.
    Listing,
    /// It is connected, and everything up to its position is read.
    Watching,
    /// It failed, and is tried again.
    Failing(String),
    /// The API server does not have it, or does not allow it; it is asked again from time to time.
    Unavailable(String),
}

/// What an exporter has done since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its watches, by resource: `pods`, or `team-a/pods`.
    pub watches: BTreeMap<String, WatchState>,
    /// Why nothing is to be had of the cluster.
    pub cluster_problem: Option<String>,
    /// Why nothing can be written to the log.
    pub log_problem: Option<String>,
    /// Log time of the newest record that was committed.
    pub last_record: Option<Timestamp>,
    /// Log time of the newest heartbeat that was committed.
    pub last_heartbeat: Option<Timestamp>,
    /// Records that were committed.
    pub records: u64,
    /// Stretches of history that could not be had.
    pub gaps: u64,
    /// Lines and objects that could not be read.
    pub dead_letters: u64,
    /// Times that it began again, since another exporter of the same cluster had taken over.
    pub restarts: u64,
}

impl Snapshot {
    /// Every watch that there can be is connected, and Events are among them: silence means that nothing happened.
    fn is_healthy(&self) -> bool {
        let well = |(name, watch): (&String, &WatchState)| match watch {
            WatchState::Watching => true,
            WatchState::Unavailable(_) => !is_events(name),
            _ => false,
        };
        self.watches.keys().any(|name| is_events(name)) && self.watches.iter().all(well)
    }
}

/// The name of a watch is one of Events.
pub(crate) fn is_events(name: &str) -> bool {
    name.rsplit('/').next() == Some(Resource::Events.name())
}

/// The health of one cluster's exporter; also tells `/readyz` and the metrics. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    cluster: Arc<str>,
    parts: Parts,
    metrics: Metrics,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    snapshot: Snapshot,
    /// The last commit, or the beginning of the session.
    committed: Option<Instant>,
    clock_ahead_ms: i64,
}

/// What a commit put into the log.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) events: u64,
    pub(crate) objects: u64,
    pub(crate) gaps: u64,
    pub(crate) dead_letters: u64,
    /// Log time and content of the newest heartbeat.
    pub(crate) heartbeat: Option<(Timestamp, bool)>,
    /// Log time of the oldest record.
    pub(crate) oldest: Option<Timestamp>,
}

impl Health {
    /// The health of `cluster`'s exporter, shown among the process's `parts` and `metrics`.
    pub fn new(cluster: &str, parts: Parts, metrics: Metrics) -> Self {
        Self { cluster: cluster.into(), parts, metrics, state: Arc::default() }
    }

    /// How it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.lock().snapshot.clone()
    }

    /// Every watch that there can be is connected, and Events are among them: silence means that nothing happened.
    pub fn is_healthy(&self) -> bool {
        self.state.lock().snapshot.is_healthy()
    }

    pub(crate) fn watch(&self, scope: &Scope, watch: WatchState) {
        let part = self.part(&scope.name);
        match &watch {
            WatchState::Watching => self.parts.well(&part),
            WatchState::Starting => self.parts.unwell(&part, "not connected yet"),
            WatchState::Listing => self.parts.unwell(&part, "being listed"),
            WatchState::Failing(why) => self.parts.unwell(&part, why),
            WatchState::Unavailable(why) if scope.resource == Resource::Events => self.parts.unwell(&part, why),
            // It does without.
            WatchState::Unavailable(_) => self.parts.forget(&part),
        }
        self.metrics.set(&WATCH_UP, &[&self.cluster, &scope.name], truth(watch == WatchState::Watching));
        self.change(|snapshot| {
            let before = snapshot.watches.insert(scope.name.clone(), watch.clone());
            if let WatchState::Unavailable(why) = &watch
                && !matches!(before, Some(WatchState::Unavailable(_)))
            {
                tracing::warn!(cluster = &*self.cluster, resource = scope.name, why, "it is left out");
            }
        });
    }

    /// The watch brought something.
    pub(crate) fn received(&self, scope: &Scope, at: Timestamp) {
        self.metrics.set(&WATCH_SEEN, &[&self.cluster, &scope.name], at.as_millis() as f64 / 1e3);
    }

    /// The watch ended, for that reason, and is opened anew.
    pub(crate) fn reconnected(&self, reason: &str) {
        self.metrics.add(&WATCH_RESTARTS, &[&self.cluster, reason], 1.0);
    }

    /// The API server's clock is so far ahead of this one, ms.
    pub(crate) fn clock_ahead(&self, ms: i64) {
        self.state.lock().clock_ahead_ms = ms;
        self.metrics.set(&CLOCK, &[&self.cluster], ms as f64 / 1e3);
    }

    /// What the API server's clock shows at `at` of this one, as far as its newest answer tells.
    pub(crate) fn in_cluster(&self, at: Timestamp) -> Timestamp {
        at.plus_millis(self.state.lock().clock_ahead_ms)
    }

    /// A request waited for the rate limit.
    pub(crate) fn limited(&self, waited: Duration) {
        self.metrics.add(&LIMITED, &[&self.cluster], waited.as_secs_f64());
    }

    pub(crate) fn log(&self, problem: Option<String>) {
        self.show("log", problem.as_deref());
        self.change(|snapshot| snapshot.log_problem = problem);
    }

    pub(crate) fn cluster(&self, problem: Option<String>) {
        match &problem {
            None => self.parts.forget(&self.part("api-server")),
            Some(_) => self.show("api-server", problem.as_deref()),
        }
        self.change(|snapshot| snapshot.cluster_problem = problem);
    }

    /// This exporter is to read the cluster.
    pub(crate) fn leading(&self) {
        self.cluster(None);
        self.show("lease", None);
        self.metrics.set(&LEADER, &[&self.cluster], 1.0);
    }

    /// Another exporter reads the cluster, and tells whether it is up. This one is well: it is ready to take over.
    pub(crate) fn standby(&self, holder: &str) {
        self.cluster(None);
        self.show("lease", None);
        tracing::debug!(cluster = &*self.cluster, holder, "standing by");
        self.metrics.set(&LEADER, &[&self.cluster], 0.0);
        self.metrics.forget(&CLUSTER_UP, &[&self.cluster]);
    }

    /// A session begins: from now on something must be committed from time to time.
    pub(crate) fn began(&self) {
        self.state.lock().committed = Some(Instant::now());
    }

    /// How long nothing was committed.
    pub(crate) fn since_commit(&self) -> Duration {
        self.state.lock().committed.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// The session is over: there are no watches.
    pub(crate) fn ended(&self) {
        self.change(|snapshot| {
            for name in std::mem::take(&mut snapshot.watches).keys() {
                self.parts.forget(&self.part(name));
                self.metrics.forget(&WATCH_UP, &[&self.cluster, name]);
                self.metrics.forget(&WATCH_SEEN, &[&self.cluster, name]);
            }
        });
    }

    pub(crate) fn restarted(&self) {
        self.state.lock().snapshot.restarts += 1;
    }

    /// Nothing can be read of the cluster, for a reason that others tell.
    pub(crate) fn down(&self) {
        self.metrics.set(&CLUSTER_UP, &[&self.cluster], 0.0);
    }

    /// The cluster is no longer read: nothing is told of it.
    pub(crate) fn gone(&self) {
        self.parts.forget_all(&self.part(""));
        self.metrics.forget_all("cluster", &self.cluster);
    }

    pub(crate) fn committed(&self, done: Committed, at: Timestamp, now: Timestamp) {
        self.log(None);
        let cluster = &*self.cluster;
        for (record, count) in [("event", done.events), ("object", done.objects)] {
            if count > 0 {
                self.metrics.add(&RECORDS, &[cluster, record], count as f64);
            }
        }
        if done.gaps > 0 {
            self.metrics.add(&GAPS, &[cluster], done.gaps as f64);
        }
        if done.dead_letters > 0 {
            self.metrics.add(&DEAD_LETTERS, &["exporter"], done.dead_letters as f64);
        }
        if let Some((at, _)) = done.heartbeat {
            self.metrics.set(&LAST_HEARTBEAT, &[cluster], at.as_millis() as f64 / 1e3);
        }
        if let Some(oldest) = done.oldest {
            let lag = now.as_micros().saturating_sub(oldest.as_micros()).max(0);
            self.metrics.set(&ACK_LAG, &[cluster], lag as f64 / 1e6);
        }
        let mut state = self.state.lock();
        state.committed = Some(Instant::now());
        let snapshot = &mut state.snapshot;
        snapshot.records += done.events + done.objects;
        snapshot.gaps += done.gaps;
        snapshot.dead_letters += done.dead_letters;
        snapshot.last_record = Some(at);
        snapshot.last_heartbeat = done.heartbeat.map(|(at, _)| at).or(snapshot.last_heartbeat);
    }

    /// Tells how full the spool is, when there is one.
    pub(crate) fn spool(&self, backlog: &Backlog) {
        if let Some((fill, _)) = backlog.fill() {
            self.metrics.set(&SPOOL, &[&self.cluster], fill.bytes as f64);
            self.metrics.set(&SPOOL_LIMIT, &[&self.cluster], fill.max_bytes as f64);
        }
    }

    fn part(&self, name: &str) -> String {
        format!("{}/{name}", self.cluster)
    }

    fn show(&self, part: &str, problem: Option<&str>) {
        match problem {
            None => self.parts.well(&self.part(part)),
            Some(why) => self.parts.unwell(&self.part(part), why),
        }
    }

    /// Changes the state, and tells what it means.
    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut state = self.state.lock();
        change(&mut state.snapshot);
        let Snapshot { cluster_problem, log_problem, .. } = &state.snapshot;
        let up = cluster_problem.is_none() && log_problem.is_none() && state.snapshot.is_healthy();
        self.metrics.set(&CLUSTER_UP, &[&self.cluster], truth(up));
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
