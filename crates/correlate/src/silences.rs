//! Silences: of which incidents nobody is told.

use std::collections::BTreeMap;

use epicenter_model::{Incident, Silence, Silenced, Timestamp};

/// The silences that are in force, or will be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silences {
    all: BTreeMap<String, Silence>,
    /// Log time at which one of them begins or ends next. Follows from them, and from log time.
    next: Option<Timestamp>,
}

impl Silences {
    pub fn get(&self, id: &str) -> Option<&Silence> {
        self.all.get(id)
    }

    pub fn insert(&mut self, silence: Silence, now: Timestamp) {
        self.all.insert(silence.id.clone(), silence);
        self.look_ahead(now);
    }

    pub fn remove(&mut self, id: &str, now: Timestamp) -> bool {
        let found = self.all.remove(id).is_some();
        self.look_ahead(now);
        found
    }

    pub fn look_ahead(&mut self, now: Timestamp) {
        let times = self.all.values().flat_map(|silence| [silence.starts_at, silence.ends_at]);
        self.next = times.filter(|at| *at > now).min();
    }

    /// Log time at which one of them begins or ends next.
    pub fn next_turn(&self) -> Option<Timestamp> {
        self.next
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Ids of those that are over.
    pub fn ended(&self, now: Timestamp) -> Vec<String> {
        self.all.values().filter(|silence| silence.ends_at <= now).map(|silence| silence.id.clone()).collect()
    }

    /// The one by which nobody is told now of an incident that looks so: of several the one that lasts longest.
    pub fn of(&self, face: impl FnOnce() -> Incident, now: Timestamp) -> Option<Silenced> {
        if self.all.is_empty() {
            return None;
        }
        let face = face();
        let now = |silence: &&Silence| silence.starts_at <= now && now < silence.ends_at;
        let found = self.all.values().filter(now).filter(|silence| silence.matcher.holds(&face));
        found.max_by(|a, b| (a.ends_at, &a.id).cmp(&(b.ends_at, &b.id))).map(Silence::shown)
    }
}
