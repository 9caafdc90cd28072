//! A long list, and a storm after it, from an API server that has as many Events as it is asked for: each is in the log once, in
//! order.
//!
//! `EPICENTER_TEST_LISTED` sets how many are listed, `EPICENTER_TEST_STORM` for how many seconds it storms: 1000000 and 120 are what
//! `epicenter-bench memory` asks for.

use std::fs;
use std::time::Duration;

use epicenter_tests::generated::{Generated, Taken};

use crate::installation::Installation;

/// Events per second.
const RATE: u64 = 5_000;
const STALL: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

#[test]
fn a_list_and_a_storm_are_taken_whole() {
    let (listed, storm) = (number("EPICENTER_TEST_LISTED", 20_000), RATE * number("EPICENTER_TEST_STORM", 3));
    let installation = Installation::new(1);
    let cluster = Generated::start(listed, 0).unwrap();
    fs::write(installation.directory.path().join("clusters/a.yaml"), cluster.kubeconfig()).unwrap();
    let settings = [("EPICENTER_EXPORTER__LEASE__ENABLED", "false".to_owned())];
    let exporter = installation.service_with("exporter", "exporter", &settings);
    let mut taken = Taken::new(&installation.bus(), "a").unwrap();
    let whole = |error: anyhow::Error| panic!("{error}\n{}", exporter.tail());
    taken.until(listed, STALL).unwrap_or_else(whole);
    cluster.storm(RATE, storm);
    taken.until(listed + storm, STALL).unwrap_or_else(whole);
    println!(
        "{listed} listed, {storm} in a storm of {RATE} a second; at most {} MiB",
        exporter.peak_memory().unwrap() >> 20
    );
}
