//! client-go's recorders: what becomes of what components say (client-go `tools/record/events_cache.go`,
//! `tools/events/event_broadcaster.go`).

use std::collections::HashMap;

use rand::rngs::StdRng;

use crate::names::{generated, uid};
use crate::stage::Said;
use crate::truth::Label;
use crate::wording::Era;

/// So many different messages of one kind are combined into one Event …
const SIMILAR: usize = 10;
/// … when they follow each other this closely, s.
const SIMILAR_S: f64 = 600.0;
/// A source may write so many Events about an object at once, and one more in so many seconds.
const BURST: f64 = 25.0;
const REFILL_S: f64 = 300.0;
/// A series of the newer recorder is written at its second occurrence, and then when it has been silent for this long.
const SERIES_S: f64 = 360.0;

/// One write of an Event.
#[derive(Clone)]
pub(crate) struct Write {
    /// When the API server took it.
    pub at: f64,
    pub uid: String,
    pub name: String,
    pub said: Said,
    pub count: i64,
    pub first: f64,
    pub last: f64,
    pub created: f64,
    /// Written by the newer recorder.
    pub series: bool,
}

#[derive(Default)]
pub(crate) struct Recorder {
    events: HashMap<Key, Known>,
    similar: HashMap<Key, (Vec<String>, f64)>,
    buckets: HashMap<Key, (f64, f64)>,
}

type Key = (String, String, String, String, String);

struct Known {
    write: Write,
}

impl Recorder {
    /// What is written when all that was `said`, in order of time, is recorded; and the label of each Event.
    pub fn record(mut self, said: Vec<Said>, era: Era, rng: &mut StdRng) -> (Vec<Write>, Vec<(String, Label)>) {
        let (mut writes, mut labels) = (Vec::new(), Vec::new());
        for said in said {
            let new_style = said.component == "default-scheduler" && era != Era::Old;
            let write = if new_style { self.series(said, rng, &mut writes) } else { self.legacy(said, rng) };
            if let Some(write) = write {
                if write.count == 1 || !labels.iter().rev().any(|(uid, _)| *uid == write.uid) {
                    labels.push((write.uid.clone(), write.said.label));
                }
                writes.push(write);
            }
        }
        // What was counted in memory is written when the series ends.
        for known in self.events.into_values().filter(|known| known.write.series && known.write.count > 2) {
            let mut write = known.write;
            write.at = write.last + SERIES_S;
            writes.push(write);
        }
        writes.sort_by(|a, b| a.at.total_cmp(&b.at).then_with(|| a.uid.cmp(&b.uid)));
        (writes, labels)
    }

    fn legacy(&mut self, mut said: Said, rng: &mut StdRng) -> Option<Write> {
        let object = format!("{}/{}/{}", said.about.kind, said.about.namespace, said.about.name);
        let source = format!("{}/{}", said.component, said.host);
        let alike: Key =
            (source.clone(), object.clone(), said.warning.to_string(), said.reason.to_owned(), String::new());
        let (texts, last) = self.similar.entry(alike.clone()).or_default();
        if said.at - *last > SIMILAR_S {
            texts.clear();
        }
        *last = said.at;
        if !texts.contains(&said.text) {
            texts.push(said.text.clone());
        }
        let combined = texts.len() >= SIMILAR;
        let key: Key = if combined {
            alike
        } else {
            (
                source.clone(),
                object.clone(),
                format!("{}{}", said.warning, said.field_path),
                said.reason.to_owned(),
                said.text.clone(),
            )
        };
        if combined {
            said.text = format!("(combined from similar events): {}", said.text);
        }
        let write = self.count(key, said, rng, false);
        // The spam filter comes after the counting.
        let bucket = (source, object, write.said.warning.to_string(), String::new(), String::new());
        let (tokens, since) = self.buckets.entry(bucket).or_insert((BURST, write.at));
        *tokens = (*tokens + (write.at - *since) / REFILL_S).min(BURST);
        *since = write.at;
        if *tokens < 1.0 {
            return None;
        }
        *tokens -= 1.0;
        Some(write)
    }

    fn series(&mut self, said: Said, rng: &mut StdRng, writes: &mut Vec<Write>) -> Option<Write> {
        let object = format!("{}/{}/{}", said.about.kind, said.about.namespace, said.about.name);
        let related = said.related.as_ref().map(|related| related.name.clone()).unwrap_or_default();
        let key: Key = (said.component.clone(), object, said.warning.to_string(), said.reason.to_owned(), related);
        if self.events.get(&key).is_some_and(|known| said.at - known.write.last > SERIES_S)
            && let Some(over) = self.events.remove(&key).filter(|over| over.write.count > 2)
        {
            let at = over.write.last + SERIES_S;
            writes.push(Write { at, ..over.write });
        }
        let write = self.count(key, said, rng, true);
        (write.count <= 2).then_some(write)
    }

    fn count(&mut self, key: Key, said: Said, rng: &mut StdRng, series: bool) -> Write {
        let at = said.at;
        if let Some(known) = self.events.get_mut(&key) {
            let write = &mut known.write;
            write.count += 1;
            (write.at, write.last) = (at, at);
            // A series keeps its first note.
            if !series {
                write.said.text = said.text;
            }
            return write.clone();
        }
        let name = format!("{}.{}", said.about.name, generated(rng, 16));
        let write = Write { at, uid: uid(rng), name, said, count: 1, first: at, last: at, created: at, series };
        self.events.insert(key, Known { write: write.clone() });
        write
    }
}
