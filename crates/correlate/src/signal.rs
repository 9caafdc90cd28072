//! What is told to the fleet: that the cluster is heard of, and incidents whose cause other clusters may share.

use epicenter_model::{EnrichedRecord, Entity, FleetRecord, FleetSignal, Heartbeat, IncidentChange, Timestamp};

use crate::fleet::FleetRules;
use crate::live::Live;
use crate::rank::Ranked;
use crate::state::Engine;

/// The fleet hears of a cluster once in so much log time, ms: a thousand clusters make 33 records a second.
const HEARD_MS: i64 = 30_000;

impl Engine<'_> {
    /// Says that the cluster is heard of, when log time goes past the next half minute; `before` is what it was.
    pub fn signal_time(&mut self, record: &EnrichedRecord, before: Option<Timestamp>) {
        let part = |at: Timestamp| at.as_millis().div_euclid(HEARD_MS);
        let clock = &self.state.clock;
        let (beat, last) = match record {
            EnrichedRecord::Heartbeat(beat) => (Some(beat), beat.last),
            _ => (None, false),
        };
        if !last && before.is_some_and(|before| part(before) == part(clock.now)) {
            return;
        }
        self.effects.signals.push(FleetRecord::Heartbeat(Heartbeat {
            cluster: self.state.cluster.clone(),
            cluster_uid: beat.map_or(&clock.cluster_uid, |beat| &beat.cluster_uid).clone(),
            at: clock.now,
            healthy: clock.healthy,
            last,
        }));
    }

    /// Tells a change to the fleet, when other clusters may share the cause that the incident has now, or had `before`.
    pub fn signal_change(&mut self, change: &IncidentChange, before: Option<&str>, shared: Vec<Entity>) {
        let rules = FleetRules::builtin();
        if rules.concerns(&change.incident.cause.class) || before.is_some_and(|class| rules.concerns(class)) {
            self.effects.signals.push(FleetRecord::Signal(FleetSignal::of(&change.incident, change.at, shared)));
        }
    }
}

/// What the most likely root of an incident is, or names, and other clusters may share.
pub(crate) fn shared(live: &Live, ranked: &[Ranked]) -> Vec<Entity> {
    let Some(candidate) = ranked.first().and_then(|best| live.head.candidates.get(best.index)) else { return vec![] };
    let object = &candidate.object;
    let own = Entity { kind: object.kind.clone(), namespace: object.namespace.clone(), name: object.name.clone() };
    let named = live.rows.get(&candidate.row).into_iter().flat_map(|row| &row.named);
    let named =
        named.map(|(kind, name)| Entity { kind: kind.to_string(), namespace: String::new(), name: name.to_string() });
    // An image or a registry that only a member of a common cause names is not what all of it has in common.
    let named = named.filter(|_| candidate.common.is_none());
    FleetRules::builtin().shared(&candidate.class, std::iter::once(own).chain(named))
}
