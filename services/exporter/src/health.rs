//! What an exporter says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::Timestamp;
use epicenter_runtime::metric::{CLUSTER_UP, DEAD_LETTERS, GAPS, LAST_HEARTBEAT, RECORDS};
use epicenter_runtime::{Health as Parts, Metrics};
use parking_lot::Mutex;

use crate::resource::Resource;

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
    /// Its watches, by resource.
    pub watches: BTreeMap<&'static str, WatchState>,
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

/// The health of one cluster's exporter; also tells `/readyz` and the metrics. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    cluster: Arc<str>,
    parts: Parts,
    metrics: Metrics,
    state: Arc<Mutex<Snapshot>>,
}

/// What a commit put into the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Committed {
    pub(crate) events: u64,
    pub(crate) objects: u64,
    pub(crate) gaps: u64,
    pub(crate) dead_letters: u64,
    /// Log time and content of the newest heartbeat.
    pub(crate) heartbeat: Option<(Timestamp, bool)>,
}

impl Health {
    /// The health of `cluster`'s exporter, shown among the process's `parts` and `metrics`.
    pub fn new(cluster: &str, parts: Parts, metrics: Metrics) -> Self {
        Self { cluster: cluster.into(), parts, metrics, state: Arc::default() }
    }

    /// How it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.lock().clone()
    }

    /// Every watch that there can be is connected, and Events are among them: silence means that nothing happened.
    pub fn is_healthy(&self) -> bool {
        let state = self.state.lock();
        let well = |(name, watch): (&&str, &WatchState)| match watch {
            WatchState::Watching => true,
            WatchState::Unavailable(_) => *name != Resource::Events.name(),
            _ => false,
        };
        state.watches.contains_key(Resource::Events.name()) && state.watches.iter().all(well)
    }

    pub(crate) fn watch(&self, resource: Resource, watch: WatchState) {
        let part = format!("{}/{resource}", self.cluster);
        match &watch {
            WatchState::Watching => self.parts.well(&part),
            WatchState::Starting => self.parts.unwell(&part, "not connected yet"),
            WatchState::Listing => self.parts.unwell(&part, "being listed"),
            WatchState::Failing(why) => self.parts.unwell(&part, why),
            WatchState::Unavailable(why) if resource == Resource::Events => self.parts.unwell(&part, why),
            // It does without.
            WatchState::Unavailable(_) => self.parts.forget(&part),
        }
        self.state.lock().watches.insert(resource.name(), watch);
    }

    pub(crate) fn log(&self, problem: Option<String>) {
        let part = format!("{}/log", self.cluster);
        match problem {
            None => self.parts.well(&part),
            Some(why) => self.parts.unwell(&part, why),
        }
    }

    pub(crate) fn cluster(&self, problem: Option<String>) {
        let part = format!("{}/api-server", self.cluster);
        match problem {
            None => self.parts.forget(&part),
            Some(why) => self.parts.unwell(&part, why),
        }
    }

    pub(crate) fn restarted(&self) {
        self.state.lock().restarts += 1;
    }

    pub(crate) fn committed(&self, done: Committed, at: Timestamp) {
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
        if let Some((at, healthy)) = done.heartbeat {
            self.metrics.set(&LAST_HEARTBEAT, &[cluster], at.as_millis() as f64 / 1e3);
            self.metrics.set(&CLUSTER_UP, &[cluster], f64::from(u8::from(healthy)));
        }
        let mut state = self.state.lock();
        state.records += done.events + done.objects;
        state.gaps += done.gaps;
        state.dead_letters += done.dead_letters;
        state.last_record = Some(at);
        state.last_heartbeat = done.heartbeat.map(|(at, _)| at).or(state.last_heartbeat);
    }
}
