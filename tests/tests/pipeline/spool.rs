//! The broker is away for longer than the API server keeps history, and the exporter is killed meanwhile and while it drains its
//! spool: nothing is lost, nothing is there twice, and there is no gap.
//!
//! `EPICENTER_TEST_SPOOL` sets for how many seconds the broker is away.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, Signal};

use crate::audit::{Logged, STALL};
use crate::installation::Installation;
use crate::writer::{PlainWatch, client, mark, write};

const LIMIT: Duration = Duration::from_secs(90);

/// Commits that wait on disk.
fn spooled(directory: &Path) -> usize {
    fs::read_dir(directory.join("a.spool")).map_or(0, |files| {
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "commit")).count()
    })
}

#[track_caller]
fn until(what: &str, exporter: &Process, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}\n{}", exporter.tail());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_outage_beyond_the_clusters_history_leaves_no_gap() {
    let away =
        Duration::from_secs(std::env::var("EPICENTER_TEST_SPOOL").map_or(16, |seconds| seconds.parse().unwrap()));
    let mut installation = Installation::new(1);
    let plane = ControlPlane::start(Options::default()).unwrap();
    installation.add("a", &plane);
    let directory = installation.directory.path().join("spool");
    let settings = [("EPICENTER_EXPORTER__SPOOL__DIRECTORY", directory.to_str().unwrap().to_owned())];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(client(&plane));
    let watch = runtime.block_on(PlainWatch::start(client.clone()));

    let mut exporter = [installation.service_with("exporter", "exporter", &settings)];
    installation.until_watched(&mut exporter, &["a"]);
    let [mut exporter] = exporter;
    let (written, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = runtime.spawn({
        let (client, written, over) = (client.clone(), Arc::clone(&written), Arc::clone(&over));
        async move { write(&client, written, move |_| over.load(Ordering::Relaxed)).await }
    });
    until("Events", &exporter, || written.load(Ordering::Relaxed) > 300);

    installation.kafka.end(Signal::Kill).unwrap();
    until("the first commits on disk", &exporter, || spooled(&directory) > 2);
    std::thread::sleep(away / 2);
    // From now on nobody can read what was written before; nor, later, what the log lacks.
    plane.compact_etcd().unwrap();
    let before = spooled(&directory);
    until("what was read before that", &exporter, || spooled(&directory) > before + 2);
    assert!(exporter.output().contains("are spooled meanwhile"), "{}", exporter.tail());
    exporter.kill().unwrap();
    let before = spooled(&directory);
    exporter = installation.service_with("again", "exporter", &settings);
    until("commits without a broker, after a start without one", &exporter, || spooled(&directory) > before + 2);
    std::thread::sleep(away / 2);
    plane.compact_etcd().unwrap();

    installation.kafka.start_again().unwrap();
    let most = spooled(&directory);
    until("the drain", &exporter, || spooled(&directory) < most);
    exporter.kill().unwrap();
    let left = spooled(&directory);
    exporter = installation.service_with("once-more", "exporter", &settings);
    over.store(true, Ordering::Relaxed);
    runtime.block_on(writing).unwrap();
    watch.wait(&runtime.block_on(mark(&client)));
    let seen = watch.seen();

    let logged = || Logged::of(installation.read(topics::EVENTS_RAW.name).values().flatten());
    let (mut lacking, mut progress) = (usize::MAX, Instant::now());
    while lacking > 0 {
        let now = logged().lacks(&seen).len();
        if now < lacking {
            (lacking, progress) = (now, Instant::now());
        }
        assert!(progress.elapsed() < STALL, "{lacking} of {} are not there\n{}", seen.len(), exporter.tail());
    }
    exporter.signal(Signal::Term).unwrap();
    exporter.wait(LIMIT).unwrap();
    logged().assert_exactly(&seen);
    assert_eq!(spooled(&directory), 0);
    println!(
        "{} versions, each once; {most} commits were spooled, {left} when the exporter was killed again",
        seen.len()
    );
}
