//! What people know better: that two incidents are one, or that a part of one is another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use epicenter_model::{Act, Command, Member, ObjectRef, Timestamp, Transition, incident_id};

use crate::entity::Entities;
use crate::incoming::Incoming;
use crate::live::{CANDIDATES, Candidate, Head, Live};
use crate::partings::Apart;
use crate::row::{Row, RowRole};
use crate::state::Engine;
use crate::wire::Key;

type Rows = BTreeMap<u32, Row>;

/// Why no part of an incident that is about `objects` can be another; `None` when it can.
pub(crate) fn unpartable(live: &Live, objects: &[ObjectRef]) -> Option<String> {
    let id = &live.head.id;
    let trouble = |part: bool| {
        let rows = live.rows.values().filter(|row| is_trouble(row));
        rows.filter(|row| is_about(row, objects) == part).count()
    };
    let named = || objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if trouble(true) == 0 {
        return Some(format!(
            "incident {id} remembers no trouble of {}: `epicenter show {id}` lists what it has of which objects",
            named()
        ));
    }
    (trouble(false) == 0)
        .then(|| format!("incident {id} is about nothing but {}: nothing would be left of it", named()))
}

fn is_trouble(row: &Row) -> bool {
    matches!(row.role, RowRole::Cause | RowRole::Symptom)
}

/// It is an Event of one of the objects, or of something below it.
fn is_about(row: &Row, objects: &[ObjectRef]) -> bool {
    let own = (&*row.kind, &*row.object_namespace, &*row.object_name);
    let above = row.workload.as_deref().map(ObjectRef::full_name);
    objects.iter().any(|object| object.full_name() == own || Some(object.full_name()) == above)
}

impl Engine<'_> {
    /// Where an Event belongs as far as people parted incidents: where somebody said, else where its object or its workload has been.
    pub fn home(&self, incoming: &Incoming<'_>) -> Option<u64> {
        if self.state.partings.is_empty() {
            return None;
        }
        let been = |id: u64| self.state.objects.get(&id)?.last().map(|(no, _)| *no);
        self.claimed(incoming)
            .or_else(|| been(incoming.object))
            .or_else(|| been(self.state.entities.top(incoming.object)))
    }

    /// The incident to which somebody said that Events of the object, or of what owns it, belong.
    pub fn claimed(&self, incoming: &Incoming<'_>) -> Option<u64> {
        let partings = &self.state.partings;
        if partings.is_empty() {
            return None;
        }
        [incoming.object, self.state.entities.top(incoming.object)].into_iter().find_map(|id| partings.home(id))
    }

    /// Whether somebody parted the Event's object from what it would blame.
    pub fn is_parted_from(&self, incoming: &Incoming<'_>, blamed: u64) -> bool {
        let its = || self.state.today(self.state.entities.get(blamed)?.incident?).map(|(no, _)| no);
        let home = self.home(incoming);
        home.is_some() && (self.claimed(incoming).is_some() || !self.may_be_in(home, its()))
    }

    /// Whether what belongs to the incident `home` may be in `no`.
    pub fn may_be_in(&self, home: Option<u64>, no: Option<u64>) -> bool {
        home.zip(no).is_none_or(|(home, no)| !self.state.partings.are(home, no))
    }

    /// Makes one incident of two, as somebody said.
    pub fn put_together(&mut self, command: &Command, id: &str, with: &str) {
        let (Some(one), Some(other)) = (self.state.incident(id), self.state.incident(with)) else { return };
        for no in self.state.partings.lift(one, other) {
            self.changed(Key::Apart(no));
        }
        let survivor = self.merge(one, other);
        self.say(survivor, command, Act::Merge);
        self.touch(survivor, Some(Transition::Updated));
    }

    /// Makes another incident of what `id` has of `objects`, as somebody said.
    pub fn part(&mut self, command: &Command, id: &str, objects: &[ObjectRef]) {
        let Some(no) = self.state.incident(id) else { return };
        let Some(live) = self.state.incidents.get(&no) else { return };
        if live.voice.notes.iter().any(|note| note.id == command.id) {
            return;
        }
        if self.state.incidents.len() >= self.rules.bounds.incidents {
            self.make_room();
        }
        // Room may have been made of this one.
        let Some(mut old) = self.state.incidents.remove(&no) else { return };
        self.look(old.rows.len());
        self.state.clock.incidents += 1;
        let new_no = self.state.clock.incidents;
        let rows = std::mem::take(&mut old.rows);
        let (mut gone, mut rest): (Rows, Rows) = rows.into_iter().partition(|(_, row)| is_about(row, objects));
        for (number, row) in &gone {
            self.state.unindex(no, *number, &row.keys());
            self.changed(Key::Row(no, *number));
            self.state.index(new_no, *number, row.keys());
        }
        let version = old.head.version + 1;
        let mut dirty: BTreeSet<u32> = old.dirty.iter().copied().filter(|number| rest.contains_key(number)).collect();
        dirty.extend(forget_parents(&mut rest, &gone, version));
        forget_parents(&mut gone, &rest, version);

        let entities = &self.state.entities;
        let new_head = Head { no: new_no, ..self.head_of_part(command, &old.head, &mut gone) };
        let (candidates, changed) = candidates(&old.head.candidates, &mut rest, entities, true);
        dirty.extend(changed);
        let mut head = std::mem::take(&mut old.head);
        head.candidates = candidates;
        head.root_row = head.root_row.filter(|row| rest.contains_key(row));
        for row in gone.values() {
            head.objects -= 1;
            head.occurrences = head.occurrences.saturating_sub(row.occurrences);
            head.uncount(&row.reason);
        }
        let moved = gone.values().map(|row| Member { role: Member::MOVED.to_owned(), ..row.member(false) }).collect();
        let mut rest = Live::restored(head, rest);
        (rest.voice, rest.unwritten, rest.dirty, rest.moved) = (old.voice, old.unwritten, dirty, moved);
        rest.quotes = old.quotes.among(rest.rows.values().map(|row| &*row.uid));

        let own = own(&gone, &rest.rows);
        gone.values_mut().for_each(|row| row.version = 1);
        let mut new = Live::restored(new_head, gone);
        new.dirty = new.rows.keys().copied().collect();
        new.quotes = old.quotes.among(new.rows.values().map(|row| &*row.uid));
        self.changed(Key::Quotes(no));
        self.changed(Key::Quotes(new_no));
        self.move_marks(no, new_no, &new);
        own.iter().for_each(|object| self.state.entities.set_incident(*object, new_no));
        self.state.incidents.insert(no, Box::new(rest));
        self.state.incidents.insert(new_no, Box::new(new));
        let from = self.state.partings.from(no).into_iter().chain([no]).collect();
        self.state.partings.insert(new_no, Apart { from, objects: own });
        self.changed(Key::Apart(new_no));
        for (no, transition) in [(no, Transition::Updated), (new_no, Transition::Opened)] {
            self.say(no, command, Act::Split);
            self.touch(no, Some(transition));
        }
    }

    /// Leaves a note of the command.
    fn say(&mut self, no: u64, command: &Command, act: Act) {
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        live.voice.add(command.note(act));
        self.changed(Key::Voice(no));
    }

    /// The head of an incident that is made of `rows`, which were part of `old`.
    fn head_of_part(&self, command: &Command, old: &Head, rows: &mut Rows) -> Head {
        let (candidates, _) = candidates(&old.candidates, rows, &self.state.entities, false);
        let severity = |row: &Row| self.rules.classes.get(&row.class).map(|info| info.severity);
        let first = rows.values().filter(|row| is_trouble(row)).map(|row| row.last).min();
        let category = candidates.first().and_then(|it| self.rules.classes.get(&it.class)).map(|info| info.category);
        let mut head = Head {
            // By the command: whatever Events are in it, no other incident began so.
            id: incident_id(&self.state.clock.cluster_uid, &format!("{}/{}", command.id, old.id), 0),
            category: category.unwrap_or(old.category),
            worst: rows.values().filter(|row| is_trouble(row)).filter_map(severity).max().unwrap_or(old.worst),
            opened_at: first.unwrap_or(old.opened_at).clamp(old.opened_at, self.now().max(old.opened_at)),
            last_event_at: old.last_event_at,
            active: old.active,
            quiet_ms: old.quiet_ms,
            given: old.given,
            candidates,
            ..Head::default()
        };
        for row in rows.values() {
            head.count(&row.reason);
            head.heard(row.occurrences);
            if let Some((rule, ..)) = &row.because {
                head.used(rule, 1);
            }
        }
        head
    }

    /// What is remembered on objects of the Events that moved leads to where they are now.
    fn move_marks(&mut self, no: u64, new_no: u64, new: &Live) {
        let state = &mut *self.state;
        let (incidents, redirects) = (&state.incidents, &state.redirects);
        let today = |from: u64| match redirects.get(&from) {
            _ if from == no => Some(0),
            Some((to, offset)) if *to == no && !incidents.contains_key(&from) => Some(*offset),
            _ => None,
        };
        let moved = |(from, number): (u64, u32)| {
            let number = number.saturating_add(today(from)?);
            new.rows.contains_key(&number).then_some((new_no, number))
        };
        let looked = state.entities.move_marks(moved);
        self.look(looked);
    }
}

/// Objects, and workloads above them, that `rows` has and `rest` has not.
fn own(rows: &Rows, rest: &Rows) -> BTreeSet<u64> {
    let objects = |rows: &Rows| rows.values().flat_map(|row| row.keys().objects()).collect::<BTreeSet<u64>>();
    &objects(rows) - &objects(rest)
}

/// Rows whose parent is in `others` have none any more. Gives their numbers.
fn forget_parents(rows: &mut Rows, others: &Rows, version: i64) -> Vec<u32> {
    let uids: BTreeSet<&str> = others.values().map(|row| &*row.uid).collect();
    let mut changed = Vec::new();
    for (number, row) in rows {
        if row.because.as_ref().is_some_and(|(_, parent, ..)| uids.contains(&**parent)) {
            row.because = None;
            row.version = version;
            changed.push(*number);
        }
    }
    changed
}

/// Those of `all` whose first row is among `rows`, and of what the others explained a candidate each. Gives them, and the rows
/// that changed. What has no row of its own, a common cause, stays where it was.
fn candidates(all: &[Candidate], rows: &mut Rows, entities: &Entities, stays: bool) -> (Vec<Candidate>, Vec<u32>) {
    let here = |index: usize, candidate: &Candidate| match &candidate.common {
        Some(_) => stays,
        None => rows.get(&candidate.row).is_some_and(|row| row.candidate == Some(index)),
    };
    let kept: Vec<usize> = (0..).zip(all).filter(|(index, it)| here(*index, it)).map(|(index, _)| index).collect();
    let place = |index: usize| kept.iter().position(|known| *known == index);
    let mut found: Vec<Candidate> = kept
        .iter()
        .map(|index| {
            let candidate = &all[*index];
            let under = candidate.under.and_then(place);
            let trigger = candidate.trigger.filter(|row| rows.contains_key(row));
            Candidate { explained: 0, under, trigger, ..candidate.clone() }
        })
        .collect();
    let mut changed = Vec::new();
    for (number, row) in rows.iter_mut() {
        let mapped = match row.candidate.and_then(place) {
            None if is_trouble(row) => alone(row, *number, entities, &mut found),
            mapped => mapped,
        };
        if mapped != row.candidate {
            row.candidate = mapped;
            changed.push(*number);
        }
        if let Some(candidate) = mapped {
            found[candidate].explained += 1;
        }
    }
    (found, changed)
}

/// The candidate that a row is by itself; `None` when there are too many.
fn alone(row: &Row, number: u32, entities: &Entities, found: &mut Vec<Candidate>) -> Option<usize> {
    let same = |it: &Candidate| it.entity == row.object && it.class == row.class && it.common.is_none();
    if let Some(known) = found.iter().position(same) {
        return Some(known);
    }
    if found.len() >= CANDIDATES {
        return None;
    }
    let named = || Arc::new(ObjectRef::named(&row.kind, &row.object_namespace, &row.object_name));
    let object = entities.get(row.object).map_or_else(named, |entity| Arc::clone(&entity.object));
    let (class, first): (_, Timestamp) = (row.class.clone(), row.last);
    found.push(Candidate { class, object, entity: row.object, first, row: number, ..Candidate::default() });
    Some(found.len() - 1)
}
