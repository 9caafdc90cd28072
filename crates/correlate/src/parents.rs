//! What could explain an Event.

use std::ops::Bound;
use std::sync::Arc;

use epicenter_model::{Role, Timestamp};

use crate::entity::{Entity, EventRef, Mark};
use crate::incoming::Incoming;
use crate::live::Live;
use crate::row::{Row, RowRole};
use crate::rules::Causal;
use crate::score::{self, When};
use crate::state::Engine;

/// Another Event about an object whose incident is still remembered.
const SAME_OBJECT: f64 = 0.7;
/// Another Event with the same object to blame.
const SAME_CAUSE: f64 = 0.9;
/// A cause that has recovered explains less.
const RECOVERED: f64 = 0.5;

/// A possible parent of an Event.
#[derive(Clone, Debug)]
pub(crate) struct Parent<'r> {
    pub rule: &'r str,
    /// Its incident, and its candidate there.
    pub place: Option<(u64, Option<usize>)>,
    pub event: Arc<EventRef>,
    pub class: Arc<str>,
    pub first: Timestamp,
    pub lag_ms: i64,
    pub score: f64,
    pub causal: bool,
}

impl<'r> Engine<'r> {
    /// What could explain the Event by a causal rule.
    pub fn parents(&self, incoming: &Incoming<'_>) -> Vec<Parent<'r>> {
        let rules = self.rules;
        let mut parents = Vec::new();
        let began = incoming.began();
        for index in &rules.class(&incoming.event.class).as_effect {
            let causal = &rules.causal[*index];
            let rule = &causal.rule;
            for (id, sure) in incoming.links.along(rule.edge) {
                let known = self.state.entities.get(id);
                let Some(shared) = known.filter(|known| known.is_of(rule.kind.as_deref())) else { continue };
                self.look(shared.marks.len());
                let first = parents.len();
                for mark in
                    shared.marks.iter().filter(|mark| mark.edge == rule.of && causal.causes.contains(&mark.class))
                {
                    let when = mark.when();
                    let (likely, lag_ms) = score::lag(rule, when, began);
                    if likely <= 0.0 || *mark.event.uid == *incoming.event.event.uid {
                        continue;
                    }
                    // What came of a change has come before the next.
                    if mark.place.is_some() && self.is_change(mark) && self.changed_since(shared, causal, mark, began) {
                        continue;
                    }
                    let place = match mark.place {
                        None => None,
                        Some((no, number)) => match self.row_today(no, number) {
                            Some((no, row)) => Some((no, row)),
                            None => continue,
                        },
                    };
                    let over = place.is_some_and(|(_, row)| row.is_some_and(|row| row.over));
                    parents.push(Parent {
                        rule: &rule.id,
                        place: place.map(|(no, row)| (no, row.and_then(|row| row.candidate))),
                        event: mark.event.clone(),
                        class: mark.class.clone(),
                        first: mark.first,
                        lag_ms,
                        score: rule.weight * likely * sure * if over { RECOVERED } else { 1.0 },
                        causal: true,
                    });
                }
                if rule.edge.shared() {
                    let mut places: Vec<Option<u64>> =
                        parents[first..].iter().map(|p| p.place.map(|(no, _)| no)).collect();
                    places.sort_unstable();
                    places.dedup();
                    let share = 1.0 / places.len().max(1) as f64;
                    parents[first..].iter_mut().for_each(|parent| parent.score *= share);
                }
            }
        }
        parents
    }

    /// Whether an object, and not one that many share, changed again in a way that `causal` is about, after what `mark` tells and
    /// before what began then.
    fn changed_since(&self, object: &Entity, causal: &Causal, mark: &Mark, began: When) -> bool {
        let since = |at: Timestamp| at > mark.last && at <= began.first.plus_millis(score::SKEW_MS);
        let like = |other: &Mark| other.edge == causal.rule.of && causal.causes.contains(&other.class);
        !causal.rule.edge.shared()
            && object.marks.iter().any(|other| since(other.first) && like(other) && self.is_change(other))
    }

    fn is_change(&self, mark: &Mark) -> bool {
        self.rules.class(&mark.class).role == Role::Change
    }

    /// Incidents of the same object, of the same thing to blame, or of a common cause that is known already.
    pub fn alike(&self, incoming: &Incoming<'_>) -> Vec<Parent<'r>> {
        let rules = self.rules;
        let mut found = Vec::new();
        // Of a common cause there is no row.
        let mut add = |rule: &'r str, no: u64, live: &Live, candidate: usize, row: u32, score: f64| {
            let row = live.rows.get(&row);
            found.push(Parent {
                rule,
                place: Some((no, Some(candidate))),
                event: row
                    .map(|row| EventRef { uid: row.uid.clone(), object: row.object, ..EventRef::default() })
                    .unwrap_or_default()
                    .into(),
                class: live.head.candidates[candidate].class.clone(),
                first: incoming.when.first,
                lag_ms: row.map_or(0, |row| incoming.when.first.millis_since(row.last)),
                score,
                causal: row.is_none(),
            });
        };
        if let Some((no, live)) = self.incident_of(incoming.blamed)
            && let Some(index) =
                live.head.candidates.iter().position(|c| c.entity == incoming.blamed && c.common.is_none())
            && let candidate = &live.head.candidates[index]
            && self.continues(incoming, no, live, incoming.blamed, live.rows.get(&candidate.row))
        {
            add("same-cause", no, live, index, candidate.row, SAME_CAUSE);
        }
        if let Some((no, live)) = self.incident_of(incoming.object)
            && let Some((number, row)) = self.newest_trouble(no, live, incoming.object)
            && self.continues(incoming, no, live, incoming.object, Some(row))
            && let Some(index) = row.candidate
        {
            add("same-object", no, live, index, number, SAME_OBJECT);
        }
        for index in &rules.class(&incoming.event.class).common {
            let rule = &rules.common[*index].rule;
            for (id, _) in incoming.links.along(rule.edge) {
                if let Some((no, live)) = self.incident_of(id)
                    && let Some(index) = live
                        .head
                        .candidates
                        .iter()
                        .position(|c| c.common.as_deref() == Some(&rule.id) && c.entity == id)
                {
                    add(&rule.id, no, live, index, u32::MAX, rule.weight);
                }
            }
        }
        found
    }

    /// Whether an Event goes on with the trouble that the incident `no` has with the object `id`, which `row` told of. Once
    /// that is over, or the incident's root is, only its like does: of what is something else a new incident tells.
    fn continues(&self, incoming: &Incoming<'_>, no: u64, live: &Live, id: u64, row: Option<&Row>) -> bool {
        let over = live.head.root_recovered || row.is_some_and(|row| row.over) && !self.goes_on(no, id);
        let known = live.head.candidates.iter().map(|candidate| &candidate.class).chain(row.map(|row| &row.class));
        !over || known.into_iter().any(|class| self.rules.are_akin(class, &incoming.event.class))
    }

    /// Something that lasts is not over yet, of an object or a workload, in the incident `no`.
    fn goes_on(&self, no: u64, id: u64) -> bool {
        let Some(rows) = self.state.pending.get(&id) else { return false };
        let mut next = rows.first();
        // By class, of which there are few, not by row.
        while let Some((class, ..)) = next {
            if rows.range((class.clone(), no, 0)..=(class.clone(), no, u32::MAX)).next().is_some() {
                return true;
            }
            self.look(1);
            let last = (class.clone(), u64::MAX, u32::MAX);
            next = rows.range((Bound::Excluded(last), Bound::Unbounded)).next();
        }
        false
    }

    /// The newest row of the object in the incident `no` that is no recovery.
    fn newest_trouble<'l>(&self, no: u64, live: &'l Live, object: u64) -> Option<(u32, &'l Row)> {
        let places = self.state.objects.get(&object)?.range((no, 0)..=(no, u32::MAX));
        let mut rows = places.rev().filter_map(|(_, number)| Some((*number, live.rows.get(number)?)));
        rows.find(|(_, row)| row.role != RowRole::Recovery)
    }

    /// The incident that an object is part of, or to blame for, as far as it is remembered.
    pub fn incident_of(&self, id: u64) -> Option<(u64, &Live)> {
        let (no, _) = self.state.today(self.state.entities.get(id)?.incident?)?;
        Some((no, self.state.incidents.get(&no)?))
    }

    /// Where a row is today.
    pub fn row_today(&self, no: u64, number: u32) -> Option<(u64, Option<&Row>)> {
        let (no, offset) = self.state.today(no)?;
        Some((no, self.state.incidents.get(&no)?.rows.get(&(number.saturating_add(offset)))))
    }
}
