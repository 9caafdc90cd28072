//! Whether an incident was there before.

use std::collections::BTreeSet;

use epicenter_model::{ObjectRef, Recurrence, Timestamp};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Most fingerprints that are remembered.
const FINGERPRINTS: usize = 10_000;
const PREVIOUS: usize = 5;

/// Earlier incidents of one fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    pub count: i64,
    /// Newest first.
    pub previous: Vec<String>,
    pub last: Timestamp,
}

/// The newest fingerprints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories {
    by_fingerprint: FxHashMap<String, History>,
    by_last: BTreeSet<(Timestamp, String)>,
}

/// What an incident has in common with its like: the root's class and object, without what changes from one replica or run
/// to the next.
pub(crate) fn fingerprint(class: &str, object: &ObjectRef) -> String {
    format!("{class}\0{}\0{}\0{}", object.kind, object.namespace, stem(&object.kind, &object.name))
}

/// A pod's or replica set's name without its hash, a job's without its run.
fn stem<'a>(kind: &str, name: &'a str) -> &'a str {
    let cuts = match kind {
        "Pod" => 2,
        "ReplicaSet" | "Job" => 1,
        _ => 0,
    };
    (0..cuts).fold(name, |name, _| match name.rsplit_once('-') {
        Some((stem, last)) if is_generated(last) => stem,
        _ => name,
    })
}

/// Made by a controller: digits, or of the alphabet without vowels that `k8s.io/apimachinery/pkg/util/rand` uses.
pub(crate) fn is_generated(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz0123456789".contains(&byte))
}

impl Histories {
    /// Earlier incidents of this fingerprint than `id`.
    pub fn of(&self, fingerprint: &str, id: &str) -> Recurrence {
        let Some(history) = self.by_fingerprint.get(fingerprint) else { return Recurrence::default() };
        let known = i64::from(history.previous.iter().any(|previous| previous == id));
        let previous = history.previous.iter().filter(|previous| *previous != id).cloned().collect();
        Recurrence { count: history.count - known, previous }
    }

    /// Notes that the incident `id` is over. Gives the fingerprint that is forgotten for it.
    pub fn note(&mut self, fingerprint: &str, id: &str, now: Timestamp) -> Option<String> {
        let mut history = self.by_fingerprint.remove(fingerprint).unwrap_or_default();
        self.by_last.remove(&(history.last, fingerprint.to_owned()));
        if !history.previous.iter().any(|previous| previous == id) {
            history.count += 1;
            history.previous.insert(0, id.to_owned());
            history.previous.truncate(PREVIOUS);
        }
        history.last = now;
        self.insert(fingerprint.to_owned(), history);
        if self.by_last.len() <= FINGERPRINTS {
            return None;
        }
        let (_, oldest) = self.by_last.pop_first()?;
        self.by_fingerprint.remove(&oldest);
        Some(oldest)
    }

    pub fn get(&self, fingerprint: &str) -> Option<&History> {
        self.by_fingerprint.get(fingerprint)
    }

    pub fn insert(&mut self, fingerprint: String, history: History) {
        self.by_last.insert((history.last, fingerprint.clone()));
        self.by_fingerprint.insert(fingerprint, history);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_a_controller_generated() {
        for (kind, name, expected) in [
            ("Pod", "checkout-7d9f6c5b8d-x2x9k", "checkout"),
            ("ReplicaSet", "checkout-7d9f6c5b8d", "checkout"),
            ("Job", "report-29384756", "report"),
            ("Deployment", "checkout-7", "checkout-7"),
            ("Pod", "db-0", "db"),
            ("Pod", "api", "api"),
        ] {
            assert_eq!(stem(kind, name), expected);
        }
    }
}
