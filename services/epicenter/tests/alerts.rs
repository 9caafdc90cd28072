//! `epicenter alerts` and the guide's example, as a user runs them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_epicenter"));
    command.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
    command.args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn shop() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/shop/events.json.gz").display().to_string()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("alerts.yaml");
    std::fs::write(&file, text).unwrap();
    (directory, file)
}

/// The file that the guide shows.
fn guide() -> String {
    let guide = include_str!("../../../docs/guide.md");
    let (_, section) = guide.split_once("\n## Alerts\n").unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with("    # alerts.yaml"));
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    block.map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn check_tells_all_that_is_wrong_or_that_nothing_is() {
    let check = |content: &str, code: i32, expected: &str| {
        let (_directory, file) = file(content);
        let output = run(&["alerts", "check", &file.display().to_string()], &[]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    };
    check(&guide(), 0, "the file is right: 4 receiver(s), 4 rule(s)");
    check(
        "receivers: [{name: x, stdout: {}}]\nrules: [{name: a, receivers: [z]}]",
        65,
        "alerts.yaml:2: rules[0].receivers: ",
    );
    let output = run(&["alerts", "check", "/nonexistent.yaml"], &[]);
    assert_eq!(output.status.code(), Some(66), "{}", said(&output));
}

#[test]
fn test_says_who_would_be_told_of_what() {
    let (_directory, file) = file(&guide());
    let file = file.display().to_string();
    let output = run(&["alerts", "test", &file, &shop(), "-o", "json"], &[]);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let told = |receiver: &str, notice: &str| {
        let of = rows.iter().filter(|row| row["receiver"] == receiver && row["notice"] == notice);
        of.map(|row| row["incident"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (all, serious) = (told("screen", "firing"), told("chat", "firing"));
    assert!(all.len() > serious.len() && serious.len() > 5, "{all:?} {serious:?}");
    assert_eq!(told("alertmanager", "firing"), all);
    assert!(serious.iter().all(|id| all.contains(id)));
    for id in told("screen", "resolved") {
        assert!(all.contains(&id), "what was never told is not over");
    }
    let storage = told("tickets", "firing");
    let classes = rows.iter().filter(|row| row["receiver"] == "tickets");
    assert!(
        !storage.is_empty()
            && classes.map(|row| &row["body"]["data"]["incident"]["category"]).all(|it| it == "storage")
    );
    let keys: std::collections::BTreeSet<_> =
        rows.iter().map(|row| format!("{} {}", row["receiver"], row["key"])).collect();
    assert_eq!(keys.len(), rows.len(), "each once by key");
    for row in rows.iter().filter(|row| row["receiver"] == "alertmanager") {
        let alert = &row["body"][0];
        assert_eq!(
            (&alert["labels"]["alertname"], &alert["labels"]["incident"]),
            (&"EpicenterIncident".into(), &row["incident"])
        );
        assert!(alert["startsAt"].as_str() < alert["endsAt"].as_str(), "{alert}");
    }

    let one = run(&["alerts", "test", &file, &shop(), "--incident", &all[0]], &[]);
    let lines = said(&one);
    assert!(!lines.is_empty() && lines.lines().all(|line| line.contains(&all[0])), "{lines}");
}

#[test]
fn a_file_that_is_wrong_is_told_as_configuration() {
    let (_directory, file) = file("receivers: 1");
    let set = [("EPICENTER_ALERTS__FILE", file.as_path())];
    let output = run(&["config", "check"], &set);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("alerts.yaml:1: receivers: must be a list"), "{}", said(&output));
    let output = run(&["alerts", "run"], &[]);
    assert!(said(&output).contains("name a file of alerts in alerts.file"), "{}", said(&output));
}
