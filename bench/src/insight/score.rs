//! Guesses against the truth.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{ObjectRef, Timestamp};
use epicenter_scenarios::{Fault, Label, Truth};

/// When recordings begin, ms; see `epicenter_scenarios`.
const BEGAN_MS: i64 = 1_793_606_400_000;

/// An incident, of the engine or of a baseline.
#[derive(Clone, Debug, Default)]
pub struct Guess {
    pub id: String,
    pub title: String,
    /// Uids of Events.
    pub members: Vec<String>,
    /// The most likely first.
    pub roots: Vec<Root>,
    pub observed: bool,
    /// It is more than a note.
    pub loud: bool,
}

/// A cause: what, and of which object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Root {
    pub class: String,
    pub object: ObjectRef,
}

/// What was told of an incident at a time.
pub struct Answer {
    pub at: Timestamp,
    pub id: String,
    pub root: Root,
}

/// Sums over recordings.
#[derive(Clone, Debug, Default)]
pub struct Score {
    recordings: f64,
    precision: f64,
    recall: f64,
    f1: f64,
    bcubed: f64,
    faults: usize,
    /// Faults with a visible cause, and how many of them have it first, among three, and by class.
    visible: usize,
    first: usize,
    three: usize,
    class: usize,
    /// Visible ones of which the cause is called hidden.
    denied: usize,
    hidden: usize,
    admitted: usize,
    /// Incidents above `info` about no fault.
    extra: usize,
    delays_s: Vec<f64>,
}

pub const HEADER: &str = "| | recordings | pairwise P | R | F1 | B³ F1 | root first | in 3 | class | hidden said so | visible called hidden | incidents about nothing | s to the right answer (p50, p95) |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

impl Guess {
    pub fn told(&self) -> String {
        let root = self.roots.first().cloned().unwrap_or_default();
        let sure = if self.observed { "" } else { ", hidden" };
        let info = if self.loud { "" } else { " (info)" };
        format!("{}{info} — {} {}{sure}, {} members", self.title, root.class, root.object, self.members.len())
    }

    /// How many of its members belong to what.
    pub fn labels(&self, truth: &Truth) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for uid in &self.members {
            let label = truth.labels.get(uid).map_or("derived".to_owned(), |label| format!("{label:?}"));
            *counts.entry(label).or_default() += 1;
        }
        counts.iter().map(|(label, count)| format!("{label} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// What must not depend on the order of arrival: which Events that show a fault it has, and its root.
    pub fn shape(&self, truth: &Truth) -> Option<(Vec<String>, ObjectRef)> {
        let telling = |uid: &&String| matches!(truth.labels.get(*uid), Some(Label::Telling(_)));
        let mut members: Vec<String> = self.members.iter().filter(telling).cloned().collect();
        members.sort();
        let root = self.roots.first().cloned().unwrap_or_default();
        (!members.is_empty())
            .then(|| (members, ObjectRef { api_version: String::new(), uid: String::new(), ..root.object }))
    }
}

fn is_root(fault: &Fault, object: &ObjectRef) -> bool {
    fault.roots.iter().any(|(kind, namespace, name)| {
        *kind == object.kind && *namespace == object.namespace && fits(name, &object.name)
    })
}

fn is_class(fault: &Fault, class: &str) -> bool {
    fault.classes.iter().any(|pattern| fits(pattern, class))
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn pairs(count: usize) -> f64 {
    count as f64 * (count as f64 - 1.0) / 2.0
}

impl Score {
    /// The score of one recording.
    pub fn of(truth: &Truth, guesses: &[Guess], answers: &[Answer]) -> Self {
        let mut score = Self { recordings: 1.0, ..Self::default() };
        score.group(truth, guesses);
        let mut used = BTreeSet::new();
        for (number, fault) in truth.faults.iter().enumerate() {
            score.faults += 1;
            let shared = |guess: &Guess| {
                let own = |uid: &&String| truth.labels.get(*uid) == Some(&Label::Telling(number));
                guess.members.iter().filter(own).count()
            };
            let best = guesses.iter().map(|guess| (shared(guess), guess)).filter(|(count, _)| *count > 0);
            let best = best.rev().max_by_key(|(count, _)| *count).map(|(_, guess)| guess);
            used.extend(guesses.iter().filter(|guess| shared(guess) > 0).map(|guess| guess.id.as_str()));
            let right = best.and_then(|guess| guess.roots.first()).is_some_and(|root| is_root(fault, &root.object));
            if fault.observable {
                score.visible += 1;
                score.first += usize::from(right);
                let three = |guess: &Guess| guess.roots.iter().take(3).any(|root| is_root(fault, &root.object));
                score.three += usize::from(best.is_some_and(three));
                let class = best.and_then(|guess| guess.roots.first()).is_some_and(|root| is_class(fault, &root.class));
                score.class += usize::from(class);
                score.denied += usize::from(best.is_some_and(|guess| !guess.observed && !right));
            } else {
                score.hidden += 1;
                score.admitted += usize::from(best.is_some_and(|guess| !guess.observed));
            }
            let answer = |answer: &&Answer| {
                best.is_some_and(|guess| guess.id == answer.id) && is_root(fault, &answer.root.object)
            };
            if let Some(first) = answers.iter().find(answer).filter(|_| right) {
                score.delays_s.push((first.at.as_millis() - BEGAN_MS) as f64 / 1000.0 - fault.onset);
            }
        }
        score.extra = guesses.iter().filter(|guess| guess.loud && !used.contains(guess.id.as_str())).count();
        score
    }

    fn group(&mut self, truth: &Truth, guesses: &[Guess]) {
        let place: BTreeMap<&str, usize> = guesses
            .iter()
            .enumerate()
            .flat_map(|(number, guess)| guess.members.iter().map(move |uid| (uid.as_str(), number)))
            .collect();
        // What is in no incident stands alone, and so does noise that is in one.
        let mut table: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (uid, label) in &truth.labels {
            let found = place.get(uid.as_str());
            let real = match label {
                Label::Telling(fault) => format!("f{fault}"),
                Label::Noise if found.is_some() => format!("n{uid}"),
                _ => continue,
            };
            let guessed = found.map_or_else(|| format!("n{uid}"), |number| format!("g{number}"));
            *table.entry((real, guessed)).or_default() += 1;
        }
        let (mut real, mut guessed): (BTreeMap<&str, usize>, BTreeMap<&str, usize>) = Default::default();
        for ((one, other), count) in &table {
            *real.entry(one).or_default() += count;
            *guessed.entry(other).or_default() += count;
        }
        let both: f64 = table.values().map(|count| pairs(*count)).sum();
        // Noise that stands together is no mistake: what matters is what stands with a fault.
        let mut noise: BTreeMap<&str, usize> = BTreeMap::new();
        for ((_, guessed), count) in table.iter().filter(|((real, _), _)| real.starts_with('n')) {
            *noise.entry(guessed).or_default() += count;
        }
        let harmless: f64 = noise.values().map(|count| pairs(*count)).sum();
        let share = |of: &BTreeMap<&str, usize>, but: f64| {
            let all: f64 = of.values().map(|count| pairs(*count)).sum::<f64>() - but;
            if all > 0.0 { both / all } else { 1.0 }
        };
        let (precision, recall) = (share(&guessed, harmless), share(&real, 0.0));
        let (mut bp, mut br, mut all) = (0.0, 0.0, 0.0);
        for ((one, other), count) in table.iter().filter(|((real, _), _)| real.starts_with('f')) {
            let n = *count as f64;
            bp += n * n / guessed[other.as_str()] as f64;
            br += n * n / real[one.as_str()] as f64;
            all += n;
        }
        let mean = |one: f64, other: f64| if one + other > 0.0 { 2.0 * one * other / (one + other) } else { 0.0 };
        (self.precision, self.recall, self.f1) = (precision, recall, mean(precision, recall));
        self.bcubed = if all > 0.0 { mean(bp / all, br / all) } else { 1.0 };
    }

    pub fn add(&mut self, other: &Self) {
        self.recordings += other.recordings;
        self.precision += other.precision;
        self.recall += other.recall;
        self.f1 += other.f1;
        self.bcubed += other.bcubed;
        self.faults += other.faults;
        self.visible += other.visible;
        self.first += other.first;
        self.three += other.three;
        self.class += other.class;
        self.denied += other.denied;
        self.hidden += other.hidden;
        self.admitted += other.admitted;
        self.extra += other.extra;
        self.delays_s.extend(&other.delays_s);
    }

    pub fn is_perfect(&self) -> bool {
        self.f1 > 0.999 * self.recordings
            && self.first == self.visible
            && self.class == self.visible
            && self.admitted == self.hidden
            && self.extra == 0
    }

    /// Cells of a table's row, as in [`HEADER`].
    pub fn cells(&self) -> Vec<String> {
        let mean = |sum: f64| format!("{:.3}", sum / self.recordings.max(1.0));
        let share = |count: usize, all: usize| match all {
            0 => "–".to_owned(),
            all => format!("{:.3}", count as f64 / all as f64),
        };
        let mut delays = self.delays_s.clone();
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| delays.get(((delays.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
        let delay = if delays.is_empty() { "–".to_owned() } else { format!("{:.0}, {:.0}", at(0.5), at(0.95)) };
        vec![
            format!("{:.0}", self.recordings),
            mean(self.precision),
            mean(self.recall),
            mean(self.f1),
            mean(self.bcubed),
            share(self.first, self.visible),
            share(self.three, self.visible),
            share(self.class, self.visible),
            share(self.admitted, self.hidden),
            share(self.denied, self.visible),
            self.extra.to_string(),
            delay,
        ]
    }
}
