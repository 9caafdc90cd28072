//! Causes that several clusters share: the same trouble with the same thing.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{Category, FLEET, FleetSignal, IncidentState, Severity, Timestamp, Transition, incident_id};
use serde::{Deserialize, Serialize};

use super::Step;
use super::rules::Shared;
use super::state::Key;
use super::tell::Head;

/// An incident that is over comes back, rather than another opens, within so much of the quiet clock, ms.
pub(super) const REOPEN_MS: i64 = 600_000;
/// Most incidents that go on in cases; more are not taken in.
const SIGHTINGS: usize = 100_000;
/// Most of one case, and of one cluster in it: more of a cluster's own say nothing new.
const OF_A_CASE: usize = 5_000;
const OF_A_CLUSTER: usize = 20;

/// Rule, and name of what is shared.
pub(crate) type CaseId = (String, String);
/// Cluster and incident.
pub(crate) type Place = (String, String);

/// A trouble with one thing, wherever it was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub sightings: BTreeMap<Place, Sighting>,
    pub incident: Option<Head>,
}

/// A cluster's incident that shows the trouble.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sighting {
    pub class: String,
    pub category: Category,
    pub severity: Severity,
    /// The cluster's log time when it was seen first, and when it ended.
    pub since: Timestamp,
    pub over: Option<Timestamp>,
    /// It is part of the case's incident.
    pub member: bool,
}

impl Case {
    pub fn members(&self) -> impl Iterator<Item = (&Place, &Sighting)> {
        self.sightings.iter().filter(|(_, sighting)| sighting.member)
    }

    /// Sightings that go on and began about when `sighting` did, when they are in enough clusters.
    fn together(&self, rule: &Shared, since: Timestamp) -> Option<Vec<Place>> {
        let within = rule.within_s * 1000;
        let near = |one: &Sighting| one.over.is_none() && one.since.millis_since(since).abs() <= within;
        let found: Vec<_> =
            self.sightings.iter().filter(|(_, one)| near(one)).map(|(place, _)| place.clone()).collect();
        let clusters: BTreeSet<_> = found.iter().map(|(cluster, _)| cluster).collect();
        (clusters.len() >= rule.clusters).then_some(found)
    }
}

impl Step<'_> {
    /// Takes over how a cluster's incident looks now.
    pub(super) fn signal(&mut self, signal: &FleetSignal) {
        let rules = self.rules;
        let place = (signal.cluster.clone(), signal.incident.clone());
        let mut now = BTreeMap::new();
        if signal.state == IncidentState::Open {
            for rule in rules.of(&signal.class) {
                let named = signal.shared.iter().filter(|entity| entity.kind == rule.entity);
                now.extend(named.map(|entity| ((rule.id.clone(), entity.name.clone()), rule)));
            }
        }
        for id in self.fleet.places.get(&place).cloned().unwrap_or_default() {
            if !now.contains_key(&id) {
                self.end(&id, &place, signal.at);
            }
        }
        for (id, rule) in now {
            self.note(id, rule, &place, signal);
        }
    }

    /// An incident shows the case: it joins, or makes it one incident of several clusters.
    fn note(&mut self, id: CaseId, rule: &Shared, place: &Place, signal: &FleetSignal) {
        let full = self.fleet.places.len() >= SIGHTINGS;
        let case = self.fleet.cases.entry(id.clone()).or_default();
        let open = case.incident.as_ref().is_some_and(|head| head.resolved_at.is_none());
        let known = case.sightings.get(place);
        let own =
            || case.sightings.range((place.0.clone(), String::new())..).take_while(|((name, _), _)| *name == place.0);
        if known.is_none() && (full || case.sightings.len() >= OF_A_CASE || own().count() >= OF_A_CLUSTER) {
            return;
        }
        let goes_on = known.filter(|known| known.over.is_none());
        let sighting = Sighting {
            class: signal.class.clone(),
            category: signal.category,
            severity: signal.severity,
            since: goes_on.map_or(signal.at, |known| known.since),
            over: None,
            member: open && known.is_some_and(|known| known.member),
        };
        if known == Some(&sighting) {
            return;
        }
        let since = sighting.since;
        case.sightings.insert(place.clone(), sighting);
        self.fleet.places.entry(place.clone()).or_default().insert(id.clone());
        let joined = if open { Some(vec![place.clone()]) } else { case.together(rule, since) };
        let Some(joined) = joined else { return self.write(&id, place) };
        for joined in &joined {
            if let Some(sighting) = case.sightings.get_mut(joined) {
                sighting.member = true;
            }
        }
        let clock = self.fleet.clock;
        let transition = match &mut case.incident {
            Some(head) if open => {
                head.last_at = clock.now;
                Transition::Updated
            }
            Some(head) => {
                head.resolved_at = None;
                head.last_at = clock.now;
                self.fleet.ended.remove(&(head.until, id.clone()));
                if let Some(voice) = self.fleet.voices.get_mut(&head.id) {
                    // Whoever looked after it did so until it was over.
                    voice.acknowledged = None;
                }
                Transition::Reopened
            }
            None => {
                let opened_at = case.members().map(|(_, one)| one.since).min().unwrap_or(since);
                let incident = incident_id(FLEET, &format!("{}/{}", id.0, id.1), clock.now.as_micros());
                case.incident = Some(Head { id: incident, opened_at, last_at: clock.now, ..Head::default() });
                Transition::Opened
            }
        };
        joined.iter().for_each(|joined| self.write(&id, joined));
        self.write(&id, place);
        self.tell_case(&id, transition, &joined);
    }

    /// An incident does not show the case any more.
    fn end(&mut self, id: &CaseId, place: &Place, at: Timestamp) {
        if let Some(places) = self.fleet.places.get_mut(place) {
            places.remove(id);
            if places.is_empty() {
                self.fleet.places.remove(place);
            }
        }
        let clock = self.fleet.clock;
        let Some(case) = self.fleet.cases.get_mut(id) else { return };
        let Some(sighting) = case.sightings.get_mut(place) else { return };
        if !sighting.member {
            case.sightings.remove(place);
            if case.sightings.is_empty() && case.incident.is_none() {
                self.fleet.cases.remove(id);
            }
            return self.delete(&Key::Sighting(id.clone(), place.clone()));
        }
        sighting.over = Some(at);
        let goes_on = case.members().any(|(_, one)| one.over.is_none());
        let Some(head) = &mut case.incident else { return };
        if head.resolved_at.is_some() {
            // Somebody said so before.
            return self.write(id, place);
        }
        let transition = if goes_on {
            Transition::Updated
        } else {
            head.resolved_at = Some(clock.now);
            head.until = clock.quiet + REOPEN_MS;
            self.fleet.ended.insert((head.until, id.clone()));
            Transition::Resolved
        };
        self.write(id, place);
        self.tell_case(id, transition, std::slice::from_ref(place));
    }

    /// Nothing of the cluster goes on any more.
    pub(super) fn end_all(&mut self, cluster: &str) {
        let from = (cluster.to_owned(), String::new());
        let own = self.fleet.places.range(from..).take_while(|((name, _), _)| name == cluster);
        let places: Vec<_> = own.map(|(place, cases)| (place.clone(), cases.clone())).collect();
        let now = self.fleet.clock.now;
        for (place, cases) in places {
            cases.iter().for_each(|id| self.end(id, &place, now));
        }
    }

    /// Drops incidents that can no longer come back.
    pub(super) fn forget(&mut self) {
        let quiet = self.fleet.clock.quiet;
        while let Some((_, id)) = self.fleet.ended.first().filter(|(until, _)| *until <= quiet).cloned() {
            self.fleet.ended.pop_first();
            self.delete(&Key::Case(id.clone()));
            let Some(mut case) = self.fleet.cases.remove(&id) else { continue };
            if let Some(head) = case.incident.take() {
                self.fall_silent(&head.id);
            }
            let over: Vec<_> = case.members().map(|(place, _)| place.clone()).collect();
            for place in over {
                case.sightings.remove(&place);
                self.delete(&Key::Sighting(id.clone(), place));
            }
            if !case.sightings.is_empty() {
                self.fleet.cases.insert(id, case);
            }
        }
    }

    /// Writes a sighting as it is now.
    fn write(&mut self, id: &CaseId, place: &Place) {
        let sighting = self.fleet.cases.get(id).and_then(|case| case.sightings.get(place)).cloned();
        if let Some(sighting) = sighting {
            self.put(&Key::Sighting(id.clone(), place.clone()), &sighting);
        }
    }
}
