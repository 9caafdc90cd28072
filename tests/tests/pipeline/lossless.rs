//! Killed at any moment, it goes on from its position: what an independent watch saw is in the log, each version once.
//!
//! `EPICENTER_FAULTS` sets the number of kills, `EPICENTER_SEED` repeats a run's choices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, LocalConfig, Record, Start};
use epicenter_tests::faults::Plan;
use epicenter_tests::kube::{ControlPlane, Options};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::audit::{Logged, Undisturbed, assert_same};
use crate::writer::{PlainWatch, client, mark, write};

const WRITES: u64 = 10_000;

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
        async move {
            write(&client, done, |written| written >= WRITES).await;
            mark(&client).await
        }
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
    watch.wait(&runtime.block_on(writing).unwrap());
    let seen = watch.seen();
    assert!(seen.len() as u64 > WRITES);

    // It is done when its log no longer grows; then it is ended, so that the log can be opened.
    let data = directory.path().join("data");
    std::thread::sleep(Duration::from_secs(12));
    up.signal(epicenter_tests::process::Signal::Term).unwrap();
    up.wait(Duration::from_secs(30)).unwrap();
    let config = LocalConfig { directory: data, partitions: 1, retention: Duration::from_secs(86_400) };
    let bus = Bus::local(config).unwrap();
    let raw = read(&bus, "events.raw");
    let logged = Logged::of(&raw);
    logged.assert_exactly(&seen);
    let undisturbed = Undisturbed::run(&raw);
    assert!(!undisturbed.changes.is_empty());
    assert_same("events.enriched", &undisturbed.enriched, &read(&bus, "events.enriched"));
    assert_same("incident.changes", &undisturbed.changes, &read(&bus, "incident.changes"));
    println!("{} versions, each once, after {killed} kills", logged.versions.len());
}

fn read(bus: &Bus, topic: &'static str) -> Vec<Record> {
    let mut reader = bus.reader(topic, &[0], Start::Earliest).unwrap();
    std::iter::from_fn(|| reader.next(Duration::ZERO).unwrap()).collect()
}
