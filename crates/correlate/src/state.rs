//! One cluster's state, and how a record changes it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use epicenter_model::{EnrichedRecord, Timestamp, Transition};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::bounds::Dropped;
use crate::entity::Entities;
use crate::live::Live;
use crate::memory::Memory;
use crate::partings::Partings;
use crate::rates::{Rates, Talker};
use crate::recurrence::Histories;
use crate::row::RowKeys;
use crate::silences::Silences;
use crate::timers::Timers;
use crate::uids::Uids;
use crate::wire::Key;
use crate::{Effects, Rules};

/// Everything that is remembered of one cluster. Bounded: see [`ClusterState::dropped`].
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    pub(crate) cluster: String,
    pub(crate) clock: Clock,
    pub(crate) entities: Entities,
    pub(crate) incidents: FxHashMap<u64, Box<Live>>,
    /// Where an Event is a member.
    pub(crate) uids: Uids,
    /// Where an object, or a workload, has members.
    pub(crate) objects: FxHashMap<u64, BTreeSet<(u64, u32)>>,
    /// Those of them that go on: lasting, and not over; by their class.
    pub(crate) pending: FxHashMap<u64, BTreeSet<(Arc<str>, u64, u32)>>,
    /// Survivor and row offset of an incident that was merged.
    pub(crate) redirects: FxHashMap<u64, (u64, u32)>,
    pub(crate) histories: Histories,
    pub(crate) memory: Memory,
    pub(crate) rates: Rates,
    pub(crate) silences: Silences,
    pub(crate) partings: Partings,
    pub(crate) timers: Timers,
    pub(crate) unwritten: Unwritten,
}

/// What changed since it was last written. Each object, incident and row says itself whether it is listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unwritten {
    /// Anything at all.
    pub any: bool,
    /// Which engine writes.
    pub writer: bool,
    /// Incidents, with their rows.
    pub incidents: Vec<u64>,
    /// [`Key::Memory`].
    pub memory: bool,
    /// Other entries but those of objects.
    pub keys: Vec<Key>,
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

impl ClusterState {
    /// The state of a cluster of which nothing is known.
    pub fn new(cluster: &str) -> Self {
        let clock = Clock { healthy: true, ..Clock::default() };
        let unwritten = Unwritten { writer: true, ..Unwritten::default() };
        Self { cluster: cluster.to_owned(), clock, unwritten, ..Self::default() }
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How many incidents are open.
    pub fn open(&self) -> usize {
        self.timers.open()
    }

    /// What did not fit into bounded memory so far.
    pub fn dropped(&self) -> Dropped {
        Dropped { series: self.memory.uncounted, ..self.clock.dropped }
    }

    /// The incident that `no` is today, if it is remembered, and the offset of its rows.
    pub(crate) fn today(&self, no: u64) -> Option<(u64, u32)> {
        if self.incidents.contains_key(&no) {
            return Some((no, 0));
        }
        self.redirects.get(&no).copied()
    }

    /// Notes where the Event, the object and the workload of a row are.
    pub(crate) fn index(&mut self, no: u64, number: u32, keys: RowKeys) {
        for id in keys.objects() {
            self.objects.entry(id).or_default().insert((no, number));
        }
        self.set_pending((no, number), &keys, keys.pending);
        self.uids.insert(keys.uid, (no, number));
    }

    /// Notes whether a row goes on.
    pub(crate) fn set_pending(&mut self, place: (u64, u32), keys: &RowKeys, pending: bool) {
        for id in keys.objects() {
            let entry = (Arc::clone(&keys.class), place.0, place.1);
            if pending {
                self.pending.entry(id).or_default().insert(entry);
            } else {
                remove(&mut self.pending, id, &entry);
            }
        }
    }

    pub(crate) fn unindex(&mut self, no: u64, number: u32, keys: &RowKeys) {
        self.uids.remove(&keys.uid, (no, number));
        for id in keys.objects() {
            remove(&mut self.objects, id, &(no, number));
        }
        self.set_pending((no, number), keys, false);
    }
}

fn remove<T: Ord>(index: &mut FxHashMap<u64, BTreeSet<T>>, id: u64, place: &T) {
    if let Some(places) = index.get_mut(&id) {
        places.remove(place);
        if places.is_empty() {
            index.remove(&id);
        }
    }
}

/// One record's way through the engine.
pub(crate) struct Engine<'a> {
    pub rules: &'a Rules,
    pub state: &'a mut ClusterState,
    pub effects: &'a mut Effects,
    /// Incidents that changed, and how, if that is to be told at once.
    pub touched: Vec<(u64, Option<Transition>)>,
    /// Incidents of which something was told, or held back.
    pub told: Vec<u64>,
    /// Who causes most of what was heard in the hour that is over.
    pub talker: Option<Talker>,
    /// As [`Effects::work`], of this record.
    pub work: Cell<usize>,
}

/// Takes one record into account: changes `state`, and appends to `effects` what follows from it. What is to be stored of
/// the state, [`ClusterState::flush`] gives.
///
/// Records of one cluster, in the order of its log. Time per record does not grow with the number of open incidents.
pub fn apply(rules: &Rules, state: &mut ClusterState, record: &EnrichedRecord, effects: &mut Effects) {
    state.unwritten.any = true;
    let mut engine =
        Engine { rules, state, effects, touched: Vec::new(), told: Vec::new(), talker: None, work: Cell::new(0) };
    // What somebody says is no sign of the cluster's life: only its exporter moves time on.
    if !matches!(record, EnrichedRecord::Command(_)) {
        engine.advance(record);
    }
    match record {
        EnrichedRecord::Event(event) => engine.event(event),
        EnrichedRecord::Context(update) => engine.context(update),
        EnrichedRecord::Heartbeat(_) => {}
        EnrichedRecord::Command(command) => engine.command(command),
    }
    engine.notice(record);
    engine.tell();
    engine.set_alarms();
    let work = engine.work.get();
    effects.work += work as u64;
}

impl Engine<'_> {
    pub fn now(&self) -> Timestamp {
        self.state.clock.now
    }

    /// Counts what is looked at.
    pub fn look(&self, at: usize) {
        self.work.set(self.work.get() + at);
    }

    pub fn touch(&mut self, no: u64, transition: Option<Transition>) {
        match self.touched.iter_mut().find(|(known, _)| *known == no) {
            // An incident that opens stays so, whatever else the same record does to it.
            Some((_, first)) => *first = first.take().or(transition),
            None => self.touched.push((no, transition)),
        }
    }

    /// An entry of the state was put or deleted.
    pub fn changed(&mut self, key: Key) {
        self.state.unwritten.keys.push(key);
    }

    /// Sets when the incidents that changed are to be looked at again.
    fn set_alarms(&mut self) {
        for no in std::mem::take(&mut self.told) {
            let Some(live) = self.state.incidents.get_mut(&no) else { continue };
            if !std::mem::replace(&mut live.unwritten, true) {
                self.state.unwritten.incidents.push(no);
            }
            self.state.timers.set(no, live.alarm());
        }
    }
}
