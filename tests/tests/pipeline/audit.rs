//! Holds what is in the log against what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use epicenter_bus::{Driver, Processor, ProcessorSpec, Record, StoreId, topics};
use epicenter_correlator::Correlator;
use epicenter_enricher::Enricher;
use epicenter_model::{Codec, EnrichedRecord, Gap, RawRecord};
use epicenter_rules::RuleSet;
use epicenter_sink::Publisher;

use crate::installation::Installation;

/// Without a new record for that long it has failed.
pub const STALL: Duration = Duration::from_secs(90);

/// (uid, resourceVersion) of a version of an Event.
pub type Version = (String, String);

/// What `events.raw` says of Events.
#[derive(Default)]
pub struct Logged {
    pub versions: BTreeMap<Version, usize>,
    pub gaps: Vec<Gap>,
}

impl Logged {
    pub fn of<'r>(raw: impl IntoIterator<Item = &'r Record>) -> Self {
        let mut logged = Self::default();
        for record in raw {
            match RawRecord::decode(&Codec::single_object(), record.payload.as_ref().unwrap()).unwrap() {
                RawRecord::Event(raw) => {
                    *logged.versions.entry((raw.event.uid, raw.event.resource_version)).or_default() += 1;
                }
                RawRecord::Gap(gap) if gap.resource == "events" => logged.gaps.push(gap),
                _ => {}
            }
        }
        logged
    }

    /// It has nothing that was not seen, and nothing twice.
    pub fn assert_each_once(&self, seen: &BTreeSet<Version>) {
        let repeated: Vec<_> = self.versions.iter().filter(|(_, count)| **count > 1).collect();
        assert!(repeated.is_empty(), "{} repeated, such as {:?}", repeated.len(), repeated[0]);
        let unknown: Vec<_> = self.versions.keys().filter(|version| !seen.contains(version)).collect();
        assert!(unknown.is_empty(), "{} that nobody saw, such as {:?}", unknown.len(), unknown[0]);
    }

    /// What it lacks of that.
    pub fn lacks(&self, seen: &BTreeSet<Version>) -> Vec<Version> {
        seen.iter().filter(|version| !self.versions.contains_key(version)).cloned().collect()
    }

    /// It has exactly what was seen, each once, and no gap.
    pub fn assert_exactly(&self, seen: &BTreeSet<Version>) {
        self.assert_each_once(seen);
        let lost = self.lacks(seen);
        assert!(lost.is_empty(), "{} of {} lost, such as {:?}", lost.len(), seen.len(), lost[0]);
        assert_eq!(self.gaps, []);
    }
}

/// How often each version of an Event is in `events.enriched`; what was derived from objects aside.
pub fn enriched_versions<'r>(enriched: impl IntoIterator<Item = &'r Record>) -> BTreeMap<Version, usize> {
    let mut versions = BTreeMap::new();
    for record in enriched {
        let payload = record.payload.as_ref().unwrap();
        if let EnrichedRecord::Event(enriched) = EnrichedRecord::decode(&Codec::single_object(), payload).unwrap()
            && !enriched.derived
        {
            *versions.entry((enriched.event.uid, enriched.event.resource_version)).or_default() += 1;
        }
    }
    versions
}

/// What one undisturbed process makes of a partition of `events.raw`.
pub struct Undisturbed {
    pub enriched: Vec<Record>,
    pub changes: Vec<Record>,
    /// The table of incidents.
    pub incidents: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Undisturbed {
    pub fn run(raw: &[Record]) -> Self {
        let codec = Codec::single_object;
        let RuleSet { classifier, causal, .. } = RuleSet::builtin();
        let (enriched, _) = through(&epicenter_enricher::spec(), Enricher::new(codec(), classifier), raw);
        let (changes, _) = through(&epicenter_correlator::spec(), Correlator::new(codec(), causal), &enriched);
        let (_, incidents) = through(&epicenter_sink::spec(), Publisher::new(codec()), &changes);
        Self { enriched, changes, incidents }
    }
}

/// What a processor emits to its first topic, and its first store at the end.
fn through<P: Processor>(
    spec: &ProcessorSpec,
    processor: P,
    input: &[Record],
) -> (Vec<Record>, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut driver = Driver::new(spec, processor);
    let mut output = Vec::new();
    let emits = input.iter().flat_map(|record| driver.feed(record).unwrap());
    for emit in emits.filter(|emit| emit.topic == spec.outputs[0]) {
        output.push(Record {
            topic: emit.topic,
            partition: input[0].partition,
            offset: output.len() as i64,
            timestamp: emit.timestamp,
            key: emit.key,
            payload: emit.payload,
            headers: emit.headers,
        });
    }
    let table = driver.state().scan(StoreId(0), b"").map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    (output, table)
}

/// Record for record the same; offsets aside, where Kafka counts the ends of transactions.
pub fn assert_same(topic: &str, expected: &[Record], found: &[Record]) {
    let same = |expected: &Record, found: &Record| *expected == Record { offset: expected.offset, ..found.clone() };
    let differs = expected.iter().zip(found).position(|(expected, found)| !same(expected, found));
    if let Some(n) = differs {
        panic!("record {n} of {topic}: {:?}, expected {:?}", found[n], expected[n]);
    }
    assert_eq!(expected.len(), found.len(), "{topic}");
}

/// Waits until the installation, whose exporters have ended, has made of `events.raw` all that one undisturbed process
/// makes of it; asserts that it has made nothing else. `tails` tells what can be said when it stands still.
pub fn assert_as_undisturbed(installation: &Installation, tails: &dyn Fn() -> String) -> BTreeMap<u32, Undisturbed> {
    let raw = installation.read(topics::EVENTS_RAW.name);
    let undisturbed: BTreeMap<u32, Undisturbed> =
        raw.iter().map(|(partition, raw)| (*partition, Undisturbed::run(raw))).collect();
    assert!(undisturbed.values().any(|run| !run.changes.is_empty()));
    let outputs: [(_, fn(&Undisturbed) -> &Vec<Record>); 2] =
        [(topics::EVENTS_ENRICHED.name, |run| &run.enriched), (topics::INCIDENT_CHANGES.name, |run| &run.changes)];
    for (topic, of) in outputs {
        settle(installation, topic, undisturbed.values().map(|run| of(run).len()).sum(), tails);
    }
    let incidents: BTreeMap<_, _> = undisturbed.values().flat_map(|run| run.incidents.clone()).collect();
    let table = || installation.bus().table(topics::INCIDENTS.name).unwrap();
    let deadline = Instant::now() + STALL;
    while table() != incidents {
        assert!(Instant::now() < deadline, "the table of incidents is another\n{}", tails());
    }
    // What is repeated at the very end would still come.
    std::thread::sleep(Duration::from_secs(2));
    for (topic, of) in outputs {
        let found = installation.read(topic);
        for (partition, run) in &undisturbed {
            assert_same(topic, of(run), found.get(partition).map_or(&[], Vec::as_slice));
        }
    }
    assert!(installation.read(topics::DEAD_LETTER.name).is_empty(), "nothing was refused");
    undisturbed
}

/// Waits until a topic has that many records; fails when it no longer grows before.
fn settle(installation: &Installation, topic: &'static str, expected: usize, tails: &dyn Fn() -> String) {
    let (mut last, mut progress) = (0, Instant::now());
    loop {
        let found = installation.read(topic).values().map(Vec::len).sum();
        if found >= expected {
            return;
        }
        if found != last {
            (last, progress) = (found, Instant::now());
        }
        assert!(progress.elapsed() < STALL, "{topic}: {found} of {expected}\n{}", tails());
    }
}
