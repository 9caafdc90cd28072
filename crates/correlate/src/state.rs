//! One cluster's state, and how a record changes it.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{EnrichedRecord, Timestamp, Transition};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::entity::{Entities, Entity};
use crate::live::{Head, Live, Row};
use crate::recurrence::{Histories, History};
use crate::wire::{self, Key, StateError};
use crate::{Effects, Rules};

/// Everything that is remembered of one cluster. Bounded: see [`ClusterState::dropped`].
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    pub(crate) cluster: String,
    pub(crate) clock: Clock,
    pub(crate) entities: Entities,
    pub(crate) incidents: BTreeMap<u64, Live>,
    /// Where an Event is a member.
    pub(crate) uids: FxHashMap<Box<str>, (u64, u32)>,
    /// Where an object, or a workload, has members.
    pub(crate) objects: FxHashMap<u64, BTreeSet<(u64, u32)>>,
    /// Survivor and row offset of an incident that was merged.
    pub(crate) redirects: BTreeMap<u64, (u64, u32)>,
    pub(crate) histories: Histories,
    pub(crate) timers: Timers,
}

/// Log time, and the numbers given so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub cluster_uid: String,
    pub started: bool,
    pub now: Timestamp,
    /// Log time that counts as quiet when nothing happens in it, ms.
    pub quiet: i64,
    pub healthy: bool,
    pub entities: u64,
    pub incidents: u64,
    pub dropped: Dropped,
}

/// What did not fit into bounded memory, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Objects that were forgotten early: more than 200,000 were heard of within an hour.
    pub objects: u64,
    /// Incidents that were closed early: more than 20,000 were open.
    pub incidents: u64,
    /// Members that were counted and not remembered: more than 10,000 in an incident, or 300,000 in all.
    pub members: u64,
}

/// When something is to be done though no Event comes. Follows from the incidents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    pub due: BTreeSet<(Timestamp, u64)>,
    pub quiet: BTreeSet<(i64, u64)>,
    pub forget: BTreeSet<(Timestamp, u64)>,
    set: FxHashMap<u64, Alarm>,
}

/// An incident's entries in [`Timers`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Alarm {
    pub due: Option<Timestamp>,
    pub quiet: Option<i64>,
    pub forget: Option<Timestamp>,
}

impl Timers {
    pub fn set(&mut self, no: u64, alarm: Alarm) {
        let old = self.set.insert(no, alarm).unwrap_or_default();
        if old == alarm {
            return;
        }
        old.due.map(|at| self.due.remove(&(at, no)));
        old.quiet.map(|at| self.quiet.remove(&(at, no)));
        old.forget.map(|at| self.forget.remove(&(at, no)));
        alarm.due.map(|at| self.due.insert((at, no)));
        alarm.quiet.map(|at| self.quiet.insert((at, no)));
        alarm.forget.map(|at| self.forget.insert((at, no)));
    }

    pub fn clear(&mut self, no: u64) {
        self.set(no, Alarm::default());
        self.set.remove(&no);
    }
}

impl ClusterState {
    /// The state of a cluster of which nothing is known.
    pub fn new(cluster: &str) -> Self {
        let clock = Clock { healthy: true, ..Clock::default() };
        Self { cluster: cluster.to_owned(), clock, ..Self::default() }
    }

    /// The state that was written as `entries` ([`Effects::puts`] without what was deleted or replaced), in any order.
    ///
    /// # Errors
    /// An entry that another version wrote, or that is damaged. Never retryable.
    pub fn restore<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        cluster: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, StateError> {
        let mut state = Self::new(cluster);
        let mut heads: BTreeMap<u64, Head> = BTreeMap::new();
        let mut rows: BTreeMap<u64, BTreeMap<u32, Row>> = BTreeMap::new();
        for (key, value) in entries {
            let (key, value) = (key.as_ref(), value.as_ref());
            match Key::decode(key)? {
                Key::Clock => state.clock = wire::decode(key, value)?,
                Key::Entity(_) => state.entities.insert(wire::decode::<Entity>(key, value)?),
                Key::Head(no) => _ = heads.insert(no, wire::decode(key, value)?),
                Key::Row(no, row) => _ = rows.entry(no).or_default().insert(row, wire::decode(key, value)?),
                Key::Redirect(no) => _ = state.redirects.insert(no, wire::decode(key, value)?),
                Key::Fingerprint(text) => state.histories.insert(text, wire::decode::<History>(key, value)?),
            }
        }
        state.entities.given = state.clock.entities;
        for (no, head) in heads {
            let live = Live::restored(head, rows.remove(&no).unwrap_or_default());
            for (number, row) in &live.rows {
                state.index(no, *number, row);
            }
            state.timers.set(no, live.alarm());
            state.incidents.insert(no, live);
        }
        Ok(state)
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How many incidents are open.
    pub fn open(&self) -> usize {
        self.timers.quiet.len()
    }

    /// What did not fit into bounded memory so far.
    pub fn dropped(&self) -> Dropped {
        self.clock.dropped
    }

    /// The incident that `no` is today, if it is remembered, and the offset of its rows.
    pub(crate) fn today(&self, no: u64) -> Option<(u64, u32)> {
        let (mut no, mut offset) = (no, 0);
        for _ in 0..64 {
            if self.incidents.contains_key(&no) {
                return Some((no, offset));
            }
            let (survivor, base) = self.redirects.get(&no)?;
            (no, offset) = (*survivor, offset + base);
        }
        None
    }

    /// Notes where the Event, the object and the workload of a row are.
    pub(crate) fn index(&mut self, no: u64, number: u32, row: &Row) {
        self.uids.insert(row.uid.clone(), (no, number));
        self.objects.entry(row.object).or_default().insert((no, number));
        if let Some(id) = self.workload_of(row) {
            self.objects.entry(id).or_default().insert((no, number));
        }
    }

    pub(crate) fn unindex(&mut self, no: u64, number: u32, row: &Row) {
        self.uids.remove(&row.uid);
        let workload = self.workload_of(row);
        for id in [Some(row.object), workload].into_iter().flatten() {
            if let Some(places) = self.objects.get_mut(&id) {
                places.remove(&(no, number));
                if places.is_empty() {
                    self.objects.remove(&id);
                }
            }
        }
    }

    fn workload_of(&self, row: &Row) -> Option<u64> {
        row.top.filter(|top| *top != row.object)
    }
}

/// One record's way through the engine.
pub(crate) struct Engine<'a> {
    pub rules: &'a Rules,
    pub state: &'a mut ClusterState,
    pub effects: &'a mut Effects,
    /// Incidents that changed, and how, if that is to be told at once.
    pub touched: BTreeMap<u64, Option<Transition>>,
    /// Incidents that are to be written.
    pub stale: BTreeSet<u64>,
}

/// Takes one record into account: changes `state`, and appends to `effects` what follows from it.
///
/// Records of one cluster, in the order of its log. Time per record does not grow with the number of open incidents.
pub fn apply(rules: &Rules, state: &mut ClusterState, record: &EnrichedRecord, effects: &mut Effects) {
    let mut engine = Engine { rules, state, effects, touched: BTreeMap::new(), stale: BTreeSet::new() };
    engine.advance(record);
    match record {
        EnrichedRecord::Event(event) => engine.event(event),
        EnrichedRecord::Context(update) => engine.context(update),
        EnrichedRecord::Heartbeat(_) => {}
    }
    engine.tell();
    engine.write();
}

impl Engine<'_> {
    pub fn now(&self) -> Timestamp {
        self.state.clock.now
    }

    pub fn touch(&mut self, no: u64, transition: Option<Transition>) {
        let entry = self.touched.entry(no).or_default();
        // An incident that opens stays so, whatever else the same record does to it.
        if entry.is_none() {
            *entry = transition;
        }
    }

    pub fn delete(&mut self, key: Key) {
        self.effects.puts.push((key.encode(), None));
    }

    pub fn put<T: Serialize>(&mut self, key: Key, value: &T) {
        self.effects.puts.push((key.encode(), Some(wire::encode(value))));
    }

    /// Writes what changed.
    fn write(&mut self) {
        let mut dirty = std::mem::take(&mut self.state.entities.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for id in &dirty {
            let value = self.state.entities.get(*id).map(wire::encode);
            self.effects.puts.push((Key::Entity(*id).encode(), value));
        }
        dirty.clear();
        self.state.entities.dirty = dirty;
        for no in std::mem::take(&mut self.stale) {
            let Some(live) = self.state.incidents.get_mut(&no) else { continue };
            let alarm = live.alarm();
            self.effects.puts.push((Key::Head(no).encode(), Some(wire::encode(&live.head))));
            for number in std::mem::take(&mut live.dirty) {
                if let Some(row) = live.rows.get(&number) {
                    self.effects.puts.push((Key::Row(no, number).encode(), Some(wire::encode(row))));
                }
            }
            self.state.timers.set(no, alarm);
        }
        self.state.clock.entities = self.state.entities.given;
        let clock = wire::encode(&self.state.clock);
        self.effects.puts.push((Key::Clock.encode(), Some(clock)));
    }
}
