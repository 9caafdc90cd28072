//! Recordings of real clusters, against what was injected there: all folders of `tests/recordings` with a `truth.json`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use epicenter_model::{Incident, ObjectRef};
use serde::Deserialize;

use super::Guess;
use super::engine::{Engine, Outcome};
use crate::report::Report;

/// How long after its beginning a fault may first be seen.
const SEEN_WITHIN_MS: i64 = 235_000;
/// How far the clocks of who injects and who reports may be apart.
const SKEW_MS: i64 = 5_000;

/// What a recording's `truth.json` says.
#[derive(Deserialize)]
struct Truth {
    faults: Vec<Injected>,
    /// How many faults had an incident with the right root when the engine first met the recording, in each form; absent where
    /// rules were written with it at hand.
    first_look: Option<[usize; 3]>,
}

#[derive(Deserialize)]
struct Injected {
    name: String,
    start: jiff::Timestamp,
    /// The roots that count as right, as Kind/namespace/name with `*` for anything.
    accept: Vec<String>,
    affected: Vec<Affected>,
}

#[derive(Deserialize)]
struct Affected {
    kind: String,
    namespace: String,
    name: String,
}

/// A way in which a recording is taken: which of its files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Watches,
    EventsWatch,
    EventsList,
}

impl Form {
    const ALL: [Self; 3] = [Self::Watches, Self::EventsWatch, Self::EventsList];

    fn name(self) -> &'static str {
        match self {
            Self::Watches => "watch streams",
            Self::EventsWatch => "the Events' watch stream only",
            Self::EventsList => "the List of Events only",
        }
    }

    fn has(self, file: &str) -> bool {
        match self {
            Self::Watches => file.starts_with("watch") && file.ends_with(".jsonl.gz"),
            Self::EventsWatch => file == "watch.jsonl.gz",
            Self::EventsList => file == "events.json.gz",
        }
    }
}

/// What came of a recording, taken in one way.
struct Judged {
    recording: String,
    form: Form,
    faults: usize,
    first_look: Option<usize>,
    /// Names of the faults of which no incident above `info` has the right root.
    missed: Vec<String>,
    outcome: Outcome,
    /// What each incident above `info` is, in the outcome's order.
    verdicts: Vec<(Verdict, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    /// The root of this fault is right in another incident.
    Again,
    /// It has Events of a fault, and another root.
    WrongRoot,
    NoFault,
}

/// Adds the section: a line per recording and form, how many injected faults have an incident with the right root, and what
/// else is told. Says each incident on standard error where `verbose`.
pub fn measure(report: &mut Report, engine: &Engine, verbose: bool) -> anyhow::Result<()> {
    let mut text = String::from(
        "| recording, taken as | right root | at first look | incidents above `info` | second of a fault | of a fault, with a \
         wrong root | of no fault |\n|---|---|---|---|---|---|---|\n",
    );
    for judged in judge_all(engine)? {
        if verbose {
            eprintln!("{}", judged.told()?);
        }
        let count = |verdict| judged.verdicts.iter().filter(|(it, _)| *it == verdict).count();
        writeln!(
            text,
            "| `{}`: {} | {} of {} | {} | {} | {} | {} | {} |",
            judged.recording,
            judged.form.name(),
            judged.faults - judged.missed.len(),
            judged.faults,
            judged.first_look.map_or("–".to_owned(), |first| first.to_string()),
            judged.verdicts.len(),
            count(Verdict::Again),
            count(Verdict::WrongRoot),
            count(Verdict::NoFault),
        )?;
    }
    report.section("Recordings of real clusters", &text);
    Ok(())
}

/// What is told of all recordings, incident by incident.
#[cfg(test)]
pub fn told(engine: &Engine) -> anyhow::Result<String> {
    judge_all(engine)?.iter().map(|judged| Ok(judged.told()?)).collect()
}

fn judge_all(engine: &Engine) -> anyhow::Result<Vec<Judged>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let folders: Result<Vec<PathBuf>, std::io::Error> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut folders = folders?;
    folders.retain(|folder| folder.join("truth.json").exists());
    folders.sort();
    let pairs = folders.iter().flat_map(|folder| Form::ALL.map(|form| (folder, form)));
    pairs.map(|(folder, form)| judge(engine, folder, form).with_context(|| folder.display().to_string())).collect()
}

fn judge(engine: &Engine, folder: &Path, form: Form) -> anyhow::Result<Judged> {
    let truth: Truth = serde_json::from_str(&std::fs::read_to_string(folder.join("truth.json"))?)?;
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if form.has(&name) {
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(&std::fs::read(entry.path())?[..]).read_to_string(&mut text)?;
            texts.push((name, text));
        }
    }
    texts.sort();
    let outcome = engine.files(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
    let incident = |guess: &Guess| outcome.incidents.iter().find(|incident| incident.id == guess.id);
    let is_right = |fault: &Injected, guess: &Guess| {
        guess.loud
            && guess.roots.first().is_some_and(|root| fault.accepts(&root.object))
            && incident(guess).is_some_and(|incident| fault.is_time_of(incident))
    };
    let mut found: Vec<&str> = Vec::new();
    let mut verdicts = Vec::new();
    for guess in outcome.guesses.iter().filter(|guess| guess.loud) {
        // Of several faults with that root, the newest that has none yet.
        let right = truth.faults.iter().filter(|fault| is_right(fault, guess));
        let right = right.max_by_key(|fault| (!found.contains(&fault.name.as_str()), fault.start));
        let touches = |fault: &&Injected| incident(guess).is_some_and(|incident| fault.touches(incident));
        verdicts.push(match (right, truth.faults.iter().find(touches)) {
            (Some(fault), _) if found.contains(&fault.name.as_str()) => (Verdict::Again, fault.name.clone()),
            (Some(fault), _) => {
                found.push(&fault.name);
                (Verdict::Right, fault.name.clone())
            }
            (None, Some(fault)) => (Verdict::WrongRoot, fault.name.clone()),
            (None, None) => (Verdict::NoFault, String::new()),
        });
    }
    let missed = truth.faults.iter().filter(|fault| !found.contains(&fault.name.as_str()));
    let missed = missed.map(|fault| fault.name.clone()).collect();
    let recording = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first_look = truth.first_look.zip(Form::ALL.iter().position(|known| *known == form));
    let first_look = first_look.map(|(first, index)| first[index]);
    Ok(Judged { recording, form, faults: truth.faults.len(), first_look, missed, outcome, verdicts })
}

impl Judged {
    fn told(&self) -> Result<String, std::fmt::Error> {
        let mut text = format!("{}, {}\n", self.recording, self.form.name());
        for name in &self.missed {
            writeln!(text, "  {name} has no right root")?;
        }
        let loud = self.outcome.guesses.iter().filter(|guess| guess.loud);
        for (guess, (verdict, fault)) in loud.zip(&self.verdicts) {
            let verdict = match verdict {
                Verdict::Right => fault.clone(),
                Verdict::Again => format!("{fault}, again"),
                Verdict::WrongRoot => format!("{fault}, WRONG ROOT"),
                Verdict::NoFault => "NO FAULT".to_owned(),
            };
            writeln!(text, "  -> {} [{verdict}]", guess.told())?;
        }
        Ok(text)
    }
}

impl Injected {
    fn accepts(&self, root: &ObjectRef) -> bool {
        let path = format!("{}/{}/{}", root.kind, root.namespace, root.name);
        self.accept.iter().any(|pattern| glob(pattern, &path))
    }

    fn is_time_of(&self, incident: &Incident) -> bool {
        let after = incident.opened_at.as_millis() - self.start.as_millisecond();
        (-SKEW_MS..=SEEN_WITHIN_MS).contains(&after)
    }

    fn touches(&self, incident: &Incident) -> bool {
        let is = |it: &Affected, about: &epicenter_model::MemberObject| {
            (&it.kind, &it.namespace, &it.name) == (&about.kind, &about.namespace, &about.name)
        };
        incident.members.iter().any(|member| self.affected.iter().any(|it| is(it, &member.regarding)))
    }
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
