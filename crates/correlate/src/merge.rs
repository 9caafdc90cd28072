//! Causes that come late: what they explain is theirs.

use std::sync::Arc;

use epicenter_model::{IncidentState, Transition};

use crate::incoming::Incoming;
use crate::live::{CANDIDATES, Live};
use crate::row::Reason;
use crate::score::{self, rounded};
use crate::state::Engine;
use crate::wire::Key;

/// Incidents of which an incident remembers that it took them over.
const ABSORBED: usize = 1_000;

/// What began so long before a root is not its effect: longer than a node needs to be noticed (50 s).
const LONG_BEFORE_MS: i64 = 120_000;

/// Something in an open incident that an Event explains.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub no: u64,
    /// Class and object of the candidate: its place may change before it is adopted.
    pub class: Arc<str>,
    pub entity: u64,
    pub because: Reason,
}

impl Engine<'_> {
    /// Roots of open incidents that the Event explains better than they explain themselves.
    pub fn effects_of(&self, incoming: &Incoming<'_>) -> Vec<Effect> {
        let rules = self.rules;
        let mut effects: Vec<Effect> = Vec::new();
        for index in &rules.class(&incoming.event.class).as_cause {
            let causal = &rules.causal[*index];
            let rule = &causal.rule;
            for (id, _) in incoming.links.along(rule.of) {
                let known = self.state.entities.get(id);
                let Some(shared) = known.filter(|known| known.is_of(rule.kind.as_deref())) else { continue };
                self.look(shared.marks.len());
                let marks =
                    shared.marks.iter().filter(|mark| mark.edge == rule.edge && causal.effects.contains(&mark.class));
                for mark in marks.filter(|mark| *mark.event.uid != *incoming.event.event.uid) {
                    let Some((no, Some(row))) = mark.place.and_then(|(no, row)| self.row_today(no, row)) else {
                        continue;
                    };
                    let Some(live) = self.state.incidents.get(&no).filter(|live| live.is_open()) else { continue };
                    let Some(root) = row.candidate.map(|candidate| live.head.root_of(candidate)) else { continue };
                    let found = &live.head.candidates[root];
                    // Only what stands at the top of its incident may move it.
                    if found.common.is_some()
                        || !causal.effects.contains(&found.class)
                        || self.best_root(live) != Some(root)
                    {
                        continue;
                    }
                    let when = mark.when();
                    let (likely, lag_ms) = score::lag(rule, incoming.when, when);
                    let share = if rule.edge.shared() { self.one_of(shared, rule.of, causal) } else { 1.0 };
                    let score = rule.weight * likely * share;
                    let explained_already =
                        live.rows.get(&found.row).and_then(|row| row.because.as_ref()).map_or(0.0, |b| b.3);
                    let own = rules.class(&found.class).own.max(explained_already);
                    if score < own
                        || effects
                            .iter()
                            .any(|known| (known.no, &known.class, known.entity) == (no, &found.class, found.entity))
                    {
                        continue;
                    }
                    let uid = incoming.event.event.uid.as_str().into();
                    effects.push(Effect {
                        no,
                        class: found.class.clone(),
                        entity: found.entity,
                        because: (rule.id.as_str().into(), uid, lag_ms, rounded(score)),
                    });
                }
            }
        }
        effects
    }

    /// The share of one cause among all that were heard of on a shared object.
    fn one_of(&self, shared: &crate::entity::Entity, of: crate::edge::Edge, causal: &crate::rules::Causal) -> f64 {
        let causes = shared.marks.iter().filter(|mark| mark.edge == of && causal.causes.contains(&mark.class));
        let mut places: Vec<u64> = causes.filter_map(|mark| mark.place.map(|(no, _)| no)).collect();
        places.sort_unstable();
        places.dedup();
        1.0 / (places.len() + 1) as f64
    }

    /// Puts `effects` under the candidate of the row at `placed`, and their incidents into its incident. Gives where the
    /// row is then.
    pub fn adopt(&mut self, placed: (u64, u32), effects: &[Effect]) -> (u64, u32) {
        for effect in effects {
            let Some((own, Some(row))) = self.row_today(placed.0, placed.1) else { break };
            let Some((no, _)) = self.state.today(effect.no) else { continue };
            let Some((here, there)) = self.state.incidents.get(&own).zip(self.state.incidents.get(&no)) else {
                continue;
            };
            let Some(below) = there.head.find(&effect.class, effect.entity, None) else { continue };
            let Some(above) = row.candidate.map(|above| here.head.candidates[above].clone()) else { continue };
            let root = &here.head.candidates[row.candidate.map_or(0, |above| here.head.root_of(above))];
            // A link in the middle of a chain gives nothing to a root that began long after.
            let late = root.first.millis_since(there.head.candidates[below].first) > LONG_BEFORE_MS;
            if own != no && late && *root.class != *row.class || self.state.partings.are(own, no) {
                continue;
            }
            let survivor = self.merge(own, no);
            let head = self.head_mut(survivor);
            let below = head.find(&effect.class, effect.entity, None);
            let above = head.find(&above.class, above.entity, above.common.as_deref());
            let (Some(below), Some(above)) = (below, above) else { continue };
            let below = head.root_of(below);
            if head.adopt(below, above) {
                head.used(&effect.because.0, head.candidates[below].explained);
                let row = head.candidates[below].row;
                if let Some(live) = self.state.incidents.get_mut(&survivor) {
                    live.change(row, |row| row.because = Some(effect.because.clone()));
                }
            }
            self.touch(survivor, None);
        }
        self.state.today(placed.0).map_or(placed, |(no, offset)| (no, placed.1.saturating_add(offset)))
    }

    /// Makes one incident of two: the one that was opened first takes the other over. Gives its number.
    pub fn merge(&mut self, one: u64, other: u64) -> u64 {
        if one == other {
            return one;
        }
        let (survivor, loser) = (one.min(other), one.max(other));
        let Some(mut gone) = self.state.incidents.remove(&loser) else { return survivor };
        self.state.timers.clear(loser);
        self.changed(Key::Head(loser));
        self.fall_silent(loser, &gone);
        if !gone.quotes.is_empty() {
            self.changed(Key::Quotes(loser));
            self.changed(Key::Quotes(survivor));
        }
        self.look(gone.rows.len() + gone.head.absorbed.len());
        for (number, row) in &gone.rows {
            self.changed(Key::Row(loser, *number));
            self.state.unindex(loser, *number, &row.keys());
        }
        self.touched.retain(|(no, _)| *no != loser);
        if gone.head.version > 0 {
            gone.head.state = IncidentState::Merged;
            let into = self.state.incidents.get(&survivor).map(|live| live.head.id.clone());
            self.emit(&mut gone, Transition::Merged, into);
        }
        let base = self.take_over(survivor, &gone);
        for no in self.state.partings.merged(loser, survivor) {
            self.changed(Key::Apart(no));
        }
        if gone.voice.is_heard() {
            self.changed(Key::Voice(survivor));
        }
        // All that was ever merged into it leads to the survivor at once.
        for no in &gone.head.absorbed {
            if let Some(redirect) = self.state.redirects.get_mut(no) {
                *redirect = (survivor, redirect.1.saturating_add(base));
                self.changed(Key::Redirect(*no));
            }
        }
        self.state.redirects.insert(loser, (survivor, base));
        self.changed(Key::Redirect(loser));
        let absorbed = &mut self.head_mut(survivor).absorbed;
        absorbed.extend(gone.head.absorbed);
        absorbed.push(loser);
        let too_many = absorbed.len().saturating_sub(ABSORBED);
        for no in absorbed.drain(..too_many).collect::<Vec<_>>() {
            self.forget_redirect(no);
        }
        self.wake(survivor);
        self.touch(survivor, None);
        survivor
    }

    /// Adds all that `gone` has to the incident `survivor`. Gives the offset of its rows there.
    fn take_over(&mut self, survivor: u64, gone: &Live) -> u32 {
        let Some(live) = self.state.incidents.get_mut(&survivor) else { return 0 };
        let head = &mut live.head;
        let base = head.given;
        live.voice.take_over(&gone.voice);
        live.quotes.take_over(&gone.quotes);
        let mut moved = Vec::new();
        for candidate in &gone.head.candidates {
            let same = |c: &crate::live::Candidate| {
                (c.entity, &c.class, &c.common) == (candidate.entity, &candidate.class, &candidate.common)
            };
            let index = head.candidates.iter().position(same);
            if let Some(index) = index {
                head.candidates[index].explained += candidate.explained;
                head.candidates[index].first = head.candidates[index].first.min(candidate.first);
            } else if head.candidates.len() < CANDIDATES {
                let mut new = candidate.clone();
                new.row = new.row.saturating_add(base);
                new.trigger = new.trigger.map(|row| row + base);
                new.under = None;
                head.candidates.push(new);
            }
            moved.push(index.or_else(|| head.candidates.iter().position(same)));
        }
        for (index, candidate) in gone.head.candidates.iter().enumerate() {
            let above = candidate.under.and_then(|above| moved[above]);
            if let (Some(below), Some(above)) = (moved[index], above) {
                head.adopt(below, above);
            }
        }
        head.given = base + gone.head.given;
        head.objects += gone.head.objects;
        head.heard(gone.head.occurrences);
        head.more_pods += gone.head.more_pods;
        head.worst = head.worst.max(gone.head.worst);
        head.cap = head.cap.zip(gone.head.cap).map(|(one, other)| one.of_both(other));
        head.active = head.active.max(gone.head.active);
        head.last_event_at = head.last_event_at.max(gone.head.last_event_at);
        head.opened_at = head.opened_at.min(gone.head.opened_at);
        for (reason, count) in &gone.head.by_reason {
            *head.by_reason.entry(reason.clone()).or_default() += count;
        }
        for (rule, count) in &gone.head.rules {
            head.used(rule, *count);
        }
        let bound = self.rules.bounds.members_of_one;
        let mut rows = Vec::new();
        for (number, row) in &gone.rows {
            let mut row = row.clone();
            row.candidate = row.candidate.and_then(|candidate| moved[candidate]);
            let keys = row.keys();
            if live.insert(base + number, row, bound) {
                rows.push((base + number, keys));
            } else {
                self.state.clock.dropped.members += 1;
            }
        }
        for (number, keys) in rows {
            self.state.index(survivor, number, keys);
        }
        base
    }
}
