//! `epicenter doctor`.

mod alerts;
mod clusters;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use epicenter_bus::topics::{CORRELATOR_STATE, DEAD_LETTER};
use epicenter_bus::{Bus, Lag, Loss, Start};
use epicenter_model::{Codec, DeadLetter};
use epicenter_runtime::now;

use super::topics::processors;
use super::{print, schemas};
use crate::directory::DataDirectory;
use crate::render::Paint;
use crate::settings::Settings;

/// A processor that is further behind does not run, or cannot keep up, s.
const BEHIND: i64 = 60;

/// What was looked at, and what was found.
struct Findings {
    paint: Paint,
    bad: usize,
}

impl Findings {
    fn well(&self, what: &str) -> anyhow::Result<()> {
        print(&format!("ok     {what}\n"))
    }

    fn bad(&mut self, what: &str) -> anyhow::Result<()> {
        self.bad += 1;
        print(&format!("{}  {what}\n", self.paint.strong("WRONG")))
    }
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut findings = Findings { paint: Paint::detect(), bad: 0 };
    findings.well("the configuration can be read")?;
    log(settings, &mut findings).await?;
    registry(settings, &mut findings).await?;
    clusters::look(settings, &mut findings).await?;
    if findings.bad > 0 {
        print(&format!("{} thing(s) are wrong\n", findings.bad))?;
    }
    Ok(ExitCode::from(u8::from(findings.bad > 0)))
}

async fn log(settings: &Settings, findings: &mut Findings) -> anyhow::Result<()> {
    let bus = if settings.bus.is_kafka() {
        settings.bus.open(std::path::Path::new("")).map_err(anyhow::Error::new)
    } else {
        let directory = DataDirectory::of(settings)?;
        let place = directory.path().display().to_string();
        if directory.address().is_some_and(|address| std::net::TcpStream::connect(address).is_ok()) {
            return findings
                .well(&format!("log: a running process has {place}; stop it to have the log itself checked"));
        }
        if !directory.exists() {
            return findings.well(&format!("log: there is none yet in {place}"));
        }
        directory.open(settings)
    };
    let bus = match bus {
        Ok(bus) => bus,
        Err(error) => return findings.bad(&format!("log: {error:#}")),
    };
    let codec = settings.reader()?;
    let alerted = bus.clone();
    let look = move || {
        let problems = topics(&bus);
        let letters = if problems.is_ok() { dead_letters(&bus, &codec) } else { Ok(BTreeMap::new()) };
        // A topic that is missing says more than what it had.
        let losses = if problems.as_ref().is_ok_and(Vec::is_empty) { losses(&bus) } else { Ok(Vec::new()) };
        let lag = if problems.as_ref().is_ok_and(Vec::is_empty) { lag(&bus) } else { Ok(Vec::new()) };
        let state = if problems.is_ok() { state(&bus) } else { Ok(0) };
        (problems, losses, lag, letters, state)
    };
    let (problems, losses, lag, letters, state) = tokio::task::spawn_blocking(look).await?;
    let whole = problems.as_ref().is_ok_and(Vec::is_empty);
    match problems {
        Ok(problems) if problems.is_empty() => {
            findings.well("log: it can be reached, and its topics are as they should be")?
        }
        Ok(problems) => problems.iter().try_for_each(|problem| findings.bad(&format!("log: {problem}")))?,
        // What keeps it from the topics keeps it from dead-letter.
        Err(error) => return findings.bad(&format!("log: {error:#}")),
    }
    match losses {
        Ok(losses) => {
            losses.iter().try_for_each(|loss| findings.bad(&format!("log: {loss}; run `epicenter topics recover`")))?;
        }
        Err(error) => findings.bad(&format!("log: what its services keep cannot be looked at: {error:#}"))?,
    }
    match lag {
        Ok(lag) if lag.is_empty() => findings.well("lag: its services have processed all but the last minute")?,
        Ok(lag) => lag.iter().try_for_each(|lag| {
            let Lag { processor, partition, records, oldest } = lag;
            let age = (now().as_millis() - oldest) / 1000;
            findings.bad(&format!(
                "lag: the {processor} is {records} offsets behind in partition {partition}, since a record that is {age} s old. See that it runs, and what its log and /readyz say; where it cannot keep up, give it more replicas"
            ))
        })?,
        Err(error) => findings.bad(&format!("lag: {error:#}"))?,
    }
    match letters {
        Ok(letters) if letters.is_empty() => findings.well("dead-letter: it is empty")?,
        Ok(letters) => {
            for (service, (count, newest)) in letters {
                let DeadLetter { topic, partition, offset, error, at, .. } = newest;
                findings.bad(&format!(
                    "dead-letter: the {service} could not process {count} record(s); the newest, at {at}, is offset {offset} \
                     of {topic}/{partition}: {error}"
                ))?;
            }
        }
        Err(error) => findings.bad(&format!("dead-letter: {error:#}"))?,
    }
    match state {
        Ok(clusters) => findings.well(&format!("state: this version can read that of {clusters} cluster(s)"))?,
        Err(error) => findings.bad(&format!("state: {error:#}"))?,
    }
    if whole { alerts::look(settings, alerted, findings).await } else { Ok(()) }
}

async fn registry(settings: &Settings, findings: &mut Findings) -> anyhow::Result<()> {
    if !settings.registry.is_set() {
        return Ok(());
    }
    let settings = settings.clone();
    match tokio::task::spawn_blocking(move || schemas::problems(&settings)).await? {
        Ok(problems) if problems.is_empty() => findings.well("schema registry: it has the schemas of this version"),
        Ok(problems) => problems.iter().try_for_each(|problem| findings.bad(&format!("schema registry: {problem}"))),
        Err(error) => findings.bad(&format!("{error:#}")),
    }
}

fn topics(bus: &Bus) -> anyhow::Result<Vec<String>> {
    let mut problems: Vec<String> = bus.check_topics()?.iter().map(ToString::to_string).collect();
    if let Bus::Local(local) = bus
        && local.lost_commits() > 0
    {
        problems.push(format!(
            "the log lost its newest {} commits, as after a power loss; `epicenter up` reads them again from the cluster",
            local.lost_commits()
        ));
    }
    Ok(problems)
}

/// What the processors have lost with a topic.
fn losses(bus: &Bus) -> anyhow::Result<Vec<Loss>> {
    let mut losses = Vec::new();
    for spec in processors() {
        losses.extend(bus.losses(&spec)?);
    }
    Ok(losses)
}

/// Where the processors are further behind than they should be.
fn lag(bus: &Bus) -> anyhow::Result<Vec<Lag>> {
    let mut all = Vec::new();
    for spec in processors() {
        all.extend(bus.lag(&spec)?);
    }
    let oldest = now().as_millis() - BEHIND * 1000;
    all.retain(|lag| lag.oldest < oldest);
    Ok(all)
}

/// Of how many clusters the engine's state is.
fn state(bus: &Bus) -> anyhow::Result<usize> {
    let table = bus.table(CORRELATOR_STATE.name)?;
    let entries = table.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    Ok(epicenter_correlator::check_state(entries)?)
}

/// Of each service: how many records it could not process, and the newest.
fn dead_letters(bus: &Bus, codec: &Codec) -> anyhow::Result<BTreeMap<String, (u64, DeadLetter)>> {
    let partitions: Vec<u32> = (0..bus.partitions()).collect();
    let mut reader = bus.reader(DEAD_LETTER.name, &partitions, Start::Earliest)?;
    let wait = if matches!(bus, Bus::Local(_)) { Duration::ZERO } else { Duration::from_secs(2) };
    let mut letters: BTreeMap<String, (u64, DeadLetter)> = BTreeMap::new();
    while let Some(record) = reader.next(wait)? {
        let Ok(letter) = codec.decode::<DeadLetter>(record.payload.as_deref().unwrap_or_default()) else { continue };
        let entry = letters.entry(letter.service.clone()).or_default();
        entry.0 += 1;
        if entry.1.at <= letter.at {
            entry.1 = letter;
        }
    }
    Ok(letters)
}
