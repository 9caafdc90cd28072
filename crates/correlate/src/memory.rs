//! What is remembered of incidents that are over: when they began, where, under which load, and how they ended.

use std::sync::Arc;

use epicenter_model::{Act, EndedBy, Ending, EnrichedEvent, Note, Novelty, Recurrence, Role, Timestamp};
use serde::{Deserialize, Serialize};

use crate::edge::Edge;
use crate::entity::{Mark, bounded};
use crate::habit::Spot;
use crate::live::{Candidate, Live, RowRole};
use crate::patterns::PatternRules;
use crate::recurrence::{Episode, Histories, RECENT_MS, class_of};
use crate::state::Engine;
use crate::wire::Key;

/// Namespaces whose autoscaling is remembered.
const LOADS: usize = 64;
/// What is scaled up again so soon is not remembered anew, ms.
const LOAD_MS: i64 = 300_000;
/// An autoscaler's work so long before an incident tells of its load, ms.
const UNDER_LOAD_MS: i64 = 900_000;

/// What the engine knows of its own knowledge, and of the cluster's load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Log time from which on incidents are remembered.
    pub since: Option<Timestamp>,
    /// When a fingerprint was last heard of that was forgotten because there were too many.
    pub forgotten: Option<Timestamp>,
    /// When an autoscaler added pods, and in which namespace; in order.
    loads: Vec<(Timestamp, Box<str>)>,
    /// Events that were not counted, because there was no room for another series.
    pub uncounted: u64,
}

/// What is known of an incident's like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub recurrence: Recurrence,
    /// How long the cluster had been known when the incident was opened, ms.
    pub watched_ms: i64,
}

impl Memory {
    fn note_load(&mut self, namespace: &str, now: Timestamp) -> bool {
        let recent = |(at, name): &(Timestamp, Box<str>)| **name == *namespace && now.millis_since(*at) < LOAD_MS;
        if self.loads.iter().any(recent) {
            return false;
        }
        if self.loads.len() >= LOADS {
            self.loads.remove(0);
        }
        self.loads.push((now, namespace.into()));
        true
    }

    fn under_load(&self, live: &Live) -> bool {
        let opened = live.head.opened_at;
        let before = |at: Timestamp| (0..=UNDER_LOAD_MS).contains(&opened.millis_since(at));
        self.loads.iter().any(|(at, namespace)| before(*at) && live.touches(namespace))
    }

    /// What was known of an incident's like before it.
    pub fn recurrence(&self, histories: &Histories, rules: &PatternRules, live: &Live) -> Known {
        let head = &live.head;
        let (fingerprint, opened) = (&head.recurrence_of, head.opened_at);
        let class = class_of(fingerprint);
        let mut recurrence = match rules.recurs(class) {
            true => histories.of(fingerprint, &head.id, opened),
            false => Recurrence::default(),
        };
        let watched_ms = self.since.map_or(0, |since| opened.millis_since(since));
        if rules.first_after_ms(class).is_some_and(|learned| watched_ms >= learned) {
            recurrence.novelty = self.novelty(histories, fingerprint, opened);
        }
        Known { recurrence, watched_ms }
    }

    fn novelty(&self, histories: &Histories, fingerprint: &str, opened: Timestamp) -> Novelty {
        // What was forgotten for want of room may have been just this.
        let sure = self.forgotten.is_none_or(|at| opened.millis_since(at) > RECENT_MS);
        match (histories.knows_kind(class_of(fingerprint), opened), histories.knows(fingerprint, opened)) {
            (false, _) => Novelty::Cluster,
            (true, false) if sure => Novelty::Object,
            _ => Novelty::Known,
        }
    }
}

impl Engine<'_> {
    /// Notes what an Event tells of the cluster's load.
    pub fn note_load(&mut self, event: &EnrichedEvent) {
        if self.rules.patterns.is_load(event) && !event.backfill {
            let now = self.now();
            if self.state.memory.note_load(&event.event.regarding.namespace, now) {
                self.state.unwritten.memory = true;
            }
        }
    }

    /// From the first record on.
    pub fn remember_from_now(&mut self) {
        if self.state.memory.since.is_none() {
            self.state.memory.since = Some(self.now());
            self.state.unwritten.memory = true;
        }
    }

    /// Remembers an incident that is over, unless somebody said that it was none; `said` is what ended it, if somebody did.
    pub fn remember(&mut self, no: u64, said: Option<Act>) {
        let Some(live) = self.state.incidents.get(&no).filter(|_| said != Some(Act::Wrong)) else { return };
        let ended = self.ending(live, said);
        let spot = self.spot(live);
        let scaled_up = self.state.memory.under_load(live);
        let head = &live.head;
        let (fingerprint, began) = (head.recurrence_of.clone(), head.opened_at);
        let episode = Episode { id: head.id.as_str().into(), began, spot, scaled_up };
        let now = self.now();
        if self.state.histories.note_kind(class_of(&fingerprint), began) {
            self.changed(Key::Kind(class_of(&fingerprint).to_owned()));
        }
        if let Some((forgotten, last)) = self.state.histories.note(&fingerprint, episode, ended, now) {
            self.changed(Key::Fingerprint(forgotten));
            self.state.memory.forgotten = self.state.memory.forgotten.max(Some(last));
            self.state.unwritten.memory = true;
        }
        self.changed(Key::Fingerprint(fingerprint));
    }

    /// How an incident ended.
    fn ending(&self, live: &Live, said: Option<Act>) -> Ending {
        let head = &live.head;
        let recovered = head.recovered.filter(|_| live.has_recovered()).map(|(at, _)| at);
        let at = if said.is_some() { self.now() } else { recovered.unwrap_or(head.last_event_at) };
        let spoken = live.voice.notes.iter().rev().find(|note| !note.text.is_empty() || note.act == Act::Resolve);
        let said_by = |part: fn(&Note) -> &str| spoken.map_or_else(String::new, |note| bounded(part(note)).to_owned());
        let (by, text) = (said_by(|note| &note.by), said_by(|note| &note.text));
        let ending = Ending { at, lasted_ms: at.millis_since(head.opened_at).max(0), by, text, ..Ending::default() };
        if said.is_some() {
            return Ending { how: EndedBy::Person, ..ending };
        }
        let best = self.best_root(live).and_then(|best| head.candidates.get(best));
        if let Some((object, mark)) = best.and_then(|best| self.change_within(live, best, at)) {
            let object = self.state.entities.get(object).map(|entity| (*entity.object).clone());
            return Ending { how: EndedBy::Change, object, reason: str::to_owned(&mark.event.reason), ..ending };
        }
        let newest = live.rows.values().rev().find(|row| row.role == RowRole::Recovery);
        match (recovered, newest) {
            (None, _) => ending,
            (Some(_), _) if head.removed => Ending { how: EndedBy::Removal, ..ending },
            (Some(_), row) => {
                let object = row.map(|row| row.regarding());
                let reason = row.map_or_else(String::new, |row| str::to_owned(&row.reason));
                Ending { how: EndedBy::Recovery, object, reason, ..ending }
            }
        }
    }

    /// The newest change of the object to blame, or of its workload, between the beginning of an incident and its end.
    fn change_within(&self, live: &Live, best: &Candidate, ended: Timestamp) -> Option<(u64, &Mark)> {
        let opened = live.head.opened_at;
        let top = live.rows.get(&best.row).and_then(|row| row.top);
        let within = |mark: &&Mark| {
            mark.edge == Edge::Object
                && self.rules.class(&mark.class).role == Role::Change
                && self.rules.patterns.is_fix(&mark.class)
                && opened < mark.at
                && mark.at <= ended
        };
        let objects = std::iter::once(best.entity).chain(top.filter(|top| *top != best.entity));
        let marks = objects.filter_map(|id| {
            let entity = self.state.entities.get(id)?;
            self.look(entity.marks.len());
            Some((id, entity.marks.iter().filter(within).max_by_key(|mark| mark.at)?))
        });
        marks.max_by_key(|(_, mark)| mark.at)
    }

    /// The one node where the incident was, or the one zone.
    fn spot(&self, live: &Live) -> Option<Spot> {
        let nodes = live.nodes();
        if let (Some(one), 1) = (nodes.first(), nodes.len()) {
            return Some(Spot::Node(one.clone()));
        }
        let zone = |name: &str| {
            let node = self.state.entities.get(self.state.entities.find("Node", "", name)?)?;
            let zone = self.state.entities.get(node.linked(Edge::Zone).next()?.to)?;
            Some(Arc::clone(&zone.object))
        };
        self.look(nodes.len());
        let mut zones = nodes.iter().map(|name| zone(name));
        let first = zones.next()??;
        let all = zones.all(|zone| zone.is_some_and(|zone| zone.name == first.name));
        all.then(|| Spot::Zone(first.name.as_str().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_load_of_few_namespaces() {
        let mut memory = Memory::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        assert!(memory.note_load("shop", at(0)));
        assert!(!memory.note_load("shop", at(299)));
        assert!(memory.note_load("shop", at(300)));
        assert!((0..1000).all(|n| memory.note_load(&format!("n{n}"), at(400))));
        assert_eq!(memory.loads.len(), LOADS);
    }
}
