//! From items to the log that an exporter would have written: in order of time, with heartbeats.
//!
//! - Lists of Events are put together and sorted by (emitter's time, uid, resourceVersion). An Event that happened several
//!   times gives its first and its last occurrence. Of those between only the number is known; where they came so often that
//!   it was never over, they are spread evenly. Two versions with the same uid and resourceVersion are one.
//! - Watch streams keep their order. A stream's time never goes back: a message is as old as itself or as the one before
//!   it, whichever is younger. What a stream begins with, up to the last `ADDED` that is older than the one before, is the
//!   list that precedes a watch, in the order of storage: it is treated as a List.
//! - Streams and Lists are merged by (time, resourceVersion).
//! - A List's objects are as they were at its end. So each comes twice: at the beginning without its status, as the
//!   context of everything, and, whole, when it was written last. An object that a watch stream knows is left to that.
//! - Heartbeats come every 5 s of that time, so that quiet counts. Silence longer than [`LONGEST_SILENCE`] is cut short
//!   by a jump. They go on for [`AFTERMATH`] after the last record, so that what is over can resolve.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use epicenter_model::{Event, Heartbeat, ObjectChange, ObjectFacts, RawEvent, RawRecord, Timestamp};

use super::document::{Content, Item};

/// Between two heartbeats, ms.
pub const BEAT: i64 = 5_000;
/// Longest stretch without records that is filled with heartbeats, ms: longer than any class needs to be quiet.
pub const LONGEST_SILENCE: i64 = 2 * 3600 * 1000;
/// How long heartbeats go on after the last record, ms.
pub const AFTERMATH: i64 = 30 * 60 * 1000;
/// An Event that came back within this, on average, was never over, ms: the time for which most classes need to be quiet.
const GOES_ON: i64 = 10 * 60 * 1000;
/// Of such an Event a version is told about as often as this, ms.
const SPREAD: i64 = 5 * 60 * 1000;
/// Versions between the first and the last of one Event, at most.
const BETWEEN: i64 = 1_000;

/// What a record is about, with its place in time.
#[derive(Clone, Debug, PartialEq)]
struct Moment {
    at: Timestamp,
    resource_version: u64,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Event(Box<Event>),
    Object { facts: Box<ObjectFacts>, deleted: bool, listed: bool },
}

/// The records of one cluster, in order, without heartbeats.
#[derive(Debug)]
pub struct Timeline {
    cluster: String,
    cluster_uid: String,
    moments: Vec<Moment>,
}

impl Timeline {
    /// Puts the contents of all files in order.
    pub fn new(cluster: &str, contents: Vec<Content>) -> Self {
        let mut lists = Vec::new();
        let mut streams = Vec::new();
        for mut content in contents {
            let first_list = leading_list(&content.watched);
            lists.append(&mut content.listed);
            lists.extend(content.watched.drain(..first_list).map(|(item, _)| item));
            streams.push(content.watched);
        }
        let watched = Watched::of(&streams);
        let (mut lists, context) = listed(lists, &watched);
        let mut streams: Vec<_> = streams.into_iter().map(stream).collect();
        lists.sort_by(|a, b| order(a).cmp(&order(b)));
        streams.push(lists.into());
        let merged = merge(streams);
        let beginning = merged.first().map_or_else(|| Timestamp::from_micros(0), |moment| moment.at);
        let cluster_uid = context
            .iter()
            .find(|facts| facts.object.kind == "Namespace" && facts.object.name == "kube-system")
            .map_or_else(|| cluster.to_owned(), |facts| facts.object.uid.clone());
        let context = context.into_iter().map(|facts| Moment {
            at: beginning,
            resource_version: 0,
            what: What::Object { facts: Box::new(facts), deleted: false, listed: true },
        });
        Self { cluster: cluster.to_owned(), cluster_uid, moments: context.chain(merged).collect() }
    }

    /// How many records there are, without heartbeats.
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// How many versions of Events there are.
    pub fn events(&self) -> usize {
        self.moments.iter().filter(|moment| matches!(moment.what, What::Event(_))).count()
    }

    /// The records with the heartbeats; the last is a heartbeat, later than everything else.
    pub fn records(self) -> impl Iterator<Item = RawRecord> {
        let Self { cluster, cluster_uid, moments } = self;
        let first = moments.first().map_or_else(|| Timestamp::from_micros(0), |moment| moment.at);
        let last = moments.last().map_or(first, |moment| moment.at);
        let heartbeat = {
            let (cluster, cluster_uid) = (cluster.clone(), cluster_uid.clone());
            move |at| {
                let (cluster, cluster_uid) = (cluster.clone(), cluster_uid.clone());
                RawRecord::Heartbeat(Heartbeat { cluster, cluster_uid, at, healthy: true, last: false })
            }
        };
        let aftermath = heartbeat.clone();
        let mut beaten = first;
        moments
            .into_iter()
            .flat_map(move |moment| {
                let beats: Vec<_> = beats(&mut beaten, moment.at).map(&heartbeat).collect();
                beats.into_iter().chain([record(&cluster, &cluster_uid, moment)])
            })
            .chain((1..=AFTERMATH / BEAT).map(move |beat| aftermath(last.plus_millis(beat * BEAT))))
    }
}

/// The heartbeats between the last one and `until`.
fn beats(beaten: &mut Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> + use<> {
    let start = *beaten;
    let span = until.millis_since(start);
    let steps = span.min(LONGEST_SILENCE) / BEAT;
    let jump = (span > LONGEST_SILENCE).then_some(until);
    *beaten = jump.unwrap_or(start.plus_millis(steps * BEAT));
    (1..=steps).map(move |step| start.plus_millis(step * BEAT)).chain(jump)
}

fn record(cluster: &str, cluster_uid: &str, moment: Moment) -> RawRecord {
    let (cluster, cluster_uid, at) = (cluster.to_owned(), cluster_uid.to_owned(), moment.at);
    match moment.what {
        What::Event(event) => {
            RawRecord::Event(Box::new(RawEvent { cluster, cluster_uid, at, epoch: 0, backfill: false, event: *event }))
        }
        What::Object { facts, deleted, listed } => {
            RawRecord::Object(Box::new(ObjectChange { cluster, cluster_uid, at, deleted, listed, facts: *facts }))
        }
    }
}

/// How many messages of a stream belong to the list that precedes the watch.
fn leading_list(watched: &[(Item, bool)]) -> usize {
    let version = |item: &Item| match item {
        Item::Event(event) => number(&event.resource_version),
        Item::Object(facts, _) => number(&facts.resource_version),
    };
    let mut seen = BTreeSet::new();
    // A second version of the same object is a change: then the list is over.
    let news = watched.iter().take_while(|(item, gone)| !gone && seen.insert(key(item))).count();
    (1..news)
        .rev()
        .find(|index| version(&watched[*index].0) < version(&watched[index - 1].0))
        .map_or(0, |index| index + 1)
}

fn key(item: &Item) -> String {
    match item {
        Item::Event(event) => format!("Event/{}/{}", event.namespace, event.name),
        Item::Object(facts, _) => object_key(facts),
    }
}

fn object_key(facts: &ObjectFacts) -> String {
    let object = &facts.object;
    format!("{}/{}/{}/{}", object.group(), object.kind, object.namespace, object.name)
}

/// What the watch streams know.
struct Watched {
    versions: BTreeSet<(String, String, i64)>,
    events: BTreeSet<String>,
    objects: BTreeSet<String>,
}

impl Watched {
    fn of(streams: &[Vec<(Item, bool)>]) -> Self {
        let mut watched = Self { versions: BTreeSet::new(), events: BTreeSet::new(), objects: BTreeSet::new() };
        for (item, _) in streams.iter().flatten() {
            match item {
                Item::Event(event) => {
                    watched.versions.insert(version_of(event));
                    watched.events.insert(event.uid.clone());
                }
                Item::Object(facts, _) => {
                    watched.objects.insert(object_key(facts));
                }
            }
        }
        watched
    }
}

/// The moments that Lists tell of, and the context.
fn listed(items: Vec<Item>, watched: &Watched) -> (Vec<Moment>, Vec<ObjectFacts>) {
    let mut versions = watched.versions.clone();
    let mut moments = Vec::new();
    let mut timeless = Vec::new();
    let mut objects: BTreeMap<(usize, String), (u64, Box<ObjectFacts>, Option<Timestamp>)> = BTreeMap::new();
    for item in items {
        match item {
            Item::Event(event) => {
                let alone = !watched.events.contains(&event.uid);
                let earlier = if alone { earlier_versions(&event) } else { Vec::new() };
                for version in earlier.into_iter().map(Box::new).chain([event]) {
                    if versions.insert(version_of(&version)) {
                        match version.occurred_at() {
                            Some(at) => moments.push(event_at(at, version)),
                            None => timeless.push(version),
                        }
                    }
                }
            }
            Item::Object(facts, written) => {
                let key = object_key(&facts);
                if watched.objects.contains(&key) {
                    continue;
                }
                let version = number(&facts.resource_version);
                let newer = objects.get(&(rank(&facts), key.clone())).is_none_or(|(known, ..)| *known <= version);
                if newer {
                    objects.insert((rank(&facts), key), (version, facts, written));
                }
            }
        }
    }
    // What carries no time at all is told at the end.
    let end = moments.iter().map(|moment: &Moment| moment.at).max().unwrap_or_default();
    moments.extend(timeless.into_iter().map(|event| event_at(end, event)));
    let beginning = moments.iter().map(|moment| moment.at).min();
    let mut context = Vec::with_capacity(objects.len());
    for (version, facts, written) in objects.into_values() {
        context.push(without_status(&facts));
        let (Some(beginning), Some(written)) = (beginning, written) else { continue };
        let at = written.max(beginning);
        moments.push(Moment {
            at,
            resource_version: version,
            what: What::Object { facts, deleted: false, listed: false },
        });
    }
    (moments, context)
}

/// Objects that others refer to come first.
fn rank(facts: &ObjectFacts) -> usize {
    use epicenter_exporter::project::Kind;
    let object = &facts.object;
    let kind = Kind::of(&object.api_version, &object.kind);
    Kind::ALL.iter().position(|known| Some(*known) == kind).unwrap_or(Kind::ALL.len())
}

fn version_of(event: &Event) -> (String, String, i64) {
    (event.uid.clone(), event.resource_version.clone(), event.total())
}

/// The versions of an Event that a watch would have delivered before this one, when it happened more than once: the first, and
/// some of those between if it went on all the time.
fn earlier_versions(event: &Event) -> Vec<Event> {
    let Some((began, last)) = event.began_at().zip(event.occurred_at()).filter(|(began, last)| last > began) else {
        return Vec::new();
    };
    let (times, span) = (event.total() - 1, last.millis_since(began));
    if times < 1 {
        return Vec::new();
    }
    let goes_on = span / times <= GOES_ON;
    let between = if goes_on { (times - 1).min(span / SPREAD).min(BETWEEN) } else { 0 };
    // Widened, as what a broken emitter counts has no bound.
    let share = |of: i64, step: i64| (i128::from(of) * i128::from(step) / i128::from(between + 1)) as i64;
    let version = |step: i64| {
        let total = 1 + share(times, step);
        // As its emitter's clock had it, which may be wrong.
        let earlier = |at: Timestamp| at.plus_millis(share(span, step) - span);
        Event {
            // (uid, resourceVersion) names a version, and no object has this one.
            resource_version: "0".to_owned(),
            count: event.count.map(|_| total),
            series_count: event.series_count.filter(|_| step > 0).map(|_| total),
            series_last_at: event.series_last_at.filter(|_| step > 0).map(earlier),
            last_at: event.last_at.map(earlier),
            ..event.clone()
        }
    };
    (0..=between).map(version).collect()
}

/// What does not change in an object's life, or hardly.
fn without_status(facts: &ObjectFacts) -> ObjectFacts {
    ObjectFacts {
        deleting_at: None,
        phase: String::new(),
        reason: String::new(),
        unschedulable: false,
        replicas: None,
        ready_replicas: None,
        conditions: Vec::new(),
        containers: Vec::new(),
        ..facts.clone()
    }
}

fn event_at(at: Timestamp, event: Box<Event>) -> Moment {
    Moment { at, resource_version: number(&event.resource_version), what: What::Event(event) }
}

/// resourceVersions of one etcd are numbers that grow; what is no number counts as the oldest.
fn number(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(0)
}

fn order(moment: &Moment) -> (Timestamp, u8, &str, u64) {
    match &moment.what {
        What::Object { facts, .. } => (moment.at, 0, &facts.object.uid, moment.resource_version),
        What::Event(event) => (moment.at, 1, &event.uid, moment.resource_version),
    }
}

/// A watch stream's moments, with times that do not go back.
fn stream(messages: Vec<(Item, bool)>) -> VecDeque<Moment> {
    let own = |item: &Item| match item {
        Item::Event(event) => event.occurred_at(),
        Item::Object(_, written) => *written,
    };
    let mut now = messages.iter().find_map(|(item, _)| own(item)).unwrap_or_default();
    let moment = |(item, deleted): (Item, bool)| {
        now = own(&item).map_or(now, |at| at.max(now));
        match item {
            Item::Event(event) => event_at(now, event),
            Item::Object(facts, _) => Moment {
                at: now,
                resource_version: number(&facts.resource_version),
                what: What::Object { facts, deleted, listed: false },
            },
        }
    };
    messages.into_iter().map(moment).collect()
}

/// Merges streams by (time, resourceVersion), keeping each stream's order.
fn merge(mut streams: Vec<VecDeque<Moment>>) -> Vec<Moment> {
    let head = |streams: &[VecDeque<Moment>], index: usize| {
        streams[index].front().map(|moment| Reverse((moment.at, moment.resource_version, index)))
    };
    let mut heads: BinaryHeap<_> = (0..streams.len()).filter_map(|index| head(&streams, index)).collect();
    let mut merged = Vec::with_capacity(streams.iter().map(VecDeque::len).sum());
    while let Some(Reverse((_, _, index))) = heads.pop() {
        merged.extend(streams[index].pop_front());
        heads.extend(head(&streams, index));
    }
    merged
}

#[cfg(test)]
mod tests;
