//! The objects of a cluster, real and virtual: how they are linked, and what was heard of late.

use std::collections::BTreeSet;

use epicenter_model::{ObjectRef, Timestamp};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::edge::Edge;
use crate::score::When;

/// An object that was not heard of for so long is forgotten: the time for which the API server keeps Events.
pub(crate) const FORGET_MS: i64 = 3_600_000;
/// `seen` is kept this exact, so that a busy object is not written for each Event.
const SEEN_MS: i64 = 60_000;
/// The same for what an object's own marks say of an incident that it is part of.
const OWN_MS: i64 = 10_000;
const LINKS: usize = 32;
const MARKS: usize = 32;
const OWNERS: usize = 16;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entity {
    pub id: u64,
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub seen: Timestamp,
    /// The newest incident that it is part of or to blame for.
    pub incident: Option<u64>,
    pub links: Vec<Link>,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub edge: Edge,
    pub to: u64,
    /// 0 to 1: learned from a name pattern, from text, or from the object itself.
    pub confidence: f64,
}

/// An Event that was heard of an object, or of one that is linked with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The link from the Event's object to this one.
    pub edge: Edge,
    pub class: Box<str>,
    pub event: EventRef,
    /// The incident and the row in it, once it is part of one.
    pub place: Option<(u64, u32)>,
    /// Of the first and the newest occurrence, emitter's clock.
    pub first: Timestamp,
    pub last: Timestamp,
    /// Log time of the first, and of the newest to the minute on shared objects.
    pub since: Timestamp,
    pub at: Timestamp,
    /// Tops of the owner chains of the Events' objects, at most 16.
    pub owners: Vec<u64>,
}

/// Enough of an Event to make it a member later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRef {
    pub uid: Box<str>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub reason: Box<str>,
    pub occurrences: i64,
    pub object: u64,
}

/// All objects that are remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities {
    by_id: FxHashMap<u64, Entity>,
    by_name: FxHashMap<Box<str>, u64>,
    by_seen: BTreeSet<(Timestamp, u64)>,
    /// Numbers given so far.
    pub given: u64,
    /// Changed, or gone, since they were last written.
    pub dirty: Vec<u64>,
    nodes: usize,
    zones: usize,
    name: String,
}

impl Mark {
    pub fn when(&self) -> When {
        When { first: self.first, last: self.last, since: self.since, at: self.at }
    }
}

impl Entity {
    pub fn reference(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version.to_string(),
            kind: self.kind.to_string(),
            namespace: self.namespace.to_string(),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
        }
    }

    pub fn linked(&self, edge: Edge) -> impl Iterator<Item = Link> + '_ {
        self.links.iter().copied().filter(move |link| link.edge == edge)
    }

    /// Notes a link; of nodes and owners there is one, of the rest the newest few.
    fn link(&mut self, new: Link) -> bool {
        if self.links.contains(&new) || new.to == self.id {
            return false;
        }
        let single = matches!(new.edge, Edge::Owner | Edge::Node | Edge::Zone | Edge::Target);
        if let Some(known) =
            self.links.iter_mut().find(|known| known.edge == new.edge && (single || known.to == new.to))
        {
            if known.confidence > new.confidence {
                return false;
            }
            *known = new;
        } else {
            if self.links.len() == LINKS {
                self.links.remove(0);
            }
            self.links.push(new);
        }
        true
    }

    /// Notes an Event; a `repeat` only where its like is noted. Gives whether the object is to be written: what goes on and
    /// on is not, each time.
    fn mark(&mut self, new: Mark, repeat: bool) -> bool {
        let incident = |mark: &Mark| mark.place.map(|(no, _)| no);
        let same =
            |known: &Mark| known.edge == new.edge && known.class == new.class && incident(known) == incident(&new);
        if let Some(known) = self.marks.iter_mut().find(|known| same(known)) {
            let owner = new.owners.first().filter(|owner| !known.owners.contains(owner) && known.owners.len() < OWNERS);
            let coarse = if new.edge == Edge::Object { OWN_MS } else { SEEN_MS };
            if new.place.is_some() && owner.is_none() && new.at.millis_since(known.at) < coarse {
                return false;
            }
            let paused = new.at.millis_since(known.at) > SEEN_MS;
            known.owners.extend(owner);
            known.first = known.first.min(new.first);
            known.last = known.last.max(new.last);
            known.at = new.at;
            if new.place.is_none() {
                if paused {
                    (known.first, known.since) = (new.first, new.since);
                }
                known.event = new.event;
            }
            return true;
        }
        if !repeat {
            if self.marks.len() == MARKS {
                self.marks.remove(0);
            }
            self.marks.push(new);
        }
        !repeat
    }
}

impl Entities {
    pub fn get(&self, id: u64) -> Option<&Entity> {
        self.by_id.get(&id)
    }

    /// The object of this name, if it is known.
    pub fn find(&mut self, kind: &str, namespace: &str, name: &str) -> Option<u64> {
        self.name.clear();
        for part in [kind, "\0", namespace, "\0", name] {
            self.name.push_str(part);
        }
        self.by_name.get(self.name.as_str()).copied()
    }

    /// The object of this name, new or known, heard of now.
    pub fn touch(&mut self, now: Timestamp, kind: &str, namespace: &str, name: &str) -> u64 {
        let (kind, namespace, name) = (bounded(kind), bounded(namespace), bounded(name));
        let namespace = if kind == "Node" { "" } else { namespace };
        if let Some(id) = self.find(kind, namespace, name) {
            self.keep(id, now);
            return id;
        }
        self.given += 1;
        let id = self.given;
        self.insert(Entity {
            id,
            api_version: "".into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: "".into(),
            seen: now,
            incident: None,
            links: vec![],
            marks: vec![],
        });
        self.dirty.push(id);
        id
    }

    /// As [`Entities::touch`]; notes version and uid, where the reference has them.
    pub fn touch_ref(&mut self, now: Timestamp, object: &ObjectRef) -> u64 {
        let id = self.touch(now, &object.kind, &object.namespace, &object.name);
        if object.kind != "Node"
            && let Some(entity) = self.by_id.get(&id)
        {
            let (api_version, uid) = (bounded(&object.api_version), bounded(&object.uid));
            let newer = |new: &str, old: &str| !new.is_empty() && new != old;
            if newer(api_version, &entity.api_version) || newer(uid, &entity.uid) {
                self.change(id, |entity| {
                    if !api_version.is_empty() {
                        entity.api_version = api_version.into();
                    }
                    if !uid.is_empty() {
                        entity.uid = uid.into();
                    }
                });
            }
        }
        id
    }

    /// Puts off its being forgotten.
    pub fn keep(&mut self, id: u64, now: Timestamp) {
        if let Some(entity) = self.by_id.get_mut(&id)
            && now.millis_since(entity.seen) >= SEEN_MS
        {
            self.by_seen.remove(&(entity.seen, id));
            entity.seen = now;
            self.by_seen.insert((now, id));
            self.dirty.push(id);
        }
    }

    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut Entity)) {
        if let Some(entity) = self.by_id.get_mut(&id) {
            change(entity);
            self.dirty.push(id);
        }
    }

    pub fn link(&mut self, from: u64, edge: Edge, to: u64, confidence: f64) {
        if self.by_id.get_mut(&from).is_some_and(|entity| entity.link(Link { edge, to, confidence })) {
            self.dirty.push(from);
        }
    }

    /// Notes that an object is part of an incident, or to blame for it.
    pub fn set_incident(&mut self, id: u64, no: u64) {
        if self.get(id).is_some_and(|entity| entity.incident != Some(no)) {
            self.change(id, |entity| entity.incident = Some(no));
        }
    }

    pub fn mark(&mut self, id: u64, mark: Mark, repeat: bool) {
        if self.by_id.get_mut(&id).is_some_and(|entity| entity.mark(mark, repeat)) {
            self.dirty.push(id);
        }
    }

    /// The objects above it, the nearest first, with the confidence of the whole way; at most 5.
    pub fn owners(&self, id: u64) -> Vec<(u64, f64)> {
        let mut chain: Vec<(u64, f64)> = Vec::new();
        let mut at = (id, 1.0);
        while let Some(link) = self.get(at.0).and_then(|entity| entity.linked(Edge::Owner).next()) {
            if chain.len() == 5 || link.to == id || chain.iter().any(|(known, _)| *known == link.to) {
                break;
            }
            if self.get(link.to).is_none() {
                break;
            }
            at = (link.to, at.1 * link.confidence);
            chain.push(at);
        }
        chain
    }

    /// The top of its owner chain, or itself.
    pub fn top(&self, id: u64) -> u64 {
        self.owners(id).last().map_or(id, |(top, _)| *top)
    }

    /// The object that is to be forgotten next, if it is time or there are more than `limit`.
    pub fn oldest(&self, now: Timestamp, limit: usize) -> Option<(u64, bool)> {
        let (seen, id) = self.by_seen.first()?;
        let due = now.millis_since(*seen) >= FORGET_MS;
        (due || self.by_id.len() > limit).then_some((*id, due))
    }

    pub fn forget(&mut self, id: u64) {
        if let Some(entity) = self.by_id.remove(&id) {
            self.by_seen.remove(&(entity.seen, id));
            self.by_name.remove(Self::full_name(&entity).as_str());
            if let Some(count) = self.count(&entity.kind) {
                *count -= 1;
            }
            self.dirty.push(id);
        }
    }

    /// Adds an object that was stored.
    pub fn insert(&mut self, entity: Entity) {
        if let Some(count) = self.count(&entity.kind) {
            *count += 1;
        }
        self.by_name.insert(Self::full_name(&entity).into(), entity.id);
        self.by_seen.insert((entity.seen, entity.id));
        self.by_id.insert(entity.id, entity);
    }

    fn count(&mut self, kind: &str) -> Option<&mut usize> {
        match kind {
            "Node" => Some(&mut self.nodes),
            "Zone" => Some(&mut self.zones),
            _ => None,
        }
    }

    /// How many nodes or zones are known.
    pub fn count_of(&self, edge: Edge) -> usize {
        match edge {
            Edge::Node => self.nodes,
            Edge::Zone => self.zones,
            _ => 0,
        }
    }

    fn full_name(entity: &Entity) -> String {
        format!("{}\0{}\0{}", entity.kind, entity.namespace, entity.name)
    }
}

/// The beginning of `text`, at most 256 bytes, so that every entry of the state stays small. Names in Kubernetes have at
/// most 253.
pub(crate) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(256)]
}
