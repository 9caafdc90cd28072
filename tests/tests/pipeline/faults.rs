//! The services as separate processes on a real broker and real API servers, and everything that goes wrong with them:
//! what an independent watch saw is in the log, each version once, and what is made of it is what one undisturbed process
//! makes.
//!
//! `EPICENTER_FAULTS` sets the number of faults, each with 1,000 writes; `EPICENTER_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::partition_of;
use epicenter_tests::faults::Plan;
use epicenter_tests::kube::{Component, ControlPlane, Options};
use epicenter_tests::process::{Process, Signal};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::audit::{Logged, STALL, assert_as_undisturbed, enriched_versions};
use crate::installation::{Installation, LEASE, SESSION};
use crate::writer::{PlainWatch, client, mark, version, write};

const PARTITIONS: u32 = 3;
/// Clusters, each in a partition of its own.
const CLUSTERS: [&str; 2] = ["a", "b"];
const SERVICES: [&str; 7] = ["exporter", "exporter", "enricher", "enricher", "correlator", "correlator", "sink"];
/// Writes per fault.
const WRITES: u64 = 1_000;

struct Scene {
    random: StdRng,
    installation: Installation,
    planes: Vec<ControlPlane>,
    services: Vec<Process>,
    /// Services that stand still, and until when.
    stopped: Vec<(usize, Instant)>,
    done: BTreeMap<&'static str, usize>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let installation = Installation::new(PARTITIONS);
        let options = Options { compaction: Duration::ZERO, ..Options::default() };
        let planes = CLUSTERS.map(|name| {
            let plane = ControlPlane::start(options.clone()).unwrap();
            installation.add(name, &plane);
            plane
        });
        let services = (0..SERVICES.len()).map(|service| spawn(&installation, service)).collect();
        let (random, planes) = (StdRng::seed_from_u64(seed), planes.into());
        Self { random, installation, planes, services, stopped: vec![], done: BTreeMap::new() }
    }

    /// Lets those go on that stood still long enough.
    fn wake(&mut self, all: bool) {
        let now = Instant::now();
        let (due, waiting) = self.stopped.drain(..).partition(|(_, until)| all || *until <= now);
        self.stopped = waiting;
        for (service, _) in due {
            self.services[service].signal(Signal::Cont).unwrap();
        }
    }

    fn running_service(&mut self) -> usize {
        loop {
            let service = self.random.random_range(0..SERVICES.len());
            if self.stopped.iter().all(|(stopped, _)| *stopped != service) {
                return service;
            }
        }
    }

    fn fault(&mut self) {
        let how = if self.random.random() { Signal::Kill } else { Signal::Term };
        let name = match self.random.random_range(0..100) {
            0..50 => {
                let service = self.running_service();
                self.services[service].kill().unwrap();
                self.services[service] = spawn(&self.installation, service);
                "kill -9"
            }
            50..80 if self.stopped.len() < 3 => {
                let service = self.running_service();
                self.services[service].signal(Signal::Stop).unwrap();
                let beyond = SESSION.max(LEASE) + Duration::from_millis(self.random.random_range(500..4000));
                self.stopped.push((service, Instant::now() + beyond));
                "zombie"
            }
            50..90 => {
                self.installation.kafka.restart(how).unwrap();
                "broker restart"
            }
            _ => {
                let plane = self.random.random_range(0..CLUSTERS.len());
                self.planes[plane].end(Component::ApiServer, how).unwrap();
                self.planes[plane].start_again(Component::ApiServer).unwrap();
                "API server restart"
            }
        };
        *self.done.entry(name).or_default() += 1;
        for service in &mut self.services {
            assert!(service.ended().unwrap().is_none(), "it ended by itself\n{}", service.tail());
        }
    }

    fn tails(&self) -> String {
        let tails: Vec<_> = self.services.iter().map(Process::tail).collect();
        [tails.join("\n"), self.installation.kafka.tail()].join("\n")
    }
}

/// Starts a service, again when it ran before.
fn spawn(installation: &Installation, service: usize) -> Process {
    installation.service(&format!("{}-{service}", SERVICES[service]), SERVICES[service])
}

#[test]
fn nothing_is_lost_and_nothing_is_there_twice() {
    assert_ne!(partition_of(CLUSTERS[0], PARTITIONS), partition_of(CLUSTERS[1], PARTITIONS));
    let Plan { faults, seed } = Plan::new(12, 100).unwrap();
    let mut scene = Scene::new(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clients: Vec<_> = scene.planes.iter().map(|plane| runtime.block_on(client(plane))).collect();
    // What was written before its first list is there only as that list shows it.
    scene.installation.until_watched(&mut scene.services[..2], &CLUSTERS);
    let began: Vec<String> = clients.iter().map(|client| runtime.block_on(version(client))).collect();

    let (written, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let least = WRITES * faults as u64;
    let writing: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, written, over) = (client.clone(), Arc::clone(&written), Arc::clone(&over));
            runtime.spawn(async move {
                write(&client, written, move |written| written >= least && over.load(Ordering::Relaxed)).await;
                mark(&client).await
            })
        })
        .collect();
    let clock = Instant::now();
    let pace = |at: usize| least * at as u64 / faults.max(1) as u64;
    for fault in 0..faults {
        // Spread over the writes.
        while written.load(Ordering::Relaxed) < pace(fault) {
            assert!(clock.elapsed() < Duration::from_secs(3600), "{}", scene.tails());
            std::thread::sleep(Duration::from_millis(50));
            scene.wake(false);
        }
        std::thread::sleep(Duration::from_millis(scene.random.random_range(0..1500)));
        scene.wake(false);
        scene.fault();
    }
    over.store(true, Ordering::Relaxed);
    let marks: Vec<_> = writing.into_iter().map(|writing| runtime.block_on(writing).unwrap()).collect();
    let seconds = clock.elapsed().as_secs_f64();
    scene.wake(true);

    let mut seen = std::collections::BTreeSet::new();
    for ((client, began), mark) in clients.iter().zip(&began).zip(&marks) {
        // Its history is whole: the API server has had no compaction.
        let watch = runtime.block_on(PlainWatch::from(client.clone(), began));
        watch.wait(mark);
        seen.extend(watch.seen());
    }
    let (mut lacking, mut progress) = (usize::MAX, Instant::now());
    while lacking > 0 {
        let raw = scene.installation.read(topics::EVENTS_RAW.name);
        let now = Logged::of(raw.values().flatten()).lacks(&seen).len();
        if now < lacking {
            (lacking, progress) = (now, Instant::now());
        }
        assert!(progress.elapsed() < STALL, "{lacking} of {} are not there\n{}", seen.len(), scene.tails());
    }
    for exporter in &mut scene.services[..2] {
        exporter.signal(Signal::Term).unwrap();
        exporter.wait(Duration::from_secs(60)).unwrap();
    }

    let raw = scene.installation.read(topics::EVENTS_RAW.name);
    Logged::of(raw.values().flatten()).assert_exactly(&seen);
    let undisturbed = assert_as_undisturbed(&scene.installation, &|| scene.tails());
    let enriched = scene.installation.read(topics::EVENTS_ENRICHED.name);
    let once = seen.iter().map(|version| (version.clone(), 1)).collect();
    assert!(enriched_versions(enriched.values().flatten()) == once, "events.enriched has not each version once");
    println!(
        "{} versions of Events, each once, {} changes of {} incidents as undisturbed, after {faults} faults {:?} and {:.0} \
         writes/s",
        seen.len(),
        undisturbed.values().map(|run| run.changes.len()).sum::<usize>(),
        undisturbed.values().map(|run| run.incidents.len()).sum::<usize>(),
        scene.done,
        written.load(Ordering::Relaxed) as f64 / seconds
    );
}
