//! A cause that no Event tells of: several owners fail alike, and have one thing in common.

use std::sync::Arc;

use crate::edge::Edge;
use crate::incoming::Incoming;
use crate::live::{CANDIDATES, Candidate};
use crate::rules::Common;
use crate::score::{binomial_tail, rounded};
use crate::state::Engine;

/// That so many of all failing owners share it is chance no more often than this.
const CHANCE: f64 = 0.01;

impl Engine<'_> {
    /// Infers a common cause when the Event makes the case for one.
    pub fn common_cause(&mut self, incoming: &Incoming<'_>) {
        let rules = self.rules;
        for index in &rules.class(&incoming.event.class).common {
            let common = &rules.common[*index];
            let shared: Vec<u64> = incoming.links.along(common.rule.edge).map(|(id, _)| id).collect();
            for id in shared {
                self.infer(common, id, incoming);
            }
        }
    }

    fn infer(&mut self, common: &Common, id: u64, incoming: &Incoming<'_>) {
        let rule = &common.rule;
        let Some(shared) = self.state.entities.get(id).filter(|known| known.is_of(rule.kind.as_deref())) else {
            return;
        };
        self.look(shared.marks.len());
        let mut owners: Vec<u64> = Vec::new();
        let mut cases: Vec<(u64, usize)> = Vec::new();
        let mut first = None;
        for mark in shared.marks.iter().filter(|mark| mark.edge == rule.edge && common.classes.contains(&mark.class)) {
            if incoming.event.at.millis_since(mark.at) > rule.within_s * 1000 {
                continue;
            }
            let Some((no, Some(row))) = mark.place.and_then(|(no, row)| self.row_today(no, row)) else { continue };
            let Some(live) = self.state.incidents.get(&no).filter(|live| live.is_open()) else { continue };
            let Some(root) = row.candidate.map(|candidate| live.head.root_of(candidate)) else { continue };
            let candidate = &live.head.candidates[root];
            // What has another explanation is no case, and what this one explains already needs none.
            if candidate.common.is_some() || !common.classes.contains(&candidate.class) {
                continue;
            }
            first = first.or_else(|| Some((mark.class.clone(), mark.first)));
            owners.extend(&mark.owners);
            if !cases.contains(&(no, root)) {
                cases.push((no, root));
            }
        }
        owners.sort_unstable();
        owners.dedup();
        let known = self.known_common(&rule.id, id);
        let Some((class, first)) = first.filter(|_| known.is_some() || owners.len() >= rule.owners) else { return };
        if known.is_none() && rule.enrichment && !self.enriched(common, owners.len(), incoming) {
            return;
        }
        let object = Arc::clone(&shared.object);
        let keys: Vec<_> = cases
            .iter()
            .filter_map(|(no, root)| self.state.incidents.get(no)?.head.candidates.get(*root))
            .map(|candidate| (candidate.class.clone(), candidate.entity))
            .collect();
        let survivor = cases.iter().map(|(no, _)| *no).chain(known).fold(cases[0].0, |survivor, no| {
            let no = self.state.today(no).map_or(no, |(no, _)| no);
            if self.state.partings.are(survivor, no) { survivor } else { self.merge(survivor, no) }
        });
        let head = self.head_mut(survivor);
        let above = head.candidates.iter().position(|c| c.entity == id && c.common.as_deref() == Some(&rule.id));
        if above.is_none() && head.candidates.len() == CANDIDATES {
            return;
        }
        let above = above.unwrap_or_else(|| {
            let row = head.candidates.first().map_or(0, |candidate| candidate.row);
            let common = Some(rule.id.as_str().into());
            head.candidates.push(Candidate { class, object, entity: id, first, row, common, ..Candidate::default() });
            head.candidates.len() - 1
        });
        let mut rows = Vec::new();
        for (class, entity) in keys {
            let below =
                head.candidates.iter().position(|c| c.class == class && c.entity == entity && c.common.is_none());
            if let Some(below) = below.filter(|below| head.adopt(*below, above)) {
                head.used(&rule.id, head.candidates[below].explained);
                rows.push(head.candidates[below].row);
            }
        }
        if let Some(live) = self.state.incidents.get_mut(&survivor) {
            for row in rows {
                live.change(row, |row| {
                    row.because = Some((rule.id.as_str().into(), "".into(), 0, rounded(rule.weight)))
                });
            }
        }
        self.state.entities.set_incident(id, survivor);
        self.touch(survivor, None);
    }

    /// The open incident in which this cause was inferred before.
    fn known_common(&self, rule: &str, id: u64) -> Option<u64> {
        let (no, _) = self.state.today(self.state.entities.get(id)?.incident?)?;
        let live = self.state.incidents.get(&no).filter(|live| live.is_open())?;
        live.head.candidates.iter().any(|c| c.entity == id && c.common.as_deref() == Some(rule)).then_some(no)
    }

    /// Whether so many of all that fail alike share it more often than chance would have it.
    fn enriched(&self, common: &Common, sharing: usize, incoming: &Incoming<'_>) -> bool {
        let alternatives = self.state.entities.count_of(common.rule.edge);
        let Some(all) = incoming.links.along(Edge::Cluster).next().and_then(|(id, _)| self.state.entities.get(id))
        else {
            return false;
        };
        let recent = |at| incoming.event.at.millis_since(at) <= common.rule.within_s * 1000;
        let failing =
            all.marks.iter().filter(|m| m.edge == Edge::Cluster && common.classes.contains(&m.class) && recent(m.at));
        let mut owners: Vec<u64> = failing.flat_map(|mark| mark.owners.iter().copied()).collect();
        owners.sort_unstable();
        owners.dedup();
        let chance = 1.0 / alternatives.max(1) as f64;
        alternatives as f64 * binomial_tail(sharing, owners.len().max(sharing), chance) < CHANCE
    }
}
