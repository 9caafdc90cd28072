//! Whether the incidents are the right ones: grouping, root, silence, on recordings whose truth is known.
//!
//! `corpus` says which recordings, `engine` takes them through enricher and correlator as `epicenter replay` does,
//! `baselines` groups the same Events by simpler means, `score` compares with the truth, `real` does so for recordings of
//! real clusters.

mod baselines;
mod corpus;
mod engine;
mod real;
mod score;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use corpus::Case;
use engine::{Engine, Outcome, Without};
use epicenter_model::EnrichedEvent;
use epicenter_scenarios::{Label, Recording, Scenario};
use score::{Guess, Score};

use crate::report::Report;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Set {
    /// The recordings that the engine may be tuned on.
    Train,
    /// Others, with scenarios that the first does not have.
    Test,
}

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Which recordings.
    #[arg(long, value_enum, default_value = "test")]
    set: Set,
    /// Only recordings of real clusters, in place of made-up ones.
    #[arg(long, conflicts_with_all = ["set", "export"])]
    real: bool,
    /// Say what went wrong, on standard error.
    #[arg(long)]
    verbose: bool,
    /// Write the recordings into this folder, for `epicenter replay`.
    #[arg(long)]
    export: Option<PathBuf>,
}

/// Measures, or writes the recordings.
pub fn run(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    match &asked.export {
        Some(folder) => export(asked.set, folder),
        None if asked.real => real::measure(report, &Engine::new(Without::Nothing)?, asked.verbose),
        None => measure(report, asked.set, asked.verbose),
    }
}

/// Measures, and adds the section. Says on standard error what went wrong where `verbose`.
pub fn measure(report: &mut Report, set: Set, verbose: bool) -> anyhow::Result<()> {
    let cases = corpus::cases(set);
    let recordings: Vec<(&Case, Recording)> =
        cases.iter().map(|case| (case, epicenter_scenarios::play(&case.plan))).collect();
    let engine = Engine::new(Without::Nothing)?;
    let mut all = Score::default();
    let mut families: BTreeMap<&str, Score> = BTreeMap::new();
    let mut forms: BTreeMap<&str, Score> = BTreeMap::new();
    let mut scenarios: BTreeMap<Scenario, Score> = BTreeMap::new();
    let mut baselines: Vec<(&str, Score)> = baselines::ALL.iter().map(|(name, _)| (*name, Score::default())).collect();
    for (case, recording) in &recordings {
        let outcome = engine.run(recording)?;
        let score = Score::of(&recording.truth, &outcome.guesses, &outcome.answers);
        if verbose && !score.is_perfect() {
            complain(case, recording, &outcome);
        }
        if let [(_, scenario)] = case.plan.faults.as_slice() {
            scenarios.entry(*scenario).or_default().add(&score);
        }
        families.entry(case.family).or_default().add(&score);
        forms.entry(case.form).or_default().add(&score);
        all.add(&score);
        for ((_, total), (_, group)) in baselines.iter_mut().zip(baselines::ALL) {
            total.add(&Score::of(&recording.truth, &group(&outcome.events), &[]));
        }
    }
    let mut body = format!(
        "{} recordings of made-up clusters in trouble, {} Events; the {set:?} set. {} of its {} scenarios are not in the one that \
         rules are tuned on.\n\n",
        recordings.len(),
        recordings.iter().map(|(_, recording)| recording.events).sum::<usize>(),
        if set == Set::Test { Scenario::HELD_OUT.len() } else { 0 },
        scenarios.len(),
    );
    body.push_str(score::HEADER);
    row(&mut body, "**all**", &all)?;
    for (name, score) in families.iter().chain(&forms) {
        row(&mut body, name, score)?;
    }
    for (scenario, score) in &scenarios {
        row(&mut body, &format!("{scenario:?}"), score)?;
    }
    for (name, score) in &baselines {
        row(&mut body, name, score)?;
    }
    if set == Set::Test {
        for without in Without::ALL {
            let engine = Engine::new(without)?;
            let mut total = Score::default();
            for (_, recording) in &recordings {
                let outcome = engine.run(recording)?;
                total.add(&Score::of(&recording.truth, &outcome.guesses, &outcome.answers));
            }
            row(&mut body, &format!("without {}", without.name()), &total)?;
        }
    }
    writeln!(body, "\n{}", quiet(&engine, set, verbose)?)?;
    writeln!(body, "\n{}", order(&engine, &cases)?)?;
    report.section("Insight", &body);
    real::measure(report, &engine, verbose)
}

/// Writes the recordings into `folder`, each into one of its own, named by its seed.
fn export(set: Set, folder: &Path) -> anyhow::Result<()> {
    for case in corpus::cases(set).iter().chain(&corpus::quiet_days(set)) {
        let own = folder.join(case.plan.seed.to_string());
        std::fs::create_dir_all(&own)?;
        for (name, text) in epicenter_scenarios::play(&case.plan).files {
            std::fs::write(own.join(name), text)?;
        }
    }
    Ok(())
}

fn row(body: &mut String, name: &str, score: &Score) -> std::fmt::Result {
    writeln!(body, "| {name} | {} |", score.cells().join(" | "))
}

/// Days on which nothing is wrong.
fn quiet(engine: &Engine, set: Set, verbose: bool) -> anyhow::Result<String> {
    let days = corpus::quiet_days(set);
    let mut events = 0;
    let mut alarms: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let left_out = if set == Set::Test { &Without::ALL[..] } else { &[] };
    let mut ablated = Vec::new();
    for without in left_out {
        ablated.push((without.name(), Engine::new(*without)?, 0));
    }
    for case in &days {
        let recording = epicenter_scenarios::play(&case.plan);
        events += recording.events;
        let outcome = engine.run(&recording)?;
        let loud: Vec<&Guess> = outcome.guesses.iter().filter(|guess| guess.loud).collect();
        let (count, days) = alarms.entry(case.form).or_default();
        (*count, *days) = (*count + loud.len(), *days + 1);
        for guess in loud.iter().filter(|_| verbose) {
            eprintln!("quiet day {} ({}): {}", case.plan.seed, case.form, guess.told());
        }
        for (_, engine, count) in &mut ablated {
            *count += engine.run(&recording)?.guesses.iter().filter(|guess| guess.loud).count();
        }
    }
    let all: usize = alarms.values().map(|(count, _)| count).sum();
    let mut text = format!(
        "Quiet days: {all} incidents above `info` in {} simulated cluster-days ({events} Events of rollouts, drains, upgrades, cron jobs, \
         autoscaling, teardown): {:.3} a day, at most {:.3} with 95 % confidence.",
        days.len(),
        all as f64 / days.len() as f64,
        at_most(all, days.len())
    );
    for (form, (count, days)) in &alarms {
        write!(text, " {form}: {count} in {days} days, at most {:.3} a day.", at_most(*count, *days))?;
    }
    for (name, _, count) in &ablated {
        write!(text, " Without {name}: {:.3} a day.", *count as f64 / days.len() as f64)?;
    }
    Ok(text)
}

/// Upper bound of the daily rate with 95 % confidence, of a Poisson count: by Wilson and Hilferty's cube root.
fn at_most(count: usize, days: usize) -> f64 {
    let k = count as f64 + 1.0;
    k * (1.0 - 1.0 / (9.0 * k) + 1.645 / (3.0 * k.sqrt())).powi(3) / days as f64
}

/// How much the order of arrival matters.
fn order(engine: &Engine, cases: &[Case]) -> anyhow::Result<String> {
    let (mut same, mut all, mut hash) = (0, 0, 0_u64);
    for case in cases.iter().filter(|case| case.plan.watch) {
        let mut shapes = Vec::new();
        for reorder_s in [0.0, 60.0] {
            let mut plan = case.plan.clone();
            plan.perturbation.reorder_s = reorder_s;
            let recording = epicenter_scenarios::play(&plan);
            let outcome = engine.run(&recording)?;
            hash = hash.rotate_left(5) ^ outcome.hash;
            let mut shape: Vec<_> = outcome.guesses.iter().filter_map(|guess| guess.shape(&recording.truth)).collect();
            shape.sort();
            shapes.push(shape);
        }
        all += 1;
        same += usize::from(shapes[0] == shapes[1]);
    }
    Ok(format!(
        "Order: in {same} of {all} watch streams every fault keeps exactly its Events and its root when every write comes up to 60 s late. Hash of all \
         documents: `{hash:016x}`."
    ))
}

fn complain(case: &Case, recording: &Recording, outcome: &Outcome) {
    eprintln!("--- seed {} {} {}", case.plan.seed, case.family, case.form);
    for fault in &recording.truth.faults {
        eprintln!("  truth: {:?} at {} observable {} {:?}", fault.scenario, fault.onset, fault.observable, fault.roots);
    }
    for guess in &outcome.guesses {
        eprintln!("  found: {} [{}]", guess.told(), guess.labels(&recording.truth));
    }
    let members: BTreeSet<&String> = outcome.guesses.iter().flat_map(|guess| &guess.members).collect();
    let told: BTreeMap<&str, &EnrichedEvent> =
        outcome.events.iter().map(|event| (event.event.uid.as_str(), event)).collect();
    let lost = recording
        .truth
        .labels
        .iter()
        .filter(|(uid, label)| matches!(label, Label::Telling(_)) && !members.contains(uid));
    for event in lost.filter_map(|(uid, _)| told.get(uid.as_str())) {
        eprintln!("  left out: {} {} {}: {}", event.class, event.event.reason, event.event.regarding, event.event.note);
    }
}
