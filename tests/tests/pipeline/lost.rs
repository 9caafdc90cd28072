//! Topics that are lost under a whole installation: what happened meanwhile is in the log, with a gap, and nothing is told twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::{Codec, GapReason, RawRecord};
use epicenter_tests::kube::{ControlPlane, Options};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::PostParams;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use crate::audit::{Logged, Version, enriched_versions};
use crate::installation::Installation;
use crate::writer::{client, event};

const LIMIT: Duration = Duration::from_secs(120);

/// Deletes a topic, and lets `epicenter topics create` create it again.
fn recreate(installation: &Installation, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", installation.kafka.bootstrap()).create().unwrap();
    let name = format!("epicenter.{topic}");
    let deleted = futures::executor::block_on(admin.delete_topics(&[&name], &AdminOptions::new())).unwrap();
    deleted.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    let deadline = Instant::now() + LIMIT;
    loop {
        let (done, said) = says(installation, &["topics", "create"]);
        if done && said.contains(&name) {
            return;
        }
        assert!(Instant::now() < deadline, "{said}");
    }
}

/// Whether a command is content, and what it says.
fn says(installation: &Installation, command: &[&str]) -> (bool, String) {
    let output = installation.command(command).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned())
}

fn logged(installation: &Installation) -> Logged {
    Logged::of(installation.read(topics::EVENTS_RAW.name).values().flatten())
}

#[test]
fn lost_positions_and_lost_events_are_a_gap() {
    let installation = Installation::new(1);
    let plane = ControlPlane::start(Options::default()).unwrap();
    installation.add("a", &plane);
    let exporter = |name: &str| [installation.service(name, "exporter")];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let events: Api<Event> = Api::namespaced(runtime.block_on(client(&plane)), "default");
    let mut written = BTreeSet::new();
    let mut write_as = |name: &str, numbers: std::ops::Range<usize>| -> BTreeSet<Version> {
        for n in numbers {
            let text = "Back-off restarting failed container app";
            let event = event(&format!("{name}-{n}"), &format!("web-{n}"), "BackOff", text);
            let made = runtime.block_on(events.create(&PostParams::default(), &event)).unwrap().metadata;
            written.insert((made.uid.unwrap(), made.resource_version.unwrap()));
        }
        written.clone()
    };
    let until = |what: &str, holds: &dyn Fn(&Logged) -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !holds(&logged(&installation)) {
            assert!(Instant::now() < deadline, "{what}: gaps {:?}", logged(&installation).gaps);
        }
    };
    let the_gap = || {
        let [gap] = &logged(&installation).gaps[..] else { panic!("{:?}", logged(&installation).gaps) };
        assert_eq!(gap.reason, GapReason::Lost);
        gap.clone()
    };

    let mut first = exporter("first");
    let enricher = installation.service("enricher", "enricher");
    installation.until_watched(&mut first, &["a"]);
    let all = write_as("lost", 0..20);
    until("what comes before", &|logged| logged.lacks(&all).is_empty());
    // An Event's own time has whole seconds: what comes in the one in which the position was lost is new or not, who knows.
    std::thread::sleep(Duration::from_millis(1500));
    let all = write_as("between", 0..1);
    until("what comes last", &|logged| logged.lacks(&all).is_empty());
    first[0].kill().unwrap();
    let last = installation.read(topics::EVENTS_RAW.name)[&0].last().unwrap().timestamp;
    std::thread::sleep(Duration::from_millis(1500));
    let mut write = |numbers| write_as("lost", numbers);
    write(20..30);
    recreate(&installation, topics::POSITIONS.name);
    let _second = exporter("second");
    until("the gap", &|logged| !logged.gaps.is_empty());
    let all = write(30..40);
    until("what comes after", &|logged| logged.lacks(&all).is_empty());
    let gap = the_gap();
    assert!((gap.from.as_millis() - last).abs() < 500, "{gap:?} begins at {last}");
    // What happened meanwhile is new, and what was there before is not.
    let mut news = 0;
    for record in &installation.read(topics::EVENTS_RAW.name)[&0] {
        let raw = RawRecord::decode(&Codec::single_object(), record.payload.as_ref().unwrap()).unwrap();
        if let RawRecord::Event(raw) = raw
            && raw.epoch > 0
            && let Some(n) = raw.event.name.strip_prefix("lost-")
        {
            assert_eq!(raw.backfill, n.parse::<usize>().unwrap() < 20, "{raw:?}");
            news += usize::from(!raw.backfill);
        }
    }
    assert_eq!(news, 20);
    let told = |all: &BTreeSet<Version>| {
        let deadline = Instant::now() + LIMIT;
        loop {
            let enriched = installation.read(topics::EVENTS_ENRICHED.name);
            let told = enriched_versions(enriched.values().flatten());
            let repeated: Vec<_> =
                told.iter().filter(|(version, count)| all.contains(version) && **count > 1).collect();
            assert!(repeated.is_empty(), "told twice: {repeated:?}");
            if all.iter().all(|version| told.contains_key(version)) {
                return;
            }
            assert!(Instant::now() < deadline, "the enricher does not go on\n{}", enricher.tail());
        }
    };
    told(&all);

    recreate(&installation, topics::EVENTS_RAW.name);
    let all = write(40..60);
    let deadline = Instant::now() + LIMIT;
    while says(&installation, &["topics", "recover", "--dry-run"]).0 {
        assert!(Instant::now() < deadline, "nothing is lost\n{}", enricher.tail());
    }
    let (_, said) = says(&installation, &["doctor"]);
    assert!(said.contains("WRONG  log: enricher/0: epicenter.events.raw was read up to"), "{said}");
    let (done, said) = says(&installation, &["topics", "recover"]);
    assert!(done && said.contains("list their clusters anew, with a gap"), "{said}");
    until("the gap of what was not read", &|logged| !logged.gaps.is_empty());
    until("every Event", &|logged| logged.lacks(&all).is_empty());
    the_gap();
    told(&all);
    assert_eq!(says(&installation, &["topics", "recover", "--dry-run"]), (true, "nothing is lost\n".to_owned()));
}
