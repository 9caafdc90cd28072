//! Volumes that come late each morning, through every service on a broker: what somebody sees of it, and asks afterwards.

use std::path::Path;
use std::time::Instant;

use epicenter::replay::document;
use epicenter::replay::timeline::Timeline;
use epicenter_model::Incident;
use epicenter_scenarios::{MORNINGS, mornings, play};
use epicenter_tests::process::{self, Process};
use epicenter_tests::{http, ports};
use serde_json::Value;

use crate::site::{LIMIT, Site};

const CLUSTER: &str = "shop";
/// All of the recording.
const MONTH: [&str; 4] = ["--from", "2026-11-01", "--to", "2026-12-01"];

/// Those with that cause, the first that opened first.
fn late_volumes(site: &Site) -> Vec<Incident> {
    let mut found = site.incidents();
    found.retain(|it| it.cause.object.name == "ebs.csi.aws.com" && it.merged_into.is_none());
    found.sort_by_key(|it| it.opened_at);
    found
}

#[test]
fn volumes_that_come_late_each_morning_are_seen_asked_for_and_known_again() {
    let site = Site::new();
    let recording = play(&mornings());
    let contents = recording.files.iter().map(|(name, text)| document::parse(Path::new(name), text).unwrap());
    let records: Vec<_> = Timeline::new(CLUSTER, contents.collect()).records().collect();
    let [console] = ports::free::<1>().unwrap();
    let listen = [("EPICENTER_CONSOLE__LISTEN", format!("127.0.0.1:{console}"))];
    let services = ["enricher", "correlator"].map(|service| site.service(&[service], &[]));
    let mut services = Vec::from(services);
    services.push(site.service(&["sink", "--role", "central"], &[]));
    services.push(site.service(&["console"], &listen));
    services.push(site.start(&[]));
    let tails = |services: &[Process]| services.iter().map(Process::tail).collect::<Vec<_>>().join("\n");
    site.write_raw(CLUSTER, &records);

    let deadline = Instant::now() + LIMIT;
    let days = loop {
        let days = late_volumes(&site);
        // The last record is a heartbeat long after everything.
        if days.len() >= MORNINGS.len() && days.iter().all(|day| day.resolved_at.is_some()) {
            break days;
        }
        assert!(Instant::now() < deadline, "{days:#?}\n{}", tails(&services));
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert_eq!(days.len(), MORNINGS.len(), "each morning is one incident: {days:#?}");
    for (before, day) in days.iter().enumerate() {
        for reason in ["FailedAttachVolume", "FailedMount", "Killing"] {
            assert!(day.events.by_reason.contains_key(reason), "{reason}: {:?}", day.events);
        }
        assert!(day.impact.namespaces.len() > 1, "{:?}", day.impact);
        assert_eq!(day.recurrence.count, before as i64);
    }
    let last = &days[MORNINGS.len() - 1];
    let node = &recording.truth.faults[0].roots[1].2;
    let told = [
        "It happened 5 times in the 30 days before, last on Fri 2026-11-06 09:".to_owned(),
        format!("mostly on node {node}, 5 of them soon after autoscalers had added pods"),
    ];

    // On its page, and in the terminal.
    let typed = |arguments: &[&str]| process::output(&mut site.command(arguments), LIMIT).unwrap();
    let page = loop {
        let (status, page) = http::get(console, &format!("/incidents/{}", last.id)).unwrap_or_default();
        if status == 200 {
            break page;
        }
        assert!(Instant::now() < deadline, "{status} {page}\n{}", tails(&services));
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    let shown = typed(&["show", &last.id]);
    for text in &told {
        assert!(page.contains(text.as_str()), "{text} is not in\n{page}");
        assert!(shown.contains(text.as_str()), "{text} is not in\n{shown}");
    }
    assert!(page.contains(&days[0].id) || page.contains(&days[4].id), "it leads to those of before");

    // A question for the month: by the archive, and what it has not written yet by the log.
    let asked = |what: &[&str]| -> Value {
        let began = Instant::now();
        let answer = serde_json::from_str(&typed(&[what, &MONTH, &["-o", "json"]].concat())).unwrap();
        println!("{what:?} within {} ms", began.elapsed().as_millis());
        answer
    };
    let rows = |what: &[&str]| asked(what)["rows"].as_array().cloned().unwrap_or_default();
    let mut found = rows(&["query", "incidents", "--class", &last.cause.class, "--limit", "100"]);
    found.retain(|row| row["state"] != "merged");
    let ids: Vec<_> = found.iter().map(|row| row["incident"].as_str().unwrap()).collect();
    assert!(days.iter().rev().map(|day| day.id.as_str()).eq(ids.iter().copied()), "{ids:?}");
    let events = rows(&["query", "events", "--incident", &last.id, "--limit", "1000"]);
    let reasons = |reason: &str| events.iter().filter(|row| row["reason"] == reason).count();
    assert!(reasons("FailedMount") > 0 && reasons("FailedAttachVolume") > 0, "{events:#?}");
    let sums = asked(&["aggregate", "incidents", "--by", "class"]);
    let sum = sums.as_array().unwrap().iter().find(|row| row["class"] == last.cause.class).unwrap();
    assert!(sum["incidents"].as_i64() >= Some(MORNINGS.len() as i64), "{sum}");
    for mut service in services {
        assert!(service.ended().unwrap().is_none(), "{}", service.tail());
        service.kill().unwrap();
    }
}
