//! Killed at any moment, it goes on from its position: what an independent watch saw is in the log, each version once.
//!
//! `EPICENTER_FAULTS` sets the number of kills, `EPICENTER_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Driver, LocalConfig, Processor, ProcessorSpec, Record, Start};
use epicenter_catalog::Catalog;
use epicenter_correlate::Rules;
use epicenter_correlator::Correlator;
use epicenter_enricher::Enricher;
use epicenter_model::{Codec, RawRecord};
use epicenter_tests::faults::Plan;
use epicenter_tests::kube::{ControlPlane, Options};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::writer::{PlainWatch, client, write};

const WRITES: u64 = 10_500;

#[test]
fn no_event_is_lost_or_repeated_when_it_is_killed() {
    let Plan { faults: kills, seed } = Plan::new(20, 60).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let plane = ControlPlane::start(Options::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(client(&plane));
    let watch = runtime.block_on(PlainWatch::start(client.clone()));
    let mut up = crate::up(&plane, directory.path());
    // What was written before its first list is there only as that list shows it.
    up.until(Duration::from_secs(60), |log| log.contains("watching")).unwrap();
    let writing = runtime.spawn({
        let done = Arc::clone(&done);
        async move { write(&client, WRITES, done).await }
    });
    let mut killed = 0;
    let began = Instant::now();
    while !writing.is_finished() || killed < kills {
        std::thread::sleep(Duration::from_millis(random.random_range(100..1500)));
        assert!(up.ended().unwrap().is_none(), "it ended by itself\n{}", up.tail());
        up.kill().unwrap();
        up = crate::up(&plane, directory.path());
        killed += 1;
        assert!(began.elapsed() < Duration::from_secs(400), "{} of {WRITES} writes", done.load(Ordering::Relaxed));
    }
    runtime.block_on(writing).unwrap();
    let writes = done.load(Ordering::Relaxed) as usize;
    assert!(writes >= 10_000);
    watch.wait(writes);
    let seen = watch.seen();

    // It is done when its log no longer grows; then it is ended, so that the log can be opened.
    let data = directory.path().join("data");
    std::thread::sleep(Duration::from_secs(12));
    up.signal(epicenter_tests::process::Signal::Term).unwrap();
    up.wait(Duration::from_secs(30)).unwrap();
    let config = LocalConfig { directory: data, partitions: 1, retention: Duration::from_secs(86_400) };
    let bus = Bus::local(config).unwrap();
    let raw = read(&bus, "events.raw");
    let mut logged: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut gaps = 0;
    for record in &raw {
        match RawRecord::decode(&Codec::single_object(), record.payload.as_ref().unwrap()).unwrap() {
            RawRecord::Event(raw) => {
                *logged.entry((raw.event.uid.clone(), raw.event.resource_version.clone())).or_default() += 1;
            }
            RawRecord::Gap(_) => gaps += 1,
            _ => {}
        }
    }
    let repeated: Vec<_> = logged.iter().filter(|(_, count)| **count > 1).collect();
    let lost: Vec<_> = seen.iter().filter(|version| !logged.contains_key(version)).collect();
    let unknown: Vec<_> = logged.keys().filter(|version| !seen.contains(version)).collect();
    assert!(repeated.is_empty(), "{} repeated, such as {:?}, seed {seed}", repeated.len(), repeated[0]);
    assert!(lost.is_empty(), "{} of {} lost, such as {:?}, seed {seed}", lost.len(), seen.len(), lost[0]);
    assert!(unknown.is_empty(), "{} that nobody saw, such as {:?}, seed {seed}", unknown.len(), unknown[0]);
    assert_eq!(gaps, 0);
    assert_same_when_undisturbed(&bus, &raw);
    println!("{} versions, each once, after {killed} kills", logged.len());
}

fn read(bus: &Bus, topic: &'static str) -> Vec<Record> {
    let mut reader = bus.reader(topic, &[0], Start::Earliest).unwrap();
    std::iter::from_fn(|| reader.next(Duration::ZERO).unwrap()).collect()
}

/// One undisturbed run over the same `events.raw` gives what the killed and restarted one wrote, byte for byte.
fn assert_same_when_undisturbed(bus: &Bus, raw: &[Record]) {
    let codec = Codec::single_object;
    let enricher = epicenter_enricher::spec();
    let enriched = through(&enricher, Enricher::new(codec(), Catalog::builtin()), raw);
    assert_same("events.enriched", &enriched, &read(bus, "events.enriched"));
    let correlator = epicenter_correlator::spec();
    let rules = Arc::new(Rules::builtin(epicenter_correlator::classes(Catalog::builtin())));
    let changes = through(&correlator, Correlator::new(codec(), rules), &enriched);
    assert!(!changes.is_empty());
    assert_same("incident.changes", &changes, &read(bus, "incident.changes"));
}

fn through<P: Processor>(spec: &ProcessorSpec, processor: P, input: &[Record]) -> Vec<Record> {
    let mut driver = Driver::new(spec, processor);
    let emits = input.iter().flat_map(|record| driver.feed(record).unwrap());
    emits
        .enumerate()
        .map(|(offset, emit)| Record {
            topic: emit.topic,
            partition: 0,
            offset: offset as i64,
            timestamp: emit.timestamp,
            key: emit.key,
            payload: emit.payload,
            headers: emit.headers,
        })
        .collect()
}

fn assert_same(topic: &str, expected: &[Record], found: &[Record]) {
    let differs = expected.iter().zip(found).position(|(expected, found)| expected != found);
    assert_eq!(differs, None, "{topic}");
    assert_eq!(expected.len(), found.len(), "{topic}");
}
