//! The broker is away under load: watches are not read meanwhile, memory stays bounded, and nothing is lost.
//!
//! `EPICENTER_TEST_AWAY` sets for how many seconds.

use std::time::Duration;

use epicenter_tests::process::Signal;

use crate::scene::{EXPORTERS, Load, SERVICES, Scene};

/// MiB that an exporter may take at most, at any time, however long the broker is away: it may have both clusters, and of
/// each a queue, a batch of 8 MiB, and what the client holds of that batch.
const MEMORY: u64 = 120;

#[test]
fn the_broker_is_away_and_comes_back() {
    let away = std::env::var("EPICENTER_TEST_AWAY").map_or(15, |seconds| seconds.parse().unwrap());
    let mut scene = Scene::new(false);
    let load = Load::start(&scene, 0);
    std::thread::sleep(Duration::from_secs(5));
    let memory = |scene: &Scene| -> Vec<u64> {
        scene.services.iter().map(|service| service.peak_memory().unwrap() / 1024 / 1024).collect()
    };
    let before = (load.written(), memory(&scene));
    scene.installation.kafka.end(Signal::Kill).unwrap();
    std::thread::sleep(Duration::from_secs(away));
    scene.assert_all_run();
    let meanwhile = load.written() - before.0;
    assert!(meanwhile > 0);
    scene.installation.kafka.start_again().unwrap();
    let (seen, rate) = load.finish();
    let after = memory(&scene);
    let found = scene.audit(&seen);
    println!(
        "{found}, {meanwhile} of them written in {away} s without a broker, {rate:.0} writes/s; MiB at most of {SERVICES:?}: \
         {:?} before, {after:?} at the end",
        before.1
    );
    assert!(after[..EXPORTERS].iter().all(|peak| *peak < MEMORY), "{after:?} MiB");
}
