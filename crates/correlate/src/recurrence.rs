//! Whether an incident was there before.

use std::collections::BTreeSet;

use epicenter_model::{EndedBy, Ending, Novelty, ObjectRef, Recurrence, Timestamp};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::habit::{self, DAY_MS, Spot};
use crate::wire::{CLUSTER, StateError};

/// Most fingerprints that are remembered.
const FINGERPRINTS: usize = 10_000;
/// Most classes of which it is remembered that there were incidents.
const KINDS: usize = 2_000;
const PREVIOUS: usize = 5;
const TURNS: usize = 16;
/// Of one fingerprint: so many are remembered one by one, and the rest by the day.
const EPISODES: usize = 32;
/// Earlier incidents count for so long, ms: 30 days.
pub(crate) const RECENT_MS: i64 = 30 * DAY_MS;

/// Earlier incidents of one fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Log time at which the first began.
    pub first: Timestamp,
    /// Log time at which one was found to be over last.
    pub last: Timestamp,
    /// The newest, in the order of their beginnings.
    pub episodes: Vec<Episode>,
    /// How many more began on which day since the epoch, of those that still count.
    pub more: Vec<(i64, i64)>,
    /// How the newest of them ended.
    pub ended: Option<Ending>,
    /// Log times at which one had recovered, or had again; the newest few.
    pub turns: Vec<Timestamp>,
}

/// One earlier incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Episode {
    pub id: Box<str>,
    pub began: Timestamp,
    /// Where it was, if that is one place.
    pub spot: Option<Spot>,
    /// It began under load.
    pub scaled_up: bool,
}

/// As formats 1 and 2 have it.
#[derive(Deserialize)]
struct HistoryOf2 {
    count: i64,
    previous: Vec<String>,
    last: Timestamp,
}

/// The newest fingerprints, and the classes of which there were incidents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories {
    by_fingerprint: FxHashMap<String, History>,
    by_last: BTreeSet<(Timestamp, String)>,
    /// When the first incident of a class began.
    kinds: FxHashMap<String, Timestamp>,
}

/// What an incident has in common with its like: the root's class and object, without what changes from one replica or run
/// to the next.
pub fn fingerprint(class: &str, object: &ObjectRef) -> String {
    format!("{class}\0{}\0{}\0{}", object.kind, object.namespace, stem(&object.kind, &object.name))
}

/// The class in a fingerprint.
pub(crate) fn class_of(fingerprint: &str) -> &str {
    fingerprint.split('\0').next().unwrap_or_default()
}

/// A pod's or replica set's name without its hash, a job's without its run.
pub(crate) fn stem<'a>(kind: &str, name: &'a str) -> &'a str {
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

impl History {
    /// The entry as it was stored, by whichever format.
    pub fn read(key: &[u8], value: &[u8]) -> Result<Self, StateError> {
        match value.first() {
            Some(1 | 2) => CLUSTER.decode::<HistoryOf2>(key, value).map(Self::from),
            _ => CLUSTER.decode(key, value),
        }
    }

    /// Notes that an incident is over, or is so again.
    fn note(&mut self, episode: Episode, ended: Ending) {
        let began = episode.began;
        let known = self.episodes.iter().position(|known| known.id == episode.id);
        if let Some(known) = known {
            self.episodes.remove(known);
        }
        let newest = self.episodes.iter().all(|known| known.began <= began);
        let place = self.episodes.partition_point(|known| known.began <= began);
        self.episodes.insert(place, episode);
        if matches!(ended.how, EndedBy::Recovery | EndedBy::Removal | EndedBy::Change) {
            self.turns.drain(..self.turns.len().saturating_sub(TURNS - 1));
            self.turns.push(ended.at);
        }
        if newest {
            self.ended = Some(ended);
        }
        if self.first == Timestamp::default() || began < self.first {
            self.first = began;
        }
        let stale = |at: Timestamp| began.millis_since(at) > RECENT_MS;
        self.episodes.retain(|known| !stale(known.began));
        while self.episodes.len() > EPISODES {
            let day = day(self.episodes.remove(0).began);
            match self.more.iter_mut().find(|(known, _)| *known == day) {
                Some((_, count)) => *count += 1,
                None => self.more.push((day, 1)),
            }
        }
        self.more.retain(|(on, _)| day(began) - on <= RECENT_MS / DAY_MS);
    }

    /// What is told of it for the incident `id` that was opened at `opened`.
    fn tell(&self, id: &str, opened: Timestamp) -> Recurrence {
        let before = |at: Timestamp| at < opened && opened.millis_since(at) <= RECENT_MS;
        let earlier: Vec<&Episode> =
            self.episodes.iter().filter(|known| *known.id != *id && before(known.began)).collect();
        let first = (self.first < opened).then_some(self.first);
        let Some(newest) = earlier.last() else {
            // Longer ago than counts.
            let newest = self.episodes.iter().rfind(|known| *known.id != *id && known.began < opened);
            let last_at = newest.map(|known| known.began);
            return Recurrence { first_at: last_at.and(first), last_at, ..Recurrence::default() };
        };
        let more = self.more.iter().filter(|(on, _)| day(opened) - on <= RECENT_MS / DAY_MS);
        let ended = self.ended.as_ref().filter(|ended| ended.at <= opened).cloned();
        let began: Vec<Timestamp> = earlier.iter().map(|known| known.began).collect();
        Recurrence {
            count: earlier.len() as i64 + more.map(|(_, count)| count).sum::<i64>(),
            previous: earlier.iter().rev().take(PREVIOUS).map(|known| str::to_owned(&known.id)).collect(),
            first_at: first,
            last_at: Some(newest.began),
            period_ms: habit::period(&began, opened),
            hours: habit::hours(&began),
            place: habit::place(earlier.iter().map(|known| known.spot.as_ref())),
            scaled_up: earlier.iter().filter(|known| known.scaled_up).count() as i64,
            ended,
            novelty: Novelty::Known,
        }
    }
}

impl From<HistoryOf2> for History {
    /// When the earlier ones began is not known: it was before the end of the newest.
    fn from(old: HistoryOf2) -> Self {
        let HistoryOf2 { count, previous, last } = old;
        let episode = |id: &String| Episode { id: id.as_str().into(), began: last, ..Episode::default() };
        let more = count - previous.len() as i64;
        Self {
            first: last,
            last,
            episodes: previous.iter().rev().map(episode).collect(),
            more: (more > 0).then_some((day(last), more)).into_iter().collect(),
            ended: None,
            turns: vec![],
        }
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MS)
}

impl Histories {
    /// Earlier incidents of this fingerprint than `id`, which was opened at `opened`.
    pub fn of(&self, fingerprint: &str, id: &str, opened: Timestamp) -> Recurrence {
        self.by_fingerprint.get(fingerprint).map(|history| history.tell(id, opened)).unwrap_or_default()
    }

    /// There was an incident of this class before `opened`.
    pub fn knows_kind(&self, class: &str, opened: Timestamp) -> bool {
        self.kinds.get(class).is_some_and(|first| *first < opened)
    }

    /// There was an incident of this fingerprint before `opened`.
    pub fn knows(&self, fingerprint: &str, opened: Timestamp) -> bool {
        self.by_fingerprint.get(fingerprint).is_some_and(|history| history.first < opened)
    }

    /// Notes that an incident is over at `now`. Gives the fingerprint that is forgotten for it, and when that was last heard of.
    pub fn note(
        &mut self,
        fingerprint: &str,
        episode: Episode,
        ended: Ending,
        now: Timestamp,
    ) -> Option<(String, Timestamp)> {
        let mut history = self.by_fingerprint.remove(fingerprint).unwrap_or_default();
        self.by_last.remove(&(history.last, fingerprint.to_owned()));
        history.note(episode, ended);
        history.last = now;
        self.insert(fingerprint.to_owned(), history);
        if self.by_last.len() <= FINGERPRINTS {
            return None;
        }
        let (last, oldest) = self.by_last.pop_first()?;
        self.by_fingerprint.remove(&oldest);
        Some((oldest, last))
    }

    /// Notes that there was an incident of the class, from `began` on. Gives whether that is to be written.
    pub fn note_kind(&mut self, class: &str, began: Timestamp) -> bool {
        let full = self.kinds.len() >= KINDS;
        match self.kinds.get_mut(class) {
            Some(first) if *first <= began => false,
            Some(first) => {
                *first = began;
                true
            }
            None if full => false,
            None => {
                self.kinds.insert(class.to_owned(), began);
                true
            }
        }
    }

    pub fn get(&self, fingerprint: &str) -> Option<&History> {
        self.by_fingerprint.get(fingerprint)
    }

    pub fn insert(&mut self, fingerprint: String, history: History) {
        self.by_last.insert((history.last, fingerprint.clone()));
        self.by_fingerprint.insert(fingerprint, history);
    }

    pub fn kind(&self, class: &str) -> Option<Timestamp> {
        self.kinds.get(class).copied()
    }

    pub fn insert_kind(&mut self, class: String, first: Timestamp) {
        self.kinds.insert(class, first);
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

    fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp::from_millis((20_000 + day) * DAY_MS + hour * 3_600_000)
    }

    fn note(history: &mut History, id: &str, began: Timestamp) {
        let ended = Ending { at: began.plus_millis(60_000), ..Ending::default() };
        history.note(Episode { id: id.into(), began, ..Episode::default() }, ended);
    }

    #[test]
    fn counts_all_of_30_days_and_remembers_the_newest() {
        let mut history = History::default();
        for hour in 0..500 {
            note(&mut history, &format!("i{hour}"), at(0, hour));
        }
        assert_eq!((history.episodes.len(), history.first), (EPISODES, at(0, 0)));
        let told = history.tell("new", at(0, 500));
        assert_eq!((told.count, told.previous[0].as_str(), told.last_at), (500, "i499", Some(at(0, 499))));
        assert_eq!(told.ended.map(|ended| ended.at), Some(at(0, 499).plus_millis(60_000)));
        // 31 days later it is known, and counts no more; what is noted then drops the rest.
        let told = history.tell("new", at(60, 0));
        assert_eq!((told.count, told.first_at, told.last_at), (0, Some(at(0, 0)), Some(at(0, 499))));
        note(&mut history, "late", at(60, 0));
        assert_eq!((history.episodes.len(), history.more.len(), history.first), (1, 0, at(0, 0)));
    }

    #[test]
    fn an_incident_that_comes_back_counts_once_and_never_before_itself() {
        let mut history = History::default();
        note(&mut history, "a", at(0, 0));
        note(&mut history, "b", at(1, 0));
        note(&mut history, "b", at(1, 0));
        assert_eq!(history.tell("b", at(1, 0)).previous, ["a"]);
        assert_eq!(history.tell("c", at(2, 0)).previous, ["b", "a"]);
        // One that was open at the same time, and began later, was not before.
        assert_eq!(history.tell("c", at(0, 12)).previous, ["a"]);
        assert_eq!(history.tell("c", at(0, 0)), Recurrence::default());
    }
}
