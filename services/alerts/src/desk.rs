//! What one receiver was told, and what it is to be told next: pure, without I/O and clock.
//!
//! Time is the log's while a log is read (a record tells the time of its cluster), and the wall's while there is nothing to
//! read. So what comes of a backlog is what would have come of it in time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use epicenter_model::{Incident, IncidentChange, IncidentState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::notice::{Kind, Notice, labels};
use crate::rule::Rules;

/// How often a condition that watches time is asked again, ms.
const LOOK_AGAIN: i64 = 10_000;

/// An incident: its cluster and id.
pub(crate) type Key = (String, String);

/// What is known of an incident that goes on, or whose end is to be told. Kept across restarts as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thread {
    incident: Incident,
    /// Log time since when it is open.
    since: Timestamp,
    told: Option<Told>,
    /// It was silent since it was told.
    #[serde(default)]
    silent: bool,
    /// A notice was begun, and it is not known whether it arrived.
    begun: Option<Begun>,
}

impl Thread {
    /// When the receiver was told of it last.
    pub(crate) fn told_at(&self) -> Option<Timestamp> {
        self.told.as_ref().map(|told| told.at)
    }

    /// Since when a notice is under way.
    pub(crate) fn begun_at(&self) -> Option<Timestamp> {
        self.begun.as_ref().map(|begun| begun.at)
    }
}

/// What the receiver knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    /// As it was told last.
    version: i64,
    severity: epicenter_model::Severity,
    labels: BTreeMap<String, String>,
    at: Timestamp,
    /// Repetitions of that version.
    repeats: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Begun {
    kind: Kind,
    repeats: u32,
    at: Timestamp,
}

/// What looking at an incident comes to.
enum Verdict {
    Tell(Kind, u32),
    LookAt(Timestamp),
    Nothing,
}

/// What one receiver was told and is to be told.
pub struct Desk {
    rules: Arc<Rules>,
    receiver: String,
    send_resolved: bool,
    repeats: bool,
    threads: BTreeMap<Key, Thread>,
    /// By cluster: when to look at which incident.
    agenda: BTreeMap<String, BTreeSet<(Timestamp, String)>>,
    places: BTreeMap<Key, Timestamp>,
    changed: BTreeSet<Key>,
}

impl Desk {
    /// A receiver that was told nothing yet; it is told of ends, and again after a while, if it wants that.
    pub fn new(rules: Arc<Rules>, receiver: &str, send_resolved: bool, repeats: bool) -> Self {
        let receiver = receiver.to_owned();
        let (threads, agenda) = (BTreeMap::new(), BTreeMap::new());
        let (places, changed) = (BTreeMap::new(), BTreeSet::new());
        Self { rules, receiver, send_resolved, repeats, threads, agenda, places, changed }
    }

    /// Goes on where a state was kept.
    pub(crate) fn restore(&mut self, threads: BTreeMap<Key, Thread>) {
        self.threads = threads;
        let keys: Vec<Key> = self.threads.keys().cloned().collect();
        for key in keys {
            self.plan(&key, Timestamp::default());
        }
    }

    /// Takes a change over. Tell what is due in its cluster at its time first. A change that is not newer does nothing.
    pub fn take(&mut self, change: &IncidentChange) {
        let incident = &change.incident;
        let key = (incident.cluster.clone(), incident.id.clone());
        let known = self.threads.get(&key);
        if known.is_some_and(|known| known.incident.version >= incident.version) {
            return;
        }
        let open = incident.state == IncidentState::Open;
        let told = known.and_then(|known| known.told.clone());
        let silent = incident.silenced.is_some() || known.is_some_and(|known| known.silent);
        if !open && (told.is_none() || !self.send_resolved) {
            if self.threads.remove(&key).is_some() {
                self.changed.insert(key.clone());
            }
            self.unplan(&key);
            return;
        }
        let going_on = known.filter(|known| known.incident.state == IncidentState::Open);
        let since = going_on.map_or(change.at, |known| known.since);
        let incident = Incident { members: Vec::new(), backfill: change.backfill, ..incident.clone() };
        self.threads.insert(key.clone(), Thread { incident, since, told, silent, begun: None });
        self.changed.insert(key.clone());
        self.plan(&key, change.at);
    }

    /// The next notice that is due at `now`, in `cluster` or in all. It is begun, and [`Desk::done`] ends it: one that is
    /// begun and not done comes again, the same.
    pub fn next(&mut self, cluster: Option<&str>, now: Timestamp) -> Option<Notice> {
        while let Some(key) = self.due(cluster, now) {
            self.unplan(&key);
            let Some(thread) = self.threads.get(&key) else { continue };
            let begun = match (&thread.begun, self.verdict(thread, now)) {
                (Some(begun), _) => begun.clone(),
                (None, Verdict::Tell(kind, repeats)) => Begun { kind, repeats, at: now },
                (None, Verdict::LookAt(at)) => {
                    self.plan(&key, at);
                    continue;
                }
                (None, Verdict::Nothing) => continue,
            };
            let notice = thread.notice(&begun);
            if let Some(thread) = self.threads.get_mut(&key) {
                thread.begun = Some(begun);
            }
            self.changed.insert(key);
            return Some(notice);
        }
        None
    }

    /// It was told at `now`, or set aside.
    pub fn done(&mut self, notice: &Notice, now: Timestamp) {
        let key = (notice.incident.cluster.clone(), notice.incident.id.clone());
        self.changed.insert(key.clone());
        if notice.kind == Kind::Resolved {
            self.threads.remove(&key);
            return;
        }
        let Some(thread) = self.threads.get_mut(&key) else { return };
        let Incident { version, severity, .. } = notice.incident;
        let (labels, repeats) = (notice.labels.clone(), notice.repeats);
        thread.told = Some(Told { version, severity, labels, at: now, repeats });
        thread.begun = None;
        thread.silent = false;
        self.plan(&key, now);
    }

    /// What has to be kept, and what no longer (`None`), since this was asked last.
    pub(crate) fn changes(&mut self) -> Vec<(Key, Option<&Thread>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key.clone(), self.threads.get(&key))).collect()
    }

    /// Incidents that the receiver was told of and that go on, but for those that are silent.
    pub(crate) fn firing(&self) -> impl Iterator<Item = Notice> {
        let open = self.threads.values().filter(|thread| thread.incident.state == IncidentState::Open);
        open.filter(|thread| thread.incident.silenced.is_none()).filter_map(|thread| {
            let Told { repeats, at, .. } = *thread.told.as_ref()?;
            Some(thread.notice(&Begun { kind: Kind::Repeat, repeats, at }))
        })
    }

    /// Incidents of which the receiver knows, or may be told yet.
    pub(crate) fn len(&self) -> usize {
        self.threads.len()
    }

    fn verdict(&self, thread: &Thread, now: Timestamp) -> Verdict {
        let Thread { incident, since, told, silent, .. } = thread;
        if incident.state != IncidentState::Open {
            return Verdict::Tell(Kind::Resolved, 0);
        }
        if incident.silenced.is_some() {
            return Verdict::Nothing;
        }
        let acknowledged = incident.acknowledged.is_some();
        let after = |from: Timestamp, wait: Duration| from.plus_millis(wait.as_millis().try_into().unwrap_or(i64::MAX));
        match (self.rules.route(&self.receiver, incident, now), told) {
            (Some(_), None) if acknowledged => Verdict::Nothing,
            (Some(rule), None) => match after(*since, rule.group_wait) {
                ready if ready <= now => Verdict::Tell(Kind::Firing, 0),
                ready => Verdict::LookAt(ready),
            },
            (Some(_), Some(told)) if incident.severity > told.severity => Verdict::Tell(Kind::Worse, 0),
            (Some(_), Some(_)) if acknowledged => Verdict::Nothing,
            (Some(_), Some(_)) if self.repeats && *silent => Verdict::Tell(Kind::Repeat, 1),
            (Some(rule), Some(told)) if self.repeats => match after(told.at, rule.repeat_interval) {
                ready if ready <= now && told.version == incident.version => {
                    Verdict::Tell(Kind::Repeat, told.repeats + 1)
                }
                ready if ready <= now => Verdict::Tell(Kind::Repeat, 1),
                ready => Verdict::LookAt(ready),
            },
            (None, None) if self.rules.watch_time() => Verdict::LookAt(now.plus_millis(LOOK_AGAIN)),
            (None, _) | (Some(_), Some(_)) => Verdict::Nothing,
        }
    }

    fn due(&self, cluster: Option<&str>, now: Timestamp) -> Option<Key> {
        let first = |(cluster, of): (&String, &BTreeSet<(Timestamp, String)>)| {
            of.first().filter(|(at, _)| *at <= now).map(|(at, id)| (*at, (cluster.clone(), id.clone())))
        };
        match cluster {
            Some(cluster) => self.agenda.get_key_value(cluster).and_then(first),
            None => self.agenda.iter().filter_map(first).min(),
        }
        .map(|(_, key)| key)
    }

    fn plan(&mut self, key: &Key, at: Timestamp) {
        self.unplan(key);
        self.agenda.entry(key.0.clone()).or_default().insert((at, key.1.clone()));
        self.places.insert(key.clone(), at);
    }

    fn unplan(&mut self, key: &Key) {
        if let Some(at) = self.places.remove(key)
            && let Some(of) = self.agenda.get_mut(&key.0)
        {
            of.remove(&(at, key.1.clone()));
            if of.is_empty() {
                self.agenda.remove(&key.0);
            }
        }
    }
}

impl Thread {
    fn notice(&self, begun: &Begun) -> Notice {
        let Begun { kind, repeats, at } = *begun;
        let known = self.told.as_ref().map(|told| told.labels.clone());
        let labels = match (kind, &known) {
            (Kind::Repeat | Kind::Resolved, Some(known)) => known.clone(),
            _ => labels(&self.incident),
        };
        let before = known.filter(|known| *known != labels);
        Notice { kind, repeats, at, incident: self.incident.clone(), labels, before }
    }
}

#[cfg(test)]
mod tests;
