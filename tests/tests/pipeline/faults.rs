//! The services as separate processes on a real broker and real API servers, and everything that goes wrong with them:
//! what an independent watch saw is in the log, each version once, and what is made of it is what one undisturbed process
//! makes. Exporters have spools, which take what they read while the broker stands still or is away.
//!
//! `EPICENTER_FAULTS` sets the number of faults, each with 1,000 writes; `EPICENTER_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use epicenter_tests::faults::Plan;
use epicenter_tests::kube::Component;
use epicenter_tests::process::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::installation::{LEASE, SESSION};
use crate::scene::{CLUSTERS, Load, SERVICES, Scene};

/// Writes per fault.
const WRITES: u64 = 1_000;

/// Makes faults.
struct Trouble {
    random: StdRng,
    /// Services that stand still, and until when.
    stopped: Vec<(usize, Instant)>,
    done: BTreeMap<&'static str, usize>,
}

impl Trouble {
    /// Lets those go on that stood still long enough.
    fn wake(&mut self, scene: &Scene, all: bool) {
        let now = Instant::now();
        let (due, waiting) = self.stopped.drain(..).partition(|(_, until)| all || *until <= now);
        self.stopped = waiting;
        for (service, _) in due {
            scene.services[service].signal(Signal::Cont).unwrap();
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

    fn fault(&mut self, scene: &mut Scene) {
        let how = if self.random.random() { Signal::Kill } else { Signal::Term };
        let name = match self.random.random_range(0..100) {
            0..50 => {
                scene.kill(self.running_service());
                "kill -9"
            }
            50..80 if self.stopped.len() < 3 => {
                let service = self.running_service();
                scene.services[service].signal(Signal::Stop).unwrap();
                let beyond = SESSION.max(LEASE) + Duration::from_millis(self.random.random_range(500..4000));
                self.stopped.push((service, Instant::now() + beyond));
                "zombie"
            }
            50..87 => {
                scene.installation.kafka.restart(how).unwrap();
                "broker restart"
            }
            87..93 => {
                // Up to beyond the time after which the coordinator ends transactions.
                scene.installation.kafka.signal(Signal::Stop).unwrap();
                std::thread::sleep(Duration::from_millis(self.random.random_range(1000..12_000)));
                scene.installation.kafka.signal(Signal::Cont).unwrap();
                "broker stall"
            }
            _ => {
                let plane = self.random.random_range(0..CLUSTERS.len());
                scene.planes[plane].end(Component::ApiServer, how).unwrap();
                scene.planes[plane].start_again(Component::ApiServer).unwrap();
                "API server restart"
            }
        };
        *self.done.entry(name).or_default() += 1;
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_there_twice() {
    let Plan { faults, seed } = Plan::new(12, 100).unwrap();
    let mut scene = Scene::new(true);
    let mut trouble = Trouble { random: StdRng::seed_from_u64(seed), stopped: vec![], done: BTreeMap::new() };
    let load = Load::start(&scene, WRITES * faults as u64);
    for fault in 0..faults as u64 {
        // They are spread over the writes.
        let mut progress = (0, Instant::now());
        while load.written() < WRITES * fault {
            if load.written() > progress.0 {
                progress = (load.written(), Instant::now());
            }
            assert!(progress.1.elapsed() < Duration::from_secs(180), "nothing is written\n{}", scene.tails());
            std::thread::sleep(Duration::from_millis(50));
            trouble.wake(&scene, false);
        }
        std::thread::sleep(Duration::from_millis(trouble.random.random_range(0..1500)));
        trouble.wake(&scene, false);
        trouble.fault(&mut scene);
        scene.assert_all_run();
    }
    let (seen, rate) = load.finish();
    trouble.wake(&scene, true);
    let found = scene.audit(&seen);
    println!("{found}, after {faults} faults {:?} and {rate:.0} writes/s", trouble.done);
}
