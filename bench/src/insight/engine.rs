//! Enricher and engine in memory, on files as `epicenter replay` takes them.

use std::fs;
use std::hash::Hasher as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use epicenter::history::History;
use epicenter_catalog::Catalog;
use epicenter_correlate::{ClusterState, Effects, Rules, apply};
use epicenter_model::{Context, EnrichedEvent, EnrichedRecord, Incident, IncidentState, Severity};
use epicenter_rules::{RuleSet, classes};
use epicenter_scenarios::Recording;

use super::score::{Answer, Guess, Root};
use crate::enriched;

/// An ingredient that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    Nothing,
    /// Objects that the text names.
    Messages,
    /// Owners, nodes, claims, as objects tell them.
    Context,
    /// Events of type Normal.
    Normal,
    CommonCause,
    PlannedChanges,
    Lags,
}

impl Without {
    pub const ALL: [Self; 6] =
        [Self::Messages, Self::Context, Self::Normal, Self::CommonCause, Self::PlannedChanges, Self::Lags];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Messages => "objects named in messages",
            Self::Context => "context from objects",
            Self::Normal => "Normal Events",
            Self::CommonCause => "common causes",
            Self::PlannedChanges => "planned changes",
            Self::Lags => "lags",
        }
    }

    /// Rules without what is left out of them.
    fn rules(self, text: &str) -> String {
        let section = match self {
            Self::CommonCause => "common:",
            Self::PlannedChanges => "quiet:",
            Self::Lags => {
                let any = |line: &str| match line.split_once("lag_s:") {
                    Some((indent, _)) => format!("{indent}lag_s: [-86400, 86400]"),
                    None => line.to_owned(),
                };
                return text.lines().map(any).collect::<Vec<_>>().join("\n");
            }
            _ => return text.to_owned(),
        };
        let mut within = false;
        let kept = text.lines().filter(|line| {
            if !line.starts_with([' ', '#', '-']) {
                within = *line == section;
            }
            !within
        });
        kept.collect::<Vec<_>>().join("\n")
    }

    fn spoil(self, event: &mut EnrichedEvent) {
        match self {
            Self::Messages => event.entities.clear(),
            Self::Context => event.context = Context::default(),
            _ => {}
        }
    }
}

/// The engine, whole or without an ingredient.
pub struct Engine {
    rules: Arc<Rules>,
    without: Without,
}

/// What came of a recording.
pub struct Outcome {
    pub guesses: Vec<Guess>,
    pub answers: Vec<Answer>,
    /// What the engine was told.
    pub events: Vec<EnrichedEvent>,
    pub incidents: Vec<Incident>,
    /// Of the documents.
    pub hash: u64,
}

impl Engine {
    pub fn new(without: Without) -> anyhow::Result<Self> {
        let rules = match without {
            Without::Nothing => RuleSet::builtin().causal,
            _ => Arc::new(rules_without(without)?),
        };
        Ok(Self { rules, without })
    }

    pub fn run(&self, recording: &Recording) -> anyhow::Result<Outcome> {
        self.records(enriched::of(recording)?)
    }

    /// Runs files, given as name and text.
    pub fn files<'f>(&self, files: impl Iterator<Item = (&'f str, &'f str)>) -> anyhow::Result<Outcome> {
        self.records(enriched::of_files(files)?)
    }

    fn records(&self, records: Vec<EnrichedRecord>) -> anyhow::Result<Outcome> {
        let mut state = ClusterState::new("bench");
        let (mut history, mut answers, mut events) = (History::default(), Vec::new(), Vec::new());
        for mut enriched in records {
            if let EnrichedRecord::Event(event) = &mut enriched {
                if self.without == Without::Normal && event.event.event_type == "Normal" {
                    continue;
                }
                self.without.spoil(event);
                events.push(EnrichedEvent::clone(event));
            }
            let mut effects = Effects::default();
            apply(&self.rules, &mut state, &enriched, &mut effects);
            for change in effects.changes {
                let cause = &change.incident.cause;
                answers.push(Answer {
                    at: change.at,
                    id: change.incident.id.clone(),
                    root: Root { class: cause.class.clone(), object: cause.object.clone() },
                });
                history.take(change);
            }
        }
        let incidents = history.into_incidents();
        let mut hasher = rustc_hash::FxHasher::default();
        for incident in &incidents {
            hasher.write(serde_json::to_string(incident)?.as_bytes());
        }
        let kept = incidents.iter().filter(|incident| incident.state != IncidentState::Merged);
        Ok(Outcome { guesses: kept.map(guess).collect(), answers, events, hash: hasher.finish(), incidents })
    }
}

/// The files of rules without that ingredient.
fn rules_without(without: Without) -> anyhow::Result<Rules> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/correlate/rules");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, without.rules(&fs::read_to_string(path)?)));
    }
    files.sort();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Ok(Rules::parse(&files, classes(Catalog::builtin()))?)
}

fn guess(incident: &Incident) -> Guess {
    let root =
        |class: &str, object: &epicenter_model::ObjectRef| Root { class: class.to_owned(), object: object.clone() };
    Guess {
        id: incident.id.clone(),
        title: incident.title.clone(),
        members: incident.members.iter().map(|member| member.event_uid.clone()).collect(),
        roots: incident.cause.candidates.iter().map(|candidate| root(&candidate.class, &candidate.object)).collect(),
        observed: incident.cause.observed,
        loud: incident.severity > Severity::Info,
    }
}
