//! Two clusters under load, and the services that read them, as separate processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::partition_of;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, Signal};
use k8s_openapi::api::core::v1::Event;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::audit::{Logged, STALL, assert_as_undisturbed, enriched_versions};
use crate::installation::Installation;
use crate::writer::{PlainWatch, client, mark, write};

const PARTITIONS: u32 = 3;
/// Each in a partition of its own.
pub const CLUSTERS: [&str; 2] = ["a", "b"];
/// The exporters first.
pub const SERVICES: [&str; 7] = ["exporter", "exporter", "enricher", "enricher", "correlator", "correlator", "sink"];
/// So many of the services are exporters.
pub const EXPORTERS: usize = 2;

pub struct Scene {
    pub installation: Installation,
    pub planes: Vec<ControlPlane>,
    pub services: Vec<Process>,
    spool: bool,
}

impl Scene {
    /// Everything runs, and both clusters are watched. Their history stays whole, for the watch that is held against the
    /// log. With `spool` each exporter has one of its own, which outlives it.
    pub fn new(spool: bool) -> Self {
        assert_ne!(partition_of(CLUSTERS[0], PARTITIONS), partition_of(CLUSTERS[1], PARTITIONS));
        let installation = Installation::new(PARTITIONS);
        let planes = CLUSTERS.map(|name| {
            let options = Options { compaction: Duration::ZERO, ..Options::default() };
            let plane = ControlPlane::start(options).unwrap();
            installation.add(name, &plane);
            plane
        });
        let mut services: Vec<_> = (0..SERVICES.len()).map(|service| spawn(&installation, service, spool)).collect();
        // What was written before its first list is there only as that list shows it.
        installation.until_watched(&mut services[..EXPORTERS], &CLUSTERS);
        Self { installation, planes: planes.into(), services, spool }
    }

    /// Kills a service, and starts it again.
    pub fn kill(&mut self, service: usize) {
        self.services[service].kill().unwrap();
        self.services[service] = spawn(&self.installation, service, self.spool);
    }

    pub fn assert_all_run(&mut self) {
        for service in &mut self.services {
            assert!(service.ended().unwrap().is_none(), "it ended by itself\n{}", service.tail());
        }
    }

    /// What can be said when nothing moves any more.
    pub fn tails(&self) -> String {
        let tails: Vec<_> = self.services.iter().map(Process::tail).collect();
        [tails.join("\n"), self.installation.kafka.tail()].join("\n")
    }

    /// Waits until all that was written is in the log, ends the exporters, and holds every topic against what must be in
    /// it; tells what there is.
    pub fn audit(&mut self, seen: &BTreeSet<(String, String)>) -> String {
        let (mut lacking, mut progress) = (usize::MAX, Instant::now());
        while lacking > 0 {
            let raw = self.installation.read(topics::EVENTS_RAW.name);
            let now = Logged::of(raw.values().flatten()).lacks(seen).len();
            if now < lacking {
                (lacking, progress) = (now, Instant::now());
            }
            assert!(progress.elapsed() < STALL, "{lacking} of {} are not there\n{}", seen.len(), self.tails());
        }
        for exporter in &mut self.services[..EXPORTERS] {
            exporter.signal(Signal::Term).unwrap();
            exporter.wait(Duration::from_secs(60)).unwrap();
        }
        let raw = self.installation.read(topics::EVENTS_RAW.name);
        Logged::of(raw.values().flatten()).assert_exactly(seen);
        let undisturbed = assert_as_undisturbed(&self.installation, &|| self.tails());
        let enriched = self.installation.read(topics::EVENTS_ENRICHED.name);
        let once: BTreeMap<_, _> = seen.iter().map(|version| (version.clone(), 1)).collect();
        assert!(enriched_versions(enriched.values().flatten()) == once, "events.enriched has not each version once");
        let sum = |of: fn(&crate::audit::Undisturbed) -> usize| undisturbed.values().map(of).sum::<usize>();
        format!(
            "{} versions of Events, each once; {} changes of {} incidents, as undisturbed",
            seen.len(),
            sum(|run| run.changes.len()),
            sum(|run| run.incidents.len()),
        )
    }
}

/// Starts a service, again when it ran before.
fn spawn(installation: &Installation, service: usize, spool: bool) -> Process {
    let name = format!("{}-{service}", SERVICES[service]);
    let directory = installation.directory.path().join(format!("{name}.spool"));
    let settings = [("EPICENTER_EXPORTER__SPOOL__DIRECTORY", directory.to_str().unwrap().to_owned())];
    installation.service_with(&name, SERVICES[service], if spool && service < EXPORTERS { &settings } else { &[] })
}

/// Writers of Events in every cluster.
pub struct Load {
    runtime: Runtime,
    written: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    clusters: Vec<Loaded>,
    began: Instant,
}

struct Loaded {
    client: kube::Client,
    /// Gives the last Event.
    writing: JoinHandle<Event>,
}

impl Load {
    /// Writes until [`Load::finish`], and at least `least` versions.
    pub fn start(scene: &Scene, least: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let (written, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let load = |plane: &ControlPlane| {
            let client = runtime.block_on(client(plane));
            let (writer, written, over) = (client.clone(), Arc::clone(&written), Arc::clone(&over));
            let writing = runtime.spawn(async move {
                write(&writer, written, move |written| written >= least && over.load(Ordering::Relaxed)).await;
                mark(&writer).await
            });
            Loaded { client, writing }
        };
        let clusters = scene.planes.iter().map(load).collect();
        Self { runtime, written, over, clusters, began: Instant::now() }
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends the writers; gives every version that a plain watch of the whole history shows, and the writes per second.
    pub fn finish(self) -> (BTreeSet<(String, String)>, f64) {
        self.over.store(true, Ordering::Relaxed);
        let marks: Vec<_> =
            self.clusters.into_iter().map(|it| (it.client, self.runtime.block_on(it.writing).unwrap())).collect();
        let rate = self.written.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        let mut seen = BTreeSet::new();
        for (client, mark) in marks {
            let watch = self.runtime.block_on(PlainWatch::start(client));
            watch.wait(&mark);
            seen.extend(watch.seen());
        }
        (seen, rate)
    }
}
