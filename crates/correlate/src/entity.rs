//! The objects of a cluster, real and virtual: how they are linked, and what was heard of late.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use epicenter_model::{ObjectRef, Timestamp};
use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};
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
const OWNER_CHAIN: usize = 5;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entity {
    pub id: u64,
    pub object: Arc<ObjectRef>,
    pub seen: Timestamp,
    /// The newest incident that it is part of or to blame for.
    pub incident: Option<u64>,
    pub links: Vec<Link>,
    pub marks: Vec<Mark>,
    /// It changed since it was last written, and is listed.
    #[serde(skip)]
    unwritten: bool,
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
    pub class: Arc<str>,
    pub event: Arc<EventRef>,
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

/// An Event that is to be remembered on an object.
pub(crate) struct Heard<'a> {
    pub edge: Edge,
    pub class: &'a str,
    pub place: Option<(u64, u32)>,
    /// Emitter's clock.
    pub occurred_at: Timestamp,
    /// Log time.
    pub at: Timestamp,
    /// When what it tells of began.
    pub began: When,
    /// The top of the owner chain of its object.
    pub owner: u64,
    /// It is a member already.
    pub repeat: bool,
}

/// Enough of an Event to make it a member later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRef {
    pub uid: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub reason: Arc<str>,
    pub occurrences: i64,
    pub object: u64,
}

/// All objects that are remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities {
    by_id: FxHashMap<u64, Entity>,
    by_name: HashTable<u64>,
    /// Those of which the uid is known.
    by_uid: HashTable<u64>,
    by_seen: BTreeSet<(Timestamp, u64)>,
    /// Numbers given so far.
    pub given: u64,
    /// Changed, or gone, since they were last written.
    pub unwritten: Vec<u64>,
    nodes: usize,
    zones: usize,
}

impl Mark {
    pub fn when(&self) -> When {
        When { first: self.first, last: self.last, since: self.since, at: self.at }
    }
}

impl Entity {
    pub fn linked(&self, edge: Edge) -> impl Iterator<Item = Link> + '_ {
        self.links.iter().copied().filter(move |link| link.edge == edge)
    }

    /// It is of that kind, where one is meant.
    pub fn is_of(&self, kind: Option<&str>) -> bool {
        kind.is_none_or(|kind| self.object.kind == kind)
    }

    /// Lists it as changed.
    fn list(&mut self, unwritten: &mut Vec<u64>) {
        if !std::mem::replace(&mut self.unwritten, true) {
            unwritten.push(self.id);
        }
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

    /// Notes an Event; a repeat only where its like is noted. Gives whether the object is to be written: what goes on and on is
    /// not, each time.
    fn mark(&mut self, new: &Heard<'_>, event: impl FnOnce() -> Arc<EventRef>) -> bool {
        let incident = |place: Option<(u64, u32)>| place.map(|(no, _)| no);
        let same = |known: &Mark| {
            known.edge == new.edge && incident(known.place) == incident(new.place) && *known.class == *new.class
        };
        if let Some(known) = self.marks.iter_mut().find(|known| same(known)) {
            let owner = (known.owners.len() < OWNERS && !known.owners.contains(&new.owner)).then_some(new.owner);
            let coarse = if new.edge == Edge::Object { OWN_MS } else { SEEN_MS };
            if new.place.is_some() && owner.is_none() && new.at.millis_since(known.at) < coarse {
                return false;
            }
            let paused = new.at.millis_since(known.at) > SEEN_MS;
            known.owners.extend(owner);
            known.first = known.first.min(new.occurred_at);
            known.last = known.last.max(new.occurred_at);
            known.at = new.at;
            // The newest of its like says whether that is over.
            known.place = new.place;
            if new.place.is_none() {
                if paused {
                    (known.first, known.since) = (new.occurred_at, new.at);
                }
                known.event = event();
            }
            return true;
        }
        if !new.repeat {
            if self.marks.len() == MARKS {
                self.marks.remove(0);
            }
            self.marks.push(Mark {
                edge: new.edge,
                class: new.class.into(),
                event: event(),
                place: new.place,
                first: new.began.first,
                last: new.occurred_at,
                since: new.began.since,
                at: new.at,
                owners: vec![new.owner],
            });
        }
        !new.repeat
    }
}

impl Entities {
    pub fn get(&self, id: u64) -> Option<&Entity> {
        self.by_id.get(&id)
    }

    /// The object, which is written now.
    pub fn written(&mut self, id: u64) -> Option<&Entity> {
        let entity = self.by_id.get_mut(&id)?;
        entity.unwritten = false;
        Some(entity)
    }

    /// The object of this name, if it is known.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<u64> {
        let is = |id: &u64| {
            self.by_id.get(id).is_some_and(|entity| {
                let object = &entity.object;
                object.name == name && object.namespace == namespace && object.kind == kind
            })
        };
        self.by_name.find(hash(kind, namespace, name), is).copied()
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
            object: Arc::new(ObjectRef::named(kind, namespace, name)),
            seen: now,
            incident: None,
            links: vec![],
            marks: vec![],
            unwritten: true,
        });
        self.unwritten.push(id);
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
            if newer(api_version, &entity.object.api_version) || newer(uid, &entity.object.uid) {
                let other = newer(uid, &entity.object.uid);
                if other {
                    self.unname(id);
                }
                self.change(id, |entity| {
                    let object = Arc::make_mut(&mut entity.object);
                    if !api_version.is_empty() {
                        object.api_version = api_version.to_owned();
                    }
                    if !uid.is_empty() {
                        object.uid = uid.to_owned();
                    }
                });
                if other {
                    self.name(id);
                }
            }
        }
        id
    }

    /// The object of this uid, if it is known.
    pub fn of_uid(&self, uid: &str) -> Option<u64> {
        let is = |id: &u64| self.by_id.get(id).is_some_and(|entity| entity.object.uid == uid);
        self.by_uid.find(uid_hash(uid), is).copied()
    }

    /// Lets the object be found by its uid.
    fn name(&mut self, id: u64) {
        let by_id = &self.by_id;
        let hash = |id: &u64| by_id.get(id).map_or(0, |entity| uid_hash(&entity.object.uid));
        if by_id.get(&id).is_some_and(|entity| !entity.object.uid.is_empty()) {
            self.by_uid.insert_unique(hash(&id), id, hash);
        }
    }

    /// Lets it be found by its uid no more.
    fn unname(&mut self, id: u64) {
        if let Some(entity) = self.by_id.get(&id)
            && let Ok(entry) = self.by_uid.find_entry(uid_hash(&entity.object.uid), |known| *known == id)
        {
            entry.remove();
        }
    }

    /// Puts off its being forgotten.
    pub fn keep(&mut self, id: u64, now: Timestamp) {
        if let Some(entity) = self.by_id.get_mut(&id)
            && now.millis_since(entity.seen) >= SEEN_MS
        {
            self.by_seen.remove(&(entity.seen, id));
            entity.seen = now;
            self.by_seen.insert((now, id));
            entity.list(&mut self.unwritten);
        }
    }

    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut Entity)) {
        if let Some(entity) = self.by_id.get_mut(&id) {
            change(entity);
            entity.list(&mut self.unwritten);
        }
    }

    /// Gives the places of Events that `moved` knows of other ones. Gives how many were looked at.
    pub fn move_marks(&mut self, moved: impl Fn((u64, u32)) -> Option<(u64, u32)>) -> usize {
        let goes = |mark: &Mark| mark.place.and_then(&moved);
        let mut ids: Vec<u64> = Vec::new();
        let mut looked = 0;
        for (id, entity) in &self.by_id {
            looked += entity.marks.len();
            if entity.marks.iter().any(|mark| goes(mark).is_some()) {
                ids.push(*id);
            }
        }
        ids.sort_unstable();
        for id in ids {
            self.change(id, |entity| {
                for mark in &mut entity.marks {
                    mark.place = mark.place.and_then(&moved).or(mark.place);
                }
            });
        }
        looked
    }

    pub fn link(&mut self, from: u64, edge: Edge, to: u64, confidence: f64) {
        if let Some(entity) = self.by_id.get_mut(&from)
            && entity.link(Link { edge, to, confidence })
        {
            entity.list(&mut self.unwritten);
        }
    }

    /// Notes that an object is part of an incident, or to blame for it.
    pub fn set_incident(&mut self, id: u64, no: u64) {
        if self.get(id).is_some_and(|entity| entity.incident != Some(no)) {
            self.change(id, |entity| entity.incident = Some(no));
        }
    }

    /// Remembers an Event on an object.
    pub fn mark(&mut self, id: u64, heard: &Heard<'_>, event: impl FnOnce() -> Arc<EventRef>) {
        if let Some(entity) = self.by_id.get_mut(&id)
            && entity.mark(heard, event)
        {
            entity.list(&mut self.unwritten);
        }
    }

    /// The objects above it, the nearest first, with the confidence of the whole way; at most 5.
    pub fn owners(&self, id: u64) -> impl Iterator<Item = (u64, f64)> {
        let mut chain = [(0, 0.0); OWNER_CHAIN];
        let mut length = 0;
        let mut at = (id, 1.0);
        while length < OWNER_CHAIN
            && let Some(link) = self.get(at.0).and_then(|entity| entity.linked(Edge::Owner).next())
            && link.to != id
            && !chain[..length].iter().any(|(known, _)| *known == link.to)
            && self.get(link.to).is_some()
        {
            at = (link.to, at.1 * link.confidence);
            chain[length] = at;
            length += 1;
        }
        chain.into_iter().take(length)
    }

    /// The top of its owner chain, or itself.
    pub fn top(&self, id: u64) -> u64 {
        self.owners(id).last().map_or(id, |(top, _)| top)
    }

    /// The node on which it runs, or that it is.
    pub fn node_of(&self, id: u64) -> Option<&Arc<ObjectRef>> {
        let own = self.get(id)?;
        let node = if own.object.kind == "Node" { own } else { self.get(own.linked(Edge::Node).next()?.to)? };
        Some(&node.object)
    }

    /// The object that is to be forgotten next, if it is time or there are more than `limit`.
    pub fn oldest(&self, now: Timestamp, limit: usize) -> Option<(u64, bool)> {
        let (seen, id) = self.by_seen.first()?;
        let due = now.millis_since(*seen) >= FORGET_MS;
        (due || self.by_id.len() > limit).then_some((*id, due))
    }

    pub fn forget(&mut self, id: u64) {
        self.unname(id);
        if let Some(entity) = self.by_id.remove(&id) {
            self.by_seen.remove(&(entity.seen, id));
            if let Ok(entry) = self.by_name.find_entry(name_hash(&entity), |known| *known == id) {
                entry.remove();
            }
            if let Some(count) = self.count(&entity.object.kind) {
                *count -= 1;
            }
            self.unwritten.push(id);
        }
    }

    /// Adds an object that was stored.
    pub fn insert(&mut self, entity: Entity) {
        if let Some(count) = self.count(&entity.object.kind) {
            *count += 1;
        }
        self.by_seen.insert((entity.seen, entity.id));
        let (id, hash) = (entity.id, name_hash(&entity));
        self.by_id.insert(id, entity);
        let by_id = &self.by_id;
        self.by_name.insert_unique(hash, id, |id| by_id.get(id).map_or(0, name_hash));
        self.name(id);
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
}

fn hash(kind: &str, namespace: &str, name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (name, namespace, kind).hash(&mut hasher);
    hasher.finish()
}

fn uid_hash(uid: &str) -> u64 {
    let mut hasher = FxHasher::default();
    uid.hash(&mut hasher);
    hasher.finish()
}

fn name_hash(entity: &Entity) -> u64 {
    hash(&entity.object.kind, &entity.object.namespace, &entity.object.name)
}

/// The beginning of `text`, at most 256 bytes, so that every entry of the state stays small. Names in Kubernetes have at
/// most 253.
pub(crate) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(256)]
}
