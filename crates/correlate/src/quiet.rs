//! Planned changes, and what is to be expected while they go on.

use epicenter_model::{Severity, Timestamp};

use crate::edge::Edge;
use crate::entity::Mark;
use crate::incoming::Incoming;
use crate::row::Row;
use crate::rules::Quiet;
use crate::score::SKEW_MS;
use crate::state::Engine;

/// What a planned change makes of an Event.
pub(crate) enum Excuse {
    /// It is no incident.
    Wholly,
    /// It is one of that severity at most, until it has lasted so long, ms.
    UpTo { severity: Severity, lasts_ms: Option<i64> },
}

impl Quiet {
    /// Whether `mark` tells of the planned change, and what the Event `uid` tells happened during it or soon after: by the emitters'
    /// clocks, or by the log, where it is known when it was `heard` of.
    fn explains(&self, mark: &Mark, uid: &str, at: Timestamp, heard: Option<Timestamp>) -> bool {
        let within = self.rule.within_s.saturating_mul(1000);
        mark.edge == self.rule.of
            && self.after.contains(&mark.class)
            && *mark.event.uid != *uid
            && at >= mark.first.plus_millis(-SKEW_MS)
            && (at.millis_since(mark.last) <= within
                || heard.is_some_and(|heard| heard.millis_since(mark.at) <= within))
    }
}

impl Engine<'_> {
    /// How far a planned change excuses the Event, if at all.
    pub fn excuse(&self, incoming: &Incoming<'_>) -> Option<Excuse> {
        let rules = self.rules;
        let (event, class) = (incoming.event, rules.class(&incoming.event.class));
        let deleted = event.context.deleting && event.event.regarding.kind == "Pod";
        if deleted && !class.despite_deletion {
            return Some(Excuse::Wholly);
        }
        class.quiet.iter().map(|index| &rules.quiet[*index]).find_map(|quiet| {
            let explains = |mark: &Mark| quiet.explains(mark, &event.event.uid, incoming.when.first, Some(event.at));
            let mut shared = incoming.links.along(quiet.rule.edge).filter_map(|(id, _)| self.state.entities.get(id));
            shared.any(|entity| entity.marks.iter().any(explains)).then(|| match quiet.rule.severity {
                Some(severity) => {
                    Excuse::UpTo { severity, lasts_ms: quiet.rule.lasts_s.map(|lasts| lasts.saturating_mul(1000)) }
                }
                None => Excuse::Wholly,
            })
        })
    }

    /// A planned change that excuses the row for good was heard of at its time, be it before it or after.
    pub fn is_excused(&self, row: &Row) -> bool {
        let rules = self.rules;
        let mut quiet = rules.class(&row.class).quiet.iter().map(|index| &rules.quiet[*index]);
        quiet.any(|quiet| {
            let entities = &self.state.entities;
            let shared = match quiet.rule.edge {
                Edge::Object => Some(row.object),
                // A pod of that name may be on another by now.
                Edge::Node => entities.find("Node", "", &row.node),
                _ => None,
            };
            let shared = shared.filter(|_| quiet.rule.lasts_s.is_none()).and_then(|id| entities.get(id));
            shared.is_some_and(|entity| entity.marks.iter().any(|mark| quiet.explains(mark, &row.uid, row.last, None)))
        })
    }
}
