//! What comes back: several days of a made-up cluster, replayed in a moment.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::process::Command;

use epicenter_model::{Hours, Incident, Recurrence};
use epicenter_scenarios::{MORNINGS, Recording, mornings, play};

fn replay(recording: &Recording, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |(name, text): (&String, &String)| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files: Vec<PathBuf> = recording.files.iter().map(write).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_epicenter"));
    command.env_clear().env("HOME", "/nonexistent").arg("replay").args(files).args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn volumes_that_come_late_each_morning_are_one_incident_a_day_that_knows_the_others() {
    let recording = play(&mornings());
    let incidents: Vec<Incident> = serde_json::from_str(&replay(&recording, &["-o", "json"])).unwrap();
    let driver =
        |incident: &&Incident| incident.cause.object.name == "ebs.csi.aws.com" && incident.merged_into.is_none();
    let mut days: Vec<&Incident> = incidents.iter().filter(driver).collect();
    days.sort_by_key(|incident| incident.opened_at);
    assert_eq!(days.len(), MORNINGS.len(), "{incidents:#?}");
    for (before, day) in days.iter().enumerate() {
        let reasons: Vec<&str> = day.events.by_reason.keys().map(String::as_str).collect();
        for reason in ["FailedAttachVolume", "FailedMount", "Killing"] {
            assert!(reasons.contains(&reason), "{reason} is part of the one incident of its day: {reasons:?}");
        }
        assert!(day.impact.namespaces.len() > 1, "{:?}", day.impact);
        assert_eq!(day.recurrence.count, before as i64);
    }
    let node = &recording.truth.faults[0].roots[1].2;
    let last = days[5];
    let Recurrence { previous, first_at, last_at, hours, place, scaled_up, ended, .. } = &last.recurrence;
    let earlier: Vec<&String> = days[..5].iter().rev().map(|day| &day.id).collect();
    assert_eq!(previous.iter().collect::<Vec<_>>(), earlier);
    assert_eq!((*first_at, *last_at), (Some(days[0].opened_at), Some(days[4].opened_at)));
    let working = ["Mon", "Tue", "Wed", "Thu", "Fri"].map(str::to_owned).to_vec();
    assert_eq!(*hours, Some(Hours { days: working, from_hour: 9, to_hour: 10, count: 5 }));
    let place = place.as_ref().unwrap();
    assert_eq!((place.object.name.as_str(), place.count), (node.as_str(), 5));
    assert_eq!(*scaled_up, 5, "each time autoscalers had added pods: there was traffic");
    assert!(ended.is_some());
    let told = last.explanation.iter().find(|sentence| sentence.starts_with("It happened")).unwrap();
    assert!(told.starts_with("It happened 5 times in the 30 days before, last on Fri 2026-11-06 09:"), "{told}");
    assert!(told.contains(&format!(", mostly Mon-Fri between 09:00 and 10:00 UTC, mostly on node {node}, 5 of them soon after autoscalers had added pods; the last one ended after ")), "{told}");
    let table = replay(&recording, &[]);
    let line = table.lines().find(|line| line.starts_with(&last.id)).unwrap();
    assert!(line.contains("  5×  "), "{line}");
}
