//! An incident while it is open, and until it can no longer be reopened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use epicenter_model::{Category, Cause, Incident, IncidentState, Member, ObjectRef, Severity, Timestamp};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::quotes::Quotes;
use crate::row::{Row, RowRole};
use crate::timers::Alarm;
use crate::voice::Voice;
use crate::words::Words;
use crate::workloads::Workloads;

/// Most possible roots.
pub(crate) const CANDIDATES: usize = 24;
const REASONS: usize = 40;
/// At most one update of an incident in a tenth of its age of log time, but no less and no more than so much, ms: the older it is, the less
/// changes with each Event. What matters is told at once.
const UPDATE_MS: (i64, i64) = (1_000, 5_000);
/// A resolved incident is reopened rather than opened anew.
const REOPEN_MS: i64 = 600_000;
/// What ends by itself mostly does so within this: an attachment that moves with its pod, a node that the autoscaler adds.
pub(crate) const STAYS_MS: i64 = 90_000;
/// All of it has recovered: it could still flap.
const RECOVERED_MS: i64 = 30_000;
/// What failed was removed: what replaces it could fail again, after a back-off.
const REMOVED_MS: i64 = 180_000;
/// Its root has recovered, and not yet all that it did: longer than the longest back-off (300 s).
const ROOT_RECOVERED_MS: i64 = 330_000;

/// It is worth no more than that until it has lasted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cap {
    pub severity: Severity,
    /// A planned change explains it; otherwise its like often passes by itself.
    pub planned: bool,
    /// Log time at which it counts in full if it still goes on.
    pub until: Option<Timestamp>,
}

impl Cap {
    /// That of two incidents that are one: a planned change excuses what often passes anyway.
    pub fn of_both(self, other: Self) -> Self {
        let until = match (self.planned, other.planned) {
            (true, false) => self.until,
            (false, true) => other.until,
            _ => self.until.into_iter().chain(other.until).min(),
        };
        Self { severity: self.severity.max(other.severity), planned: self.planned || other.planned, until }
    }
}

/// All of an incident but its members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub no: u64,
    pub id: String,
    pub version: i64,
    pub state: IncidentState,
    pub category: Category,
    /// The severity without the effect of `cap`.
    pub worst: Severity,
    pub cap: Option<Cap>,
    /// It was over in less than a minute.
    pub healed: bool,
    pub opened_at: Timestamp,
    pub last_event_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// Log time at which the newest change was told, and what it said.
    pub told_at: Timestamp,
    pub told: Option<(Severity, String, ObjectRef)>,
    pub root_row: Option<u32>,
    /// Something is to be told at [`Live::next_update`].
    pub due: bool,
    /// Quiet clock at its newest symptom, ms, and how long it may be quiet.
    pub active: i64,
    pub quiet_ms: i64,
    /// Log time and quiet clock at the newest recovery, while nothing came after it.
    pub recovered: Option<(Timestamp, i64)>,
    /// The object to blame has recovered; otherwise only all that it did.
    pub root_recovered: bool,
    /// What is over ended because its object was removed.
    pub removed: bool,
    pub candidates: Vec<Candidate>,
    /// Row numbers given so far.
    pub given: u32,
    pub objects: i64,
    pub occurrences: i64,
    pub by_reason: BTreeMap<Box<str>, i64>,
    /// Pods whose Events were counted and not remembered.
    pub more_pods: i64,
    /// How often each causal rule was used.
    pub rules: BTreeMap<Box<str>, i64>,
    /// Formats 1 and 2 have earlier incidents here. They follow from the histories now: nothing is.
    pub unused: (i64, Vec<String>),
    pub recurrence_of: String,
    /// Incidents that this one took over.
    pub absorbed: Vec<u64>,
}

/// A possible root: the Events that have it in common, or that it explains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub class: Arc<str>,
    pub object: Arc<ObjectRef>,
    pub entity: u64,
    /// Members in its trees, not those of candidates under it.
    pub explained: i64,
    /// Emitter's clock.
    pub first: Timestamp,
    /// Its first row.
    pub row: u32,
    /// The rule of common cause by which it was inferred.
    pub common: Option<Box<str>>,
    /// The candidate that explains it.
    pub under: Option<usize>,
    /// The planned change before it.
    pub trigger: Option<u32>,
}

/// What an incident is by its last telling, or will be by the next: severity, and the root's class and object.
pub(crate) type Face<'f> = (Severity, &'f str, &'f ObjectRef);

/// An incident in memory. All but `head`, `rows`, `quotes` and `voice` follows from them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub head: Head,
    pub rows: BTreeMap<u32, Row>,
    pub quotes: Quotes,
    pub voice: Voice,
    /// Lasting members that are not over.
    pub pending: usize,
    pub lasting: usize,
    /// Rows that the newest told version does not have as they are.
    pub untold: BTreeSet<u32>,
    /// What has moved to another incident since the newest told version.
    pub moved: Vec<Member>,
    /// Rows that changed since they were last written.
    pub dirty: BTreeSet<u32>,
    /// It changed since it was last written, and is listed.
    pub unwritten: bool,
    pub words: Option<Words>,
    /// Pods, and whether it is known whose they are.
    pods: FxHashMap<u64, bool>,
    owned: i64,
    nodes: BTreeSet<Box<str>>,
    namespaces: BTreeSet<Box<str>>,
    workloads: Workloads,
}

impl Head {
    pub fn severity(&self) -> Severity {
        let capped = self.cap.map_or(self.worst, |cap| self.worst.min(cap.severity));
        if self.healed { Severity::Info } else { capped }
    }

    /// Counts occurrences. What a broken emitter counts is no number to trust: it ends where numbers do.
    pub fn heard(&mut self, occurrences: i64) {
        self.occurrences = self.occurrences.saturating_add(occurrences);
    }

    /// Counts uses of a causal rule.
    pub fn used(&mut self, rule: &str, times: i64) {
        match self.rules.get_mut(rule) {
            Some(count) => *count += times,
            None => _ = self.rules.insert(rule.into(), times),
        }
    }

    /// Counts an Event object.
    pub fn count(&mut self, reason: &str) {
        self.objects += 1;
        if let Some(count) = self.by_reason.get_mut(reason) {
            *count += 1;
        } else {
            let reason = if self.by_reason.len() < REASONS { reason } else { "…" };
            *self.by_reason.entry(reason.into()).or_default() += 1;
        }
    }

    /// An Event object is elsewhere.
    pub fn uncount(&mut self, reason: &str) {
        let counted = if self.by_reason.contains_key(reason) { reason } else { "…" };
        if let Some(count) = self.by_reason.get_mut(counted) {
            *count -= 1;
            if *count <= 0 {
                self.by_reason.remove(counted);
            }
        }
    }

    /// The candidate of this class and object, new or known; `None` when there are too many.
    pub fn candidate(&mut self, class: &str, entity: u64, new: impl FnOnce() -> Candidate) -> Option<usize> {
        self.find(class, entity, None).or_else(|| {
            (self.candidates.len() < CANDIDATES).then(|| {
                self.candidates.push(new());
                self.candidates.len() - 1
            })
        })
    }

    /// The candidate of this class and object, by this rule of common cause or none.
    pub fn find(&self, class: &str, entity: u64, common: Option<&str>) -> Option<usize> {
        let fits = |c: &Candidate| c.entity == entity && *c.class == *class && c.common.as_deref() == common;
        self.candidates.iter().position(fits)
    }

    /// The candidate that explains `index`, at the end of all.
    pub fn root_of(&self, index: usize) -> usize {
        let mut at = index;
        for _ in 0..self.candidates.len() {
            match self.candidates.get(at).and_then(|candidate| candidate.under) {
                Some(above) => at = above,
                None => break,
            }
        }
        at
    }

    /// Puts the candidate `index` under `above`, unless that would be a circle.
    pub fn adopt(&mut self, index: usize, above: usize) -> bool {
        let root = self.root_of(index);
        if self.root_of(above) == root {
            return false;
        }
        self.candidates[root].under = Some(above);
        true
    }
}

impl Live {
    /// The incident that was stored.
    pub fn restored(head: Head, rows: BTreeMap<u32, Row>) -> Self {
        let mut live = Self { head, ..Self::default() };
        for (number, row) in rows {
            live.index(number, &row);
            live.rows.insert(number, row);
        }
        live
    }

    /// Adds a row under the next number, or `None` when there are `most` already.
    pub fn add(&mut self, row: Row, most: usize) -> Option<u32> {
        if self.rows.len() >= most {
            return None;
        }
        let number = self.head.given;
        self.head.given += 1;
        self.insert(number, row, most).then_some(number)
    }

    /// Adds a row under a number that is its own; not when there are `most` already.
    pub fn insert(&mut self, number: u32, mut row: Row, most: usize) -> bool {
        if self.rows.len() >= most {
            return false;
        }
        row.version = self.head.version + 1;
        self.index(number, &row);
        self.dirty.insert(number);
        self.rows.insert(number, row);
        true
    }

    fn index(&mut self, number: u32, row: &Row) {
        if row.version > self.head.version {
            self.untold.insert(number);
        }
        self.lasting += usize::from(row.lasting);
        self.pending += usize::from(row.lasting && !row.over);
        if matches!(row.role, RowRole::Change | RowRole::Recovery) {
            return;
        }
        match &*row.kind {
            "Pod" => self.note_pod(row.object, row.workload.is_some()),
            "Node" => _ = self.nodes.insert(row.object_name.clone()),
            _ => {}
        }
        if !row.node.is_empty() {
            self.nodes.insert(row.node.clone());
        }
        if !row.object_namespace.is_empty() {
            self.namespaces.insert(row.object_namespace.clone());
        }
        if let Some(workload) = &row.workload {
            self.workloads.add(workload);
        }
    }

    /// Changes a row, to be told with the next version.
    pub fn change(&mut self, number: u32, change: impl FnOnce(&mut Row)) {
        let version = self.head.version + 1;
        if let Some(row) = self.rows.get_mut(&number) {
            let before = row.lasting && !row.over;
            change(row);
            row.version = version;
            let after = row.lasting && !row.over;
            self.pending = self.pending + usize::from(after) - usize::from(before);
            self.untold.insert(number);
            self.dirty.insert(number);
        }
    }

    /// Another workload of a row became known.
    pub fn set_workload(&mut self, number: u32, top: u64, workload: &Arc<ObjectRef>) {
        let Some(row) = self.rows.get_mut(&number) else { return };
        let old = row.workload.replace(workload.clone());
        row.top = Some(top);
        self.dirty.insert(number);
        if matches!(row.role, RowRole::Change | RowRole::Recovery) {
            return;
        }
        let pod = (&*row.kind == "Pod").then_some(row.object);
        if let Some(old) = old {
            self.workloads.remove(&old);
        }
        self.workloads.add(workload);
        if let Some(pod) = pod {
            self.note_pod(pod, true);
        }
    }

    fn note_pod(&mut self, pod: u64, owned: bool) {
        let known = self.pods.entry(pod).or_default();
        self.owned += i64::from(owned && !*known);
        *known |= owned;
    }

    pub fn impact(&self) -> epicenter_model::Impact {
        epicenter_model::Impact {
            pods: self.pods.len() as i64 + self.head.more_pods,
            nodes: self.nodes.len() as i64,
            workload_count: self.workloads.count() as i64,
            workloads: self.workloads.iter().take(20).cloned().collect(),
            namespaces: self.namespaces.iter().take(20).map(|name| str::to_owned(name)).collect(),
        }
    }

    /// What a silence looks at.
    pub fn face(&self, (severity, class, object): Face<'_>) -> Incident {
        let cause = Cause { class: class.to_owned(), object: object.clone(), ..Cause::default() };
        Incident { id: self.head.id.clone(), severity, cause, impact: self.impact(), ..Incident::default() }
    }

    /// How many of the pods have a workload that is known.
    pub fn pods_of_workloads(&self) -> i64 {
        self.owned
    }

    pub fn workload_count(&self) -> usize {
        self.workloads.count()
    }

    /// The nodes that it is about, in order of name.
    pub fn nodes(&self) -> &BTreeSet<Box<str>> {
        &self.nodes
    }

    /// Something of the namespace is part of it.
    pub fn touches(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    pub fn has_pod(&self, object: u64) -> bool {
        self.pods.contains_key(&object)
    }

    /// When something is to be done about it though no Event comes.
    pub fn alarm(&self) -> Alarm {
        let head = &self.head;
        match head.state {
            IncidentState::Open => Alarm { due: self.due(), quiet: Some(self.deadline()), forget: None },
            _ => Alarm { forget: head.resolved_at.map(|at| at.plus_millis(REOPEN_MS)), ..Alarm::default() },
        }
    }

    /// Log time from which a mere update may be told.
    pub fn next_update(&self) -> Timestamp {
        let age = self.head.told_at.millis_since(self.head.opened_at);
        self.head.told_at.plus_millis((age / 10).clamp(UPDATE_MS.0, UPDATE_MS.1))
    }

    /// Log time at which something is to be told though nothing comes: what was held back, or that it has not passed.
    fn due(&self) -> Option<Timestamp> {
        let head = &self.head;
        let held_back = head.due.then(|| self.next_update());
        let until = head.cap.and_then(|cap| cap.until);
        let lasts = until.filter(|until| self.pending > 0 && *until > head.told_at);
        held_back.into_iter().chain(lasts).min()
    }

    /// All of it that lasts has recovered.
    fn all_recovered(&self) -> bool {
        self.head.recovered.is_some() && self.pending == 0 && self.lasting > 0
    }

    /// All of it, or its root, has recovered; it did not merely fall silent.
    pub fn has_recovered(&self) -> bool {
        self.all_recovered() || self.head.recovered.is_some() && self.head.root_recovered
    }

    /// The quiet clock's time at which it counts as over.
    fn deadline(&self) -> i64 {
        let head = &self.head;
        match head.recovered {
            Some((_, at)) if self.all_recovered() => {
                at.max(head.active) + if head.removed { REMOVED_MS } else { RECOVERED_MS }
            }
            Some((_, at)) if head.root_recovered => at.max(head.active) + ROOT_RECOVERED_MS,
            _ => head.active + head.quiet_ms,
        }
    }

    pub fn is_open(&self) -> bool {
        self.head.state == IncidentState::Open
    }
}
