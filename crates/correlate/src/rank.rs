//! Which of the possible roots is the most likely.

use crate::live::{Candidate, Head};
use crate::rules::Rules;
use crate::score::rounded;

/// Half-life, more or less, of an earlier beginning as evidence.
const EARLIER_MS: f64 = 300_000.0;
/// A planned change right before it makes even a mere symptom a good root.
const TRIGGERED: f64 = 0.75;

/// A possible root and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    /// Of `Head::candidates`.
    pub index: usize,
    score: f64,
    pub confidence: f64,
    /// An Event shows it.
    pub observed: bool,
    /// Members that it explains, itself included.
    pub explained: i64,
}

/// The roots of `head`, the most likely first; of equals the earlier candidate.
pub(crate) fn ranking(rules: &Rules, head: &Head) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = Vec::with_capacity(head.candidates.len());
    let mut explained = vec![0; head.candidates.len()];
    for (index, candidate) in head.candidates.iter().enumerate() {
        explained[head.root_of(index)] += candidate.explained;
    }
    let all: i64 = explained.iter().sum();
    let first = head.candidates.iter().map(|candidate| candidate.first).min().unwrap_or_default();
    for (index, candidate) in head.candidates.iter().enumerate().filter(|(_, candidate)| candidate.under.is_none()) {
        let (prior, observed) = prior(rules, candidate);
        let count = explained[index].max(1);
        let later = candidate.first.millis_since(first) as f64;
        let earliness = 0.5 + 0.5 * libm::exp(-later / EARLIER_MS);
        let score = prior * count as f64 / (1.0 + (all - count).max(0) as f64) * earliness;
        let evidence = 1.0 + libm::log(count as f64) / 2.0;
        let confidence = 1.0 - libm::pow(1.0 - prior, evidence);
        ranked.push(Ranked { index, score, confidence, observed, explained: count });
    }
    let sum: f64 = ranked.iter().map(|ranked| ranked.score).sum();
    for ranked in &mut ranked {
        let share = if sum > 0.0 { ranked.score / sum } else { 0.0 };
        ranked.confidence = rounded((ranked.confidence * share).min(0.99));
    }
    ranked.sort_by(|one, other| other.score.total_cmp(&one.score).then(one.index.cmp(&other.index)));
    ranked
}

/// How likely such a candidate is a root, and whether an Event shows it.
fn prior(rules: &Rules, candidate: &Candidate) -> (f64, bool) {
    if let Some(id) = &candidate.common {
        return (rules.common_of(id).map_or(0.5, |common| common.rule.weight), false);
    }
    let class = rules.class(&candidate.class);
    match candidate.trigger {
        Some(_) => (class.prior.max(TRIGGERED), true),
        None => (class.prior, class.role == epicenter_model::Role::Cause && class.hidden.is_empty()),
    }
}

/// The row that is the root, when an Event is.
pub(crate) fn root_row(candidate: &Candidate) -> Option<u32> {
    candidate.common.is_none().then_some(candidate.row)
}
