//! The catalogue: reads the files, and says what an Event means.

use std::sync::{Arc, LazyLock};

use epicenter_model::{Category, Entity, Event, Role, Severity};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::builder::Builder;
use crate::builtin;
use crate::class::Classes;
use crate::entry::{Entry, Meaning, Reading};
use crate::source::{CatalogError, EntryFile, read};

/// The file that holds the class table.
pub(crate) const CLASSES: &str = "classes.yaml";

/// How much of a message is looked at, bytes. Messages can have 64 KiB; what tells them apart stands at their beginning.
const LOOKED_AT: usize = 4096;

/// What client-go's recorder puts before the message of an aggregated Event (client-go `tools/record/events_cache.go`).
const COMBINED: &str = "(combined from similar events): ";

/// What the Events of a cluster mean.
#[derive(Debug)]
pub struct Catalog {
    pub(crate) classes: Classes,
    pub(crate) entries: Vec<Entry>,
    /// Reason → entries, in order of precedence.
    pub(crate) exact: FxHashMap<String, Vec<usize>>,
    /// Beginning of a reason → entry, in order of precedence; asked when no exact one fits.
    pub(crate) open: Vec<(String, usize)>,
    pub(crate) unknown_warning: Meaning,
    pub(crate) unknown_normal: Meaning,
    pub(crate) hash: String,
}

/// What one Event means.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified<'a> {
    /// The class, such as `node.not_ready`; always one of [`Catalog::classes`].
    pub class: &'a str,
    /// What it is about.
    pub category: Category,
    /// How bad it is.
    pub severity: Severity,
    /// The part it plays.
    pub role: Role,
    /// Objects that only the text names, each once.
    pub entities: Vec<Entity>,
}

/// An example that the catalogue does not keep.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{file}: {entry}: {problem}")]
pub struct Mismatch {
    /// The file.
    pub file: String,
    /// The entry.
    pub entry: String,
    /// What was expected, and what came.
    pub problem: String,
}

impl Catalog {
    /// The catalogue that is compiled in.
    pub fn builtin() -> &'static Arc<Self> {
        static BUILTIN: LazyLock<Arc<Catalog>> = LazyLock::new(|| match Catalog::parse(builtin::FILES) {
            Ok(catalog) => Arc::new(catalog),
            // A test parses these same bytes.
            Err(error) => unreachable!("the built-in catalogue: {error}"),
        });
        &BUILTIN
    }

    /// Reads files given as (name, text): the class table `classes.yaml` and entries, the ones to be preferred first.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let mut builder = Builder::of(files)?;
        for (file, text) in files.iter().filter(|(name, _)| *name != CLASSES) {
            builder.add(file, 1, &read::<EntryFile>(file, text)?)?;
        }
        builder.build(hash(files))
    }

    /// What `event` means. Looks at its component, kind, type, reason and the first 4 KiB of its note.
    pub fn classify(&self, event: &Event) -> Classified<'_> {
        let message = looked_at(&event.note);
        let (meaning, entities) = match self.find(event, message).map(|entry| entry.read(event, message)) {
            Some(Reading { meaning, entities, .. }) => (meaning, entities),
            None if event.event_type == "Warning" => (&self.unknown_warning, Vec::new()),
            None => (&self.unknown_normal, Vec::new()),
        };
        Classified {
            class: &meaning.class,
            category: meaning.category,
            severity: meaning.severity,
            role: meaning.role,
            entities,
        }
    }

    /// All classes.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Names the files' contents: 16 hexadecimal digits of their SHA-256.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Runs every example of every entry; empty when all is well. An entry or case without an example is a mismatch too,
    /// and so is an example that another entry takes.
    pub fn mismatches(&self) -> Vec<Mismatch> {
        let mut mismatches = Vec::new();
        for entry in &self.entries {
            let mut cases: Vec<usize> = (0..entry.cases()).collect();
            let mut problems = self.run(entry, |case| cases.retain(|open| *open != case));
            if entry.examples.is_empty() {
                problems.push("has no example".to_owned());
            }
            problems.extend(cases.iter().map(|case| format!("case {} has no example", case + 1)));
            mismatches.extend(problems.into_iter().map(|problem| Mismatch {
                file: entry.file.clone(),
                entry: entry.label.clone(),
                problem,
            }));
        }
        mismatches
    }

    /// The examples of `file` that do not hold: number of the entry in the file, and the problem.
    pub fn broken_examples(&self, file: &str) -> Vec<(usize, String)> {
        let of_file = self.entries.iter().filter(|entry| entry.file == file);
        of_file.flat_map(|entry| self.run(entry, |_| ()).into_iter().map(|problem| (entry.number, problem))).collect()
    }

    /// Runs the examples of an entry; tells the cases that they come to.
    fn run(&self, entry: &Entry, mut case: impl FnMut(usize)) -> Vec<String> {
        let mut problems = Vec::new();
        for (event, example) in &entry.examples {
            let message = looked_at(&event.note);
            let taker = self.find(event, message);
            if !taker.is_some_and(|taker| std::ptr::eq(taker, entry)) {
                let taker = taker.map_or("no entry".to_owned(), |taker| format!("{}: {}", taker.file, taker.label));
                problems.push(format!("{taker} takes its example {:?}", event.note));
                continue;
            }
            let reading = entry.read(event, message);
            reading.case.into_iter().for_each(&mut case);
            problems.extend(example.differences(&reading));
        }
        problems
    }

    /// The classes that the examples come to.
    #[cfg(test)]
    pub(crate) fn examples(&self) -> std::collections::BTreeSet<&str> {
        let events = self.entries.iter().flat_map(|entry| &entry.examples);
        events.map(|(event, _)| self.classify(event).class).collect()
    }

    /// The Events of all examples.
    #[cfg(test)]
    pub(crate) fn example_events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().flat_map(|entry| entry.examples.iter().map(|(event, _)| event))
    }

    /// How many entries there are, and which reasons they name.
    #[cfg(test)]
    pub(crate) fn extent(&self) -> (usize, std::collections::BTreeSet<&str>) {
        (self.entries.len(), self.exact.keys().map(String::as_str).collect())
    }

    fn find(&self, event: &Event, message: &str) -> Option<&Entry> {
        let exact = self.exact.get(&event.reason).into_iter().flatten().copied();
        let open = self.open.iter().filter(|(start, _)| event.reason.starts_with(start)).map(|(_, index)| *index);
        exact.chain(open).map(|index| &self.entries[index]).find(|entry| entry.fits(event, message))
    }
}

/// The part of a message that is looked at.
fn looked_at(note: &str) -> &str {
    let message = note.strip_prefix(COMBINED).unwrap_or(note);
    &message[..message.floor_char_boundary(LOOKED_AT)]
}

fn hash(files: &[(&str, &str)]) -> String {
    let mut hasher = Sha256::new();
    for (name, text) in files {
        for part in [name, text] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize()[..8])
}
