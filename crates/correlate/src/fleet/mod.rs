//! All clusters together: causes that several share, and clusters that are silent.
//!
//! Pure and deterministic, like the engine of one cluster: [`Fleet::apply`] takes one record of `fleet.signals` with the
//! time at which the log took it, and says which incidents changed; [`Fleet::flush`] gives what is to be written.

mod case;
mod rules;
mod silence;
mod state;
mod tell;
mod voice;

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{FleetRecord, Timestamp};

use crate::Effects;
use crate::voice::Voice;
use case::{Case, CaseId, Place};
pub use rules::FleetRules;
use silence::Cluster;
use state::{Clock, Key};

/// The log was away when it took nothing for longer than this, ms: two of the clusters' heartbeats. Then nobody was silent.
const JUMP_MS: i64 = 60_000;

/// Everything that is remembered of all clusters.
///
/// Bounded: a cluster is forgotten when it leaves or was silent for a week, a case when it is over, and there are at most
/// 100,000 incidents in cases.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    clock: Clock,
    clusters: BTreeMap<String, Cluster>,
    cases: BTreeMap<CaseId, Case>,
    /// In which cases an incident goes on. Follows from them.
    places: BTreeMap<Place, BTreeSet<CaseId>>,
    /// Clusters that speak, by the quiet clock when they were heard last; and those that are silent, when that was noticed.
    speaking: BTreeSet<(i64, String)>,
    silent: BTreeSet<(i64, String)>,
    /// Cases whose incident is over, by the quiet clock at which it can no longer come back.
    ended: BTreeSet<(i64, CaseId)>,
    /// What people did to incidents and said of them, by their ids.
    voices: BTreeMap<String, Voice>,
    /// Entries that changed since they were last written.
    unwritten: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Fleet {
    /// Takes one record into account, in the order of the log; `received` is when the log took it. Changes the state, and
    /// appends to `effects` what follows from it.
    pub fn apply(&mut self, rules: &FleetRules, received: Timestamp, record: &FleetRecord, effects: &mut Effects) {
        let mut step = Step { rules, fleet: self, effects };
        step.advance(received);
        step.hear(record);
        step.notice_silence();
        step.forget();
        match record {
            FleetRecord::Heartbeat(beat) if beat.last => step.leave(&beat.cluster),
            FleetRecord::Heartbeat(_) => {}
            FleetRecord::Signal(signal) => step.signal(signal),
            FleetRecord::Command(command) => step.command(command),
        }
    }

    /// Clusters that are known.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// Incidents that are remembered as parts of a case, those that are over included.
    pub fn sightings(&self) -> usize {
        self.cases.values().map(|case| case.sightings.len()).sum()
    }
}

/// One record's way.
struct Step<'a> {
    rules: &'a FleetRules,
    fleet: &'a mut Fleet,
    effects: &'a mut Effects,
}

impl Step<'_> {
    /// Moves time on. The log's clock may go back a little, when another broker leads the partition.
    fn advance(&mut self, received: Timestamp) {
        let clock = &mut self.fleet.clock;
        let passed = received.millis_since(clock.now).max(0);
        if passed <= JUMP_MS {
            clock.quiet += passed;
        }
        clock.now = clock.now.max(received);
        let clock = *clock;
        self.put(&Key::Clock, &clock);
    }
}
