//! What is known of the cluster's load, and of an incident's like before it.

use epicenter_model::{Novelty, Recurrence, Timestamp};
use serde::{Deserialize, Serialize};

use crate::live::Live;
use crate::patterns::PatternRules;
use crate::recurrence::{Histories, RECENT_MS, class_of};

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
    /// Notes that an autoscaler added pods there, unless it did so just now.
    pub fn note_load(&mut self, namespace: &str, now: Timestamp) -> bool {
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

    pub fn under_load(&self, live: &Live) -> bool {
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
