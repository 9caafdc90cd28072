//! The recording of a real cluster, against what was injected there.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use super::engine::Engine;

#[derive(Deserialize)]
struct Truth {
    faults: Vec<Injected>,
}

#[derive(Deserialize)]
struct Injected {
    name: String,
    start: jiff::Timestamp,
    accept: Vec<String>,
    affected: Vec<Affected>,
}

#[derive(Deserialize)]
struct Affected {
    kind: String,
    namespace: String,
    name: String,
}

/// The ways in which the recording is taken: which of its files.
const FORMS: [(&str, &[&str]); 3] = [
    ("watch streams", &["watch", "watch-pods", "watch-nodes", "watch-deployments", "watch-replicasets"]),
    ("the Events' watch stream only", &["watch"]),
    ("the List of Events only", &["events"]),
];

/// One line per form: how many injected faults have the right root first in an incident of their own.
pub fn measure(engine: &Engine, verbose: bool) -> anyhow::Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings/shop");
    let truth = std::fs::read_to_string(folder.join("truth.json")).context("tests/recordings/shop/truth.json")?;
    let truth: Truth = serde_json::from_str(&truth)?;
    let mut text = String::from(
        "\n| `tests/recordings/shop`, 19 injected faults | right root | incidents above `info` | of no fault |\n|---|---|---|---|\n",
    );
    for (name, files) in FORMS {
        let mut texts = Vec::new();
        for file in files {
            let suffix = if *file == "events" { "json.gz" } else { "jsonl.gz" };
            let bytes = std::fs::read(folder.join(format!("{file}.{suffix}")))?;
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text)?;
            texts.push((*file, text));
        }
        let outcome = engine.files(texts.iter().map(|(name, text)| (*name, text.as_str())))?;
        let loud: Vec<_> = outcome.guesses.iter().filter(|guess| guess.loud).collect();
        let incident = |id: &str| outcome.incidents.iter().find(|incident| incident.id == id);
        let is_about = |fault: &Injected, guess: &super::Guess| {
            let root = guess.roots.first().map(|root| &root.object);
            let accepted = root.is_some_and(|root| {
                let path = format!("{}/{}/{}", root.kind, root.namespace, root.name);
                fault.accept.iter().any(|pattern| glob(pattern, &path))
            });
            let after = incident(&guess.id).is_some_and(|incident| {
                let start = fault.start.as_millisecond() - 5_000;
                incident.opened_at.as_millis() >= start && incident.opened_at.as_millis() <= start + 240_000
            });
            accepted && after
        };
        let touches = |fault: &Injected, guess: &super::Guess| {
            incident(&guess.id).is_some_and(|incident| {
                incident.members.iter().any(|member| {
                    let about = &member.regarding;
                    fault
                        .affected
                        .iter()
                        .any(|it| (&it.kind, &it.namespace, &it.name) == (&about.kind, &about.namespace, &about.name))
                })
            })
        };
        let right =
            truth.faults.iter().filter(|fault| outcome.guesses.iter().any(|guess| is_about(fault, guess))).count();
        let stray: Vec<_> = loud
            .iter()
            .filter(|guess| !truth.faults.iter().any(|fault| is_about(fault, guess) || touches(fault, guess)))
            .collect();
        if verbose {
            for fault in truth.faults.iter().filter(|fault| !outcome.guesses.iter().any(|guess| is_about(fault, guess)))
            {
                eprintln!("shop, {name}: {} has no right root", fault.name);
            }
            for guess in &outcome.guesses {
                eprintln!("shop, {name}: {}", guess.told());
            }
        }
        writeln!(text, "| {name} | {right} of {} | {} | {} |", truth.faults.len(), loud.len(), stray.len())?;
    }
    Ok(text)
}

/// Whether `path` fits `pattern`, in which `*` stands for anything.
fn glob(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut last = None;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}
