//! The binary, as a user runs it: what it prints, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use epicenter_model::Incident;

fn epicenter() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_epicenter"));
    command.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/bin:/bin");
    command
}

fn run(arguments: &[&str]) -> Output {
    epicenter().args(arguments).output().unwrap()
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The Events of a recording, as a List.
fn listed(name: &str) -> Vec<serde_json::Value> {
    let mut json = String::new();
    let file = std::fs::File::open(recording(name)).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut json).unwrap();
    serde_json::from_str::<serde_json::Value>(&json).unwrap()["items"].as_array().unwrap().clone()
}

fn list(items: &[serde_json::Value]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items})).unwrap()
}

/// Replays standard input; gives what is printed.
fn replay_stdin(bytes: &[u8], more: &[&str]) -> Output {
    let mut command = epicenter();
    command.args(["replay", "-", "-o", "json"]).args(more);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

fn incidents(output: &Output) -> Vec<Incident> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn check_error(output: &Output, code: i32, expected: &str) {
    let stderr = text(&output.stderr);
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

#[test]
fn replay_gives_the_same_bytes_for_the_same_events_in_any_order() {
    let mut items = listed("shop/events.json.gz");
    let first = replay_stdin(&list(&items), &[]);
    assert!(!incidents(&first).is_empty());
    items.reverse();
    items.rotate_left(100);
    assert!(first.stdout == replay_stdin(&list(&items), &[]).stdout, "the order of a List matters");
    assert!(first.stdout == replay_stdin(&list(&items), &[]).stdout, "two runs differ");
}

#[test]
fn replay_takes_any_mixture_of_files() {
    let files: Vec<String> =
        ["shop/watch.jsonl.gz", "shop/watch-pods.jsonl.gz", "shop/objects.json.gz", "shop/events.json.gz"]
            .iter()
            .map(|name| recording(name).display().to_string())
            .collect();
    let run_with = |order: [usize; 4]| {
        let mut command = epicenter();
        command.args(["replay", "-o", "json", "--cluster", "shop"]);
        command.args(order.iter().map(|index| files[*index].clone()));
        command.output().unwrap()
    };
    let output = run_with([0, 1, 2, 3]);
    let found = incidents(&output);
    assert!(found.len() > 5, "{} incidents of 19 faults", found.len());
    assert!(found.iter().all(|incident| incident.cluster == "shop"));
    assert!(found.iter().any(|incident| incident.members.iter().any(|member| member.because.is_some())));
}

#[test]
fn replay_reads_both_api_groups() {
    // The same Events, as events.k8s.io/v1 spells them.
    let core = listed("troubleshoot/message-image-pull-fail.json.gz");
    let renamed: Vec<serde_json::Value> = core
        .iter()
        .map(|event| {
            let mut event = event.as_object().unwrap().clone();
            event.insert("apiVersion".into(), "events.k8s.io/v1".into());
            event.insert("kind".into(), "Event".into());
            for (old, new) in [
                ("involvedObject", "regarding"),
                ("message", "note"),
                ("reportingComponent", "reportingController"),
                ("source", "deprecatedSource"),
                ("count", "deprecatedCount"),
                ("firstTimestamp", "deprecatedFirstTimestamp"),
                ("lastTimestamp", "deprecatedLastTimestamp"),
            ] {
                if let Some(value) = event.remove(old) {
                    event.insert(new.into(), value);
                }
            }
            event.into()
        })
        .collect();
    let (old, new) = (replay_stdin(&list(&core), &[]), replay_stdin(&list(&renamed), &[]));
    assert!(!incidents(&old).is_empty());
    assert_eq!(text(&old.stdout), text(&new.stdout));
}

#[test]
fn replay_passes_over_a_bad_item_and_says_so() {
    let mut items = listed("troubleshoot/message-image-pull-fail.json.gz");
    let good = replay_stdin(&list(&items), &[]);
    items.insert(1, serde_json::json!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": 7}}));
    items.insert(3, serde_json::json!("hello"));
    let output = replay_stdin(&list(&items), &[]);
    assert_eq!(text(&output.stdout), text(&good.stdout));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("-: item 2 is passed over: malformed at `metadata.name`"), "{stderr}");
    assert!(stderr.contains("-: item 4 is passed over"), "{stderr}");
}

#[test]
fn replay_says_what_is_wrong_with_a_file_and_where() {
    let whole = list(&listed("troubleshoot/message-image-pull-fail.json.gz"));
    check_error(&replay_stdin(&whole[..whole.len() / 2], &[]), 65, "-: it is cut off at line 1 column");
    check_error(&replay_stdin(b"", &[]), 65, "-: it is empty");
    check_error(&replay_stdin(b"hello", &[]), 65, "-: no JSON");
    check_error(&replay_stdin(b"apiVersion: v1\nkind: [\n", &[]), 65, "-: no YAML");
    check_error(&replay_stdin(b"{\"a\":[1,2]}", &[]), 65, "document 1 (line 1) is no Kubernetes object");
    check_error(&replay_stdin(br#"{"kind":"List","apiVersion":"v1","items":[]}"#, &[]), 65, "there is no Event in -");
    let zipped = std::fs::read(recording("shop/events.json.gz")).unwrap();
    check_error(&replay_stdin(&zipped[..zipped.len() / 2], &[]), 65, "the gzip stream has no end");
    check_error(&run(&["replay", "/no/such/file"]), 66, "/no/such/file: No such file");
    check_error(&run(&["replay"]), 64, "<FILE>");
}

#[test]
fn demo_explains_what_happened() {
    let output = run(&["demo"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(stdout.contains("epc-"), "{stdout}");
    assert!(stdout.matches("Cause: ").count() > 5, "{stdout}");
}

#[test]
fn configuration_errors_come_all_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("epicenter.yaml");
    std::fs::write(&file, "bus: {kafka: {bootstap: x}}\nadmin: {listen: 7, port: 1}\nbus2: 1\n").unwrap();
    let output = epicenter()
        .args(["config", "check", "--config"])
        .arg(&file)
        .env("EPICENTER_BUS__LOCAL__PARTITIONS", "many")
        .output()
        .unwrap();
    check_error(&output, 78, "epicenter.yaml: bus.kafka.bootstap: unknown field `bootstap`");
    check_error(&output, 78, "epicenter.yaml: admin.port: unknown field `port`");
    check_error(&output, 78, "epicenter.yaml: bus2: unknown field `bus2`");
    check_error(&output, 78, "EPICENTER_BUS__LOCAL__PARTITIONS: bus.local.partitions: found string \"many\"");
}

#[test]
fn defaults_are_a_right_configuration() {
    let defaults = run(&["config", "defaults"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("epicenter.yaml");
    std::fs::write(&file, &defaults.stdout).unwrap();
    let shown = epicenter().args(["config", "show", "--config"]).arg(&file).output().unwrap();
    assert_eq!(text(&shown.stdout), text(&defaults.stdout), "{}", text(&shown.stderr));
}

#[test]
fn what_needs_something_says_what() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    check_error(&run(&["incidents", "--data-dir", &path]), 1, "start `epicenter up`");
    check_error(&run(&["enricher"]), 1, "set bus.kafka.bootstrap");
    check_error(&run(&["up", "--data-dir", &path, "--kubeconfig", "/no/such"]), 1, "kubeconfig /no/such");
    check_error(&run(&["topics", "check"]), 1, "set bus.kafka.bootstrap");
}

#[test]
fn a_directory_in_use_names_the_process_that_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = epicenter_bus::LocalConfig {
        directory: directory.path().to_owned(),
        partitions: 1,
        retention: std::time::Duration::from_secs(3600),
    };
    let _held = epicenter_bus::Bus::local(config).unwrap();
    std::fs::write(directory.path().join("pid"), "4711").unwrap();
    let path = directory.path().display().to_string();
    check_error(&run(&["incidents", "--data-dir", &path]), 69, "process 4711 is using");
}

#[test]
fn prints_the_custom_resource_definition() {
    let output = run(&["crd"]);
    assert!(text(&output.stdout).contains("kind: CustomResourceDefinition"));
    assert!(text(&output.stdout).contains("group: epicenter.dev"));
}

#[test]
fn kubectl_finds_it_as_a_plugin_and_help_says_what_to_type() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-epicenter");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_epicenter"), &plugin).unwrap();
    let say = |program: &std::path::Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env_clear().output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let own = std::path::Path::new(env!("CARGO_BIN_EXE_epicenter"));
    for (arguments, as_plugin, by_itself) in [
        (&["--help"][..], "Usage: kubectl epicenter ", "Usage: epicenter "),
        (&["--help"], "\n  kubectl epicenter demo ", "\n  epicenter demo "),
        (&["--help"], "-o json | kubectl epicenter replay -", "-o json | epicenter replay -"),
        (&["show", "--help"], "Usage: kubectl epicenter show ", "Usage: epicenter show "),
        (&["replay", "--help"], "> events.json; kubectl epicenter replay", "> events.json; epicenter replay"),
        (&["rules", "test", "--help"], "Usage: kubectl epicenter rules test ", "Usage: epicenter rules test "),
        (&["shwo"], "Usage: kubectl epicenter ", "Usage: epicenter "),
    ] {
        let (plugin, own) = (say(&plugin, arguments), say(own, arguments));
        assert!(plugin.contains(as_plugin), "{plugin}");
        assert!(own.contains(by_itself) && !own.contains("kubectl epicenter"), "{own}");
    }
}

#[test]
fn shells_take_the_completion() {
    for (shell, part) in
        [("bash", "complete -F _epicenter"), ("zsh", "#compdef epicenter"), ("fish", "complete -c epicenter")]
    {
        let output = run(&["completion", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(part) && script.contains("timeline"), "{script}");
    }
}
