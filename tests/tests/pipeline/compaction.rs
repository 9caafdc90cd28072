//! History that is gone: one gap record says from where to where, and everything goes on after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::GapReason;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, Signal};

use crate::audit::{Logged, assert_as_undisturbed};
use crate::installation::Installation;
use crate::writer::{PlainWatch, client, mark, write};

const LIMIT: Duration = Duration::from_secs(90);

fn logged(installation: &Installation) -> Logged {
    Logged::of(installation.read(topics::EVENTS_RAW.name).values().flatten())
}

fn version(version: &str) -> u64 {
    version.parse().unwrap()
}

#[test]
fn compacted_history_is_one_gap() {
    let installation = Installation::new(1);
    let plane = ControlPlane::start(Options::default()).unwrap();
    installation.add("a", &plane);
    let exporter = || [installation.service("exporter", "exporter")];
    let services = ["enricher", "correlator", "sink"].map(|service| installation.service(service, service));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(client(&plane));
    let watch = runtime.block_on(PlainWatch::start(client.clone()));
    let writes = |from: u64, to: u64| {
        let done = Arc::new(AtomicU64::new(from));
        runtime.block_on(write(&client, done, move |written| written >= to));
    };
    let until = |what: &str, holds: &dyn Fn(&Logged) -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !holds(&logged(&installation)) {
            assert!(Instant::now() < deadline, "{what}: gaps {:?}", logged(&installation).gaps);
        }
    };

    let mut first = exporter();
    installation.until_watched(&mut first, &["a"]);
    writes(0, 60);
    until("what comes before", &|logged| logged.lacks(&watch.seen()).is_empty());
    first[0].kill().unwrap();
    let before = watch.seen();
    writes(60, 120);
    plane.compact_etcd().unwrap();
    let compacted = watch.seen();
    let mut second = exporter();
    until("the gap", &|logged| !logged.gaps.is_empty());
    // It goes on: what comes now is there, each version.
    let mark = runtime.block_on(mark(&client));
    watch.wait(&mark);
    let after: BTreeSet<_> = watch.seen().difference(&compacted).cloned().collect();
    assert!(!after.is_empty());
    until("what comes after", &|logged| logged.lacks(&after).is_empty());
    second[0].signal(Signal::Term).unwrap();
    second[0].wait(LIMIT).unwrap();

    let logged = logged(&installation);
    logged.assert_each_once(&watch.seen());
    let [gap] = logged.gaps.as_slice() else { panic!("{:?}", logged.gaps) };
    assert_eq!(gap.reason, GapReason::Expired);
    // What it lacks lies within the gap: the versions that were overwritten meanwhile.
    let (from, to) = (version(&gap.from_resource_version), version(&gap.to_resource_version));
    let newest = |seen: &BTreeSet<(String, String)>| seen.iter().map(|(_, at)| version(at)).max().unwrap();
    assert_eq!(from, newest(&before));
    let lost = logged.lacks(&watch.seen());
    assert!(!lost.is_empty() && lost.iter().all(|(_, lost)| (from..=to).contains(&version(lost))), "{gap:?}: {lost:?}");
    let objects: BTreeSet<_> = logged.versions.keys().map(|(uid, _)| uid).collect();
    assert_eq!(objects, watch.seen().iter().map(|(uid, _)| uid).collect::<BTreeSet<_>>(), "no Event is unknown");

    assert_as_undisturbed(&installation, &|| services.iter().map(Process::tail).collect());
}
