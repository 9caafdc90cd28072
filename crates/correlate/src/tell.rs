//! Changes of incidents, as they are told.

use epicenter_model::{
    Cause, EventCounts, Incident, IncidentChange, IncidentState, ObjectRef, Severity, Timestamp, Transition,
};

use crate::explain;
use crate::live::Live;
use crate::memory::Known;
use crate::rank::{Ranked, ranking, root_row};
use crate::recurrence::fingerprint;
use crate::signal::shared;
use crate::state::Engine;
use crate::wire::Key;
use crate::{ENGINE, Rules};

/// Three are told.
const CANDIDATES: usize = 3;
/// An incident with so many workloads concerns the whole cluster.
const WIDESPREAD: usize = 10;

impl Engine<'_> {
    /// Tells what the record changed.
    pub fn tell(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable_by_key(|(no, _)| *no);
        for (no, transition) in touched {
            self.tell_one(no, transition);
        }
    }

    /// Something of an incident goes on, by which neither its root nor its severity changes: nothing to look at before it may be told.
    pub fn repeat(&mut self, no: u64) {
        let now = self.now();
        match self.state.incidents.get_mut(&no) {
            Some(live) if now < live.next_update() => {
                live.head.due = true;
                self.told.push(no);
            }
            _ => self.touch(no, None),
        }
    }

    /// Tells a transition at once, and a mere change if it matters or the last one was long enough ago.
    pub fn tell_one(&mut self, no: u64, transition: Option<Transition>) {
        let now = self.now();
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        self.told.push(no);
        let ranked = ranking(self.rules, &live.head);
        if live.workload_count() >= WIDESPREAD {
            live.head.worst = Severity::Critical;
        }
        let Some(best) = ranked.first() else { return };
        let cause = &live.head.candidates[best.index];
        live.head.quiet_ms = self.rules.class(&cause.class).quiet_ms;
        let severity = live.head.severity();
        let differs = live.head.told.as_ref().is_none_or(|(told, class, object)| {
            *told != severity || **class != *cause.class || !same(object, &cause.object)
        });
        let silenced = self.state.silences.of(|| live.face((severity, &cause.class, &cause.object)), now);
        let hushed = silenced != live.voice.silenced;
        let transition = match transition {
            Some(transition) => transition,
            None if differs || hushed || now >= live.next_update() => Transition::Updated,
            None => {
                live.head.due = true;
                return;
            }
        };
        if hushed {
            live.voice.silenced = silenced;
            self.state.unwritten.keys.push(Key::Voice(no));
        }
        if differs {
            let found = fingerprint(&cause.class, &cause.object);
            let (old, new) = (live.head.root_row, root_row(cause));
            live.head.recurrence_of = found;
            let rows: Vec<u32> = [old, new].into_iter().flatten().filter(|_| old != new).collect();
            for row in rows {
                live.change(row, |_| {});
            }
            live.head.root_row = new;
        }
        self.work.set(self.work.get() + live.untold.len());
        let before = live.head.told.as_ref().filter(|_| differs || transition != Transition::Updated);
        let before = before.map(|(_, class, _)| class.clone());
        if differs {
            let cause = &live.head.candidates[best.index];
            live.head.told = Some((severity, str::to_owned(&cause.class), ObjectRef::clone(&cause.object)));
        }
        let known = self.state.memory.recurrence(&self.state.histories, &self.rules.patterns, live);
        let occasion = Occasion { now, transition, merged_into: None, known };
        let change = told(self.rules, &self.state.cluster, live, &ranked, occasion);
        if differs || transition != Transition::Updated {
            let shared = shared(live, &ranked);
            self.signal_change(&change, before.as_deref(), shared);
        }
        self.effects.changes.push(change);
    }

    /// Tells the end of an incident that another takes over.
    pub fn emit(&mut self, live: &mut Live, transition: Transition, into: Option<String>) {
        let ranked = ranking(self.rules, &live.head);
        live.untold.clear();
        let known = self.state.memory.recurrence(&self.state.histories, &self.rules.patterns, live);
        let occasion = Occasion { now: self.now(), transition, merged_into: into, known };
        let change = told(self.rules, &self.state.cluster, live, &ranked, occasion);
        self.signal_change(&change, None, vec![]);
        self.effects.changes.push(change);
    }

    /// The candidate that is the most likely root.
    pub fn best_root(&self, live: &Live) -> Option<usize> {
        ranking(self.rules, &live.head).first().map(|ranked| ranked.index)
    }
}

/// The same object; what is known of its version and uid may grow.
fn same(one: &ObjectRef, other: &ObjectRef) -> bool {
    one.full_name() == other.full_name()
}

/// When and why an incident is told, and what was known of its like.
struct Occasion {
    now: Timestamp,
    transition: Transition,
    merged_into: Option<String>,
    known: Known,
}

/// The change, and notes that it was told.
fn told(rules: &Rules, cluster: &str, live: &mut Live, ranked: &[Ranked], occasion: Occasion) -> IncidentChange {
    let Occasion { now, transition, merged_into, known } = occasion;
    live.head.version += 1;
    live.head.told_at = now;
    live.head.due = false;
    let mut candidates: Vec<epicenter_model::Candidate> = Vec::new();
    for ranked in ranked {
        let found = &live.head.candidates[ranked.index];
        if candidates.len() < CANDIDATES && !candidates.iter().any(|known| same(&known.object, &found.object)) {
            candidates.push(epicenter_model::Candidate {
                class: str::to_owned(&found.class),
                object: ObjectRef::clone(&found.object),
                observed: ranked.observed,
                confidence: ranked.confidence,
            });
        }
    }
    let best = candidates.first().cloned().unwrap_or_default();
    let severity = live.head.severity();
    let members = std::mem::take(&mut live.untold);
    let moved = std::mem::take(&mut live.moved);
    let members = members
        .into_iter()
        .filter_map(|number| Some(live.rows.get(&number)?.member(live.head.root_row == Some(number))));
    let members: Vec<_> = members.chain(moved).collect();
    let impact = live.impact();
    let text = explain::explain(rules, live, ranked, &impact, &known);
    let head = &live.head;
    let incident = Incident {
        id: head.id.clone(),
        version: head.version,
        cluster: cluster.to_owned(),
        state: head.state,
        merged_into,
        severity,
        category: rules.classes.get(&best.class).map_or(head.category, |info| info.category),
        title: text.title,
        cause: Cause {
            class: best.class,
            object: best.object,
            observed: best.observed,
            confidence: best.confidence,
            candidates,
        },
        explanation: text.sentences,
        impact,
        events: EventCounts {
            objects: head.objects,
            occurrences: head.occurrences,
            by_reason: head.by_reason.iter().map(|(reason, count)| (str::to_owned(reason), *count)).collect(),
        },
        opened_at: head.opened_at,
        last_event_at: head.last_event_at,
        resolved_at: head.resolved_at.filter(|_| head.state == IncidentState::Resolved),
        recurrence: known.recurrence,
        truncated: (head.objects - live.rows.len() as i64).max(0),
        members,
        backfill: false,
        acknowledged: live.voice.acknowledged.clone(),
        silenced: live.voice.silenced.clone(),
        notes: live.voice.notes.clone(),
    };
    IncidentChange {
        at: now,
        transition,
        engine: ENGINE.to_owned(),
        rules: rules.hash().to_owned(),
        backfill: false,
        incident,
    }
}
