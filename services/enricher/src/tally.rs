//! Says what rules of one's own do: what they drop is never silent, and neither are conditions that fail.

use std::collections::BTreeMap;

use epicenter_model::Event;
use epicenter_rules::{Action, Classifier, Reading};

/// Counts what rules do, and says it now and then.
pub(crate) struct Tally {
    count: Box<dyn Fn(&str, &str) + Send>,
    /// By rule and outcome.
    seen: BTreeMap<(String, &'static str), u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}

impl Tally {
    pub fn new(count: impl Fn(&str, &str) + Send + 'static) -> Self {
        Self { count: Box::new(count), seen: BTreeMap::new() }
    }

    /// What `event` means; counts and says what rules of one's own had to do with it.
    pub fn read<'c>(&mut self, classifier: &'c Classifier, cluster: &str, event: &Event) -> Reading<'c> {
        let reading = classifier.read(cluster, event);
        self.note(cluster, event, &reading);
        reading
    }

    fn note(&mut self, cluster: &str, event: &Event, reading: &Reading<'_>) {
        let (uid, about) = (&event.uid, &event.regarding);
        for (rule, why) in &reading.failed {
            if let Some(times) = self.times(&rule.id, "failed") {
                tracing::warn!(
                    cluster,
                    uid,
                    rule = rule.id,
                    file = rule.file,
                    times,
                    "the condition of a rule cannot be told for an Event about {about}, which keeps its built-in meaning: {why}"
                );
            }
        }
        let Some(rule) = reading.rule else { return };
        let times = self.times(&rule.id, rule.then.name());
        if let Some(times) = times.filter(|_| rule.then == Action::Drop) {
            tracing::info!(
                cluster,
                uid,
                rule = rule.id,
                file = rule.file,
                times,
                "a rule drops an Event about {about}"
            );
        }
    }

    /// Counts; gives how often it was when that is to be said: the 1st, 10th, 100th time …, so that a log holds it.
    fn times(&mut self, rule: &str, outcome: &'static str) -> Option<u64> {
        (self.count)(rule, outcome);
        let seen = match self.seen.get_mut(&(rule.to_owned(), outcome)) {
            Some(seen) => seen,
            None => self.seen.entry((rule.to_owned(), outcome)).or_default(),
        };
        *seen += 1;
        let mut round = *seen;
        while round % 10 == 0 {
            round /= 10;
        }
        (round == 1).then_some(*seen)
    }
}
