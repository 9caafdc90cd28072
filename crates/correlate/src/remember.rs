//! What is remembered of incidents that are over: when they began, where, under which load, and how they ended.

use std::sync::Arc;

use epicenter_model::{Act, EndedBy, Ending, EnrichedEvent, Note, Role, Timestamp};

use crate::edge::Edge;
use crate::entity::{Mark, bounded};
use crate::habit::Spot;
use crate::live::{Candidate, Live};
use crate::recurrence::{Episode, class_of};
use crate::row::RowRole;
use crate::state::Engine;
use crate::wire::Key;

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
