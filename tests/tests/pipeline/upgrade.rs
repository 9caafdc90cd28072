//! The services of an older version and of this one, side by side, there and back: `cargo xtask upgrade REF` builds the older ones.
//!
//! What versions make of the same Events differs, so their records are held against what holds for all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::{Codec, Incident, IncidentChange};
use epicenter_tests::process::{Process, Signal, binary};

use crate::audit::{Logged, STALL, enriched_versions};
use crate::installation::Installation;
use crate::migrate::{CLUSTERS, feed};

const LIMIT: Duration = Duration::from_secs(120);
const SERVICES: [&str; 4] = ["enricher", "correlator", "fleet", "sink"];
/// Pods of each cluster that fail between two changes.
const PODS: usize = 5;

/// The programs of both versions.
struct Versions {
    old: PathBuf,
    new: PathBuf,
}

impl Versions {
    fn found() -> Self {
        let old = std::env::var_os("EPICENTER_TEST_OLD");
        let old = PathBuf::from(old.expect("run it by `cargo xtask upgrade REF`, which builds the older version"));
        Self { old, new: binary().unwrap() }
    }
}

struct Rehearsal {
    installation: Installation,
    versions: Versions,
    /// The service that runs, and how often it was started.
    running: BTreeMap<&'static str, (Process, usize)>,
    pods: usize,
}

impl Rehearsal {
    fn new() -> Self {
        let (installation, versions, running) = (Installation::new(3), Versions::found(), BTreeMap::new());
        Self { installation, versions, running, pods: 0 }
    }

    /// Replaces a service by that of another version, as a rolling update of one replica does.
    fn replace(&mut self, service: &'static str, program: fn(&Versions) -> &PathBuf) {
        let starts = match self.running.remove(service) {
            Some((mut process, starts)) => {
                process.signal(Signal::Term).unwrap();
                process.wait(LIMIT).unwrap();
                starts + 1
            }
            None => 0,
        };
        let mut command = self.installation.of_program(program(&self.versions));
        command.arg(service).args(if service == "sink" { &["--role", "central"][..] } else { &[] });
        let process = self.installation.spawn(&format!("{service}-{starts}"), &mut command);
        self.running.insert(service, (process, starts));
    }

    fn tails(&self) -> String {
        self.running.values().map(|(process, _)| process.tail()).collect()
    }

    /// More happens, and comes through all services.
    fn goes_on(&mut self) {
        let bus = self.installation.bus();
        feed(&bus, self.pods..self.pods + PODS);
        self.pods += PODS;
        let processors = [
            epicenter_enricher::spec(),
            epicenter_correlator::spec(),
            epicenter_correlator::fleet_spec(),
            epicenter_sink::spec(),
        ];
        for spec in processors {
            let deadline = Instant::now() + STALL;
            while !bus.lag(&spec).unwrap().is_empty() {
                assert!(Instant::now() < deadline, "the {} has not read all\n{}", spec.name, self.tails());
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    /// Whether the older version can go on with the state of the newer one, as its `doctor` says.
    fn can_go_back(&self) -> bool {
        let mut doctor = self.installation.of_program(&self.versions.old);
        let output = doctor.arg("doctor").env("KUBECONFIG", self.installation.directory.path().join("none")).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let line = said.lines().find(|line| line.contains("state: ")).unwrap_or_else(|| panic!("{said}"));
        println!("{line}");
        line.starts_with("ok")
    }

    /// The table of incidents.
    fn incidents(&self) -> BTreeMap<String, Incident> {
        let table = self.installation.bus().table(topics::INCIDENTS.name).unwrap();
        let read = |(key, row): (Vec<u8>, Vec<u8>)| {
            (String::from_utf8(key).unwrap(), Codec::single_object().decode::<Incident>(&row).unwrap())
        };
        table.into_iter().map(read).collect()
    }

    /// What holds whatever versions made it: each version of an Event was enriched once; the versions of an incident follow each other
    /// without a gap and without a repetition, and the table has the last one; nothing was refused.
    fn audit(&self) {
        let raw = self.installation.read(topics::EVENTS_RAW.name);
        let enriched = enriched_versions(self.installation.read(topics::EVENTS_ENRICHED.name).values().flatten());
        assert_eq!(enriched, Logged::of(raw.values().flatten()).versions);
        let mut newest: BTreeMap<String, i64> = BTreeMap::new();
        for record in self.installation.read(topics::INCIDENT_CHANGES.name).into_values().flatten() {
            let change: IncidentChange = Codec::single_object().decode(record.payload.as_ref().unwrap()).unwrap();
            let Incident { cluster, id, version, .. } = change.incident;
            let last = newest.insert(format!("{cluster}/{id}"), version).unwrap_or(0);
            assert_eq!(version, last + 1, "{cluster}/{id}");
        }
        let table = self.incidents().into_iter().map(|(key, incident)| (key, incident.version)).collect();
        assert_eq!(newest, table);
        assert!(newest.len() >= CLUSTERS.len(), "{newest:?}");
        assert!(self.installation.read(topics::DEAD_LETTER.name).is_empty(), "nothing was refused");
    }
}

#[test]
fn services_of_two_versions_work_side_by_side_there_and_back() {
    let mut rehearsal = Rehearsal::new();
    SERVICES.into_iter().for_each(|service| rehearsal.replace(service, |versions| &versions.old));
    rehearsal.goes_on();
    for service in SERVICES {
        println!("the new {service}");
        rehearsal.replace(service, |versions| &versions.new);
        rehearsal.goes_on();
    }
    rehearsal.audit();
    for service in SERVICES {
        if service == "correlator" && !rehearsal.can_go_back() {
            println!("the new correlator stays: the old one cannot read its state, and says so");
            continue;
        }
        println!("back to the old {service}");
        rehearsal.replace(service, |versions| &versions.old);
        rehearsal.goes_on();
    }
    rehearsal.audit();
}
