//! `epicenter rules`, `replay --explain` and the guide's example, as a user runs them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_epicenter"));
    command.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shop() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/shop/events.json.gz").display().to_string()
}

/// A directory with one file of rules.
fn rules(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.yaml");
    std::fs::write(&file, text).unwrap();
    (directory, file)
}

/// The rules that the guide shows.
fn guide() -> String {
    let guide = include_str!("../../../docs/guide.md");
    let (_, section) = guide.split_once("\n## Your own rules\n").unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with("    # rules.yaml"));
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    block.map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn list_shows_what_is_built_in_and_what_is_ones_own() {
    let (_directory, file) = rules(&guide());
    let file = file.display().to_string();
    let json = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let output = run(arguments, &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (builtin, with) = (json(&["rules", "list", "-o", "json"]), json(&["rules", "list", &file, "-o", "json"]));
    let of = |listed: &[serde_json::Value], section: &str| listed.iter().filter(|it| it["section"] == section).count();
    for (section, least) in [("classes", 200), ("rules", 70), ("common", 3), ("quiet", 5), ("roots", 20), ("events", 0)]
    {
        assert!(of(&builtin, section) >= least, "{section}: {}", of(&builtin, section));
        assert!(of(&with, section) >= of(&builtin, section), "{section}");
    }
    assert!(builtin.iter().all(|it| it["from"] == "built-in"));
    let own: Vec<_> = with.iter().filter(|it| it["from"] != "built-in").collect();
    assert!(of(&with, "events") > 0 && own.len() == with.len() - builtin.len(), "{own:#?}");
    let table = text(&run(&["rules", "list", &file], &[]).stdout);
    assert_eq!(table.lines().count(), with.len() + 1);
    assert!(table.starts_with("SECTION") && with.iter().all(|it| table.contains(it["name"].as_str().unwrap())));
}

#[test]
fn check_tells_all_that_is_wrong_or_that_nothing_is() {
    let check = |content: &str, code: i32, expected: &[&str]| {
        let (_directory, file) = rules(content);
        let output = run(&["rules", "check", &file.display().to_string()], &[]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{said}\nlacks one of {expected:?}");
    };
    check(&guide(), 0, &["1 file(s) of rules are right; their hash is "]);
    check(
        "events:\n- {id: a, when: 'event.reson == \"A\"', then: drop}\n- {id: a, classes: [crahs.*], then: keep}\n",
        65,
        &[
            "3 place(s)",
            "mine.yaml:2: events[0].when: ",
            "mine.yaml:3: events[1].id: ",
            "mine.yaml:3: events[1].classes: ",
        ],
    );
    let output = run(&["rules", "check", "/nonexistent.yaml"], &[]);
    assert_eq!(output.status.code(), Some(66), "{}", text(&output.stderr));
    assert_eq!(run(&["rules", "check"], &[]).status.code(), Some(64));
}

#[test]
fn test_shows_what_the_guides_rules_would_change() {
    let (_directory, file) = rules(&guide());
    let file = file.display().to_string();
    let output = run(&["rules", "test", &file, &shop(), "-o", "json"], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |key: &str| found[key].as_array().unwrap().clone();
    assert!(list("dropped").iter().any(|events| events["before"]["class"] == "probe.readiness"), "{found:#}");
    let lowered =
        |events: &serde_json::Value| events["after"]["severity"] == "low" && events["before"]["severity"] != "low";
    assert!(list("changed").iter().any(lowered), "{found:#}");
    assert!(!(list("change").is_empty() && list("vanish").is_empty()), "{found:#}");

    let told = text(&run(&["rules", "test", &file, &shop()], &[]).stdout);
    assert!(
        told.contains("Events that would be dropped\n  ") && told.contains(" × Unhealthy: probe.readiness ("),
        "{told}"
    );
    let (_directory, nothing) = rules("");
    let told = text(&run(&["rules", "test", &nothing.display().to_string(), &shop()], &[]).stdout);
    assert_eq!(told, "nothing would change\n");
}

#[test]
fn configured_rules_are_in_force_and_wrong_ones_are_told_as_configuration() {
    let (directory, _file) = rules("events: [{id: all, when: 'true', then: drop}]");
    let set = [("EPICENTER_RULES__DIRECTORY", directory.path())];
    assert_eq!(text(&run(&["replay", "-o", "json", &shop()], &set).stdout), "[]\n");
    assert_eq!(run(&["config", "check"], &set).status.code(), Some(0));
    std::fs::write(directory.path().join("other.yaml"), "events: 1").unwrap();
    for arguments in [&["config", "check"][..], &["replay", &shop()]] {
        let output = run(arguments, &set);
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output.stderr).contains("other.yaml:1: events: must be a list"), "{}", text(&output.stderr));
    }
}

#[test]
fn explain_draws_the_tree_of_each_incident_with_the_rules_sentences() {
    let told = text(&run(&["replay", "--explain", &shop()], &[]).stdout);
    for part in ["● high  ", "  Look at: kubectl ", "  Why:\n    ", " (root", "    ├─ ", "    └─ ", ", by ", " later, "]
    {
        assert!(told.contains(part), "{part:?} is missing in\n{told}");
    }
    assert_eq!(run(&["replay", "--explain", "-o", "json", &shop()], &[]).status.code(), Some(64));
}
