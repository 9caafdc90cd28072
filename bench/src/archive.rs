//! The archive: how quickly it takes Events in, and how quickly it answers, beside DuckDB on the same files.

mod fill;
mod made;

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use epicenter_archive::ask::{Aggregate, Archive, Filter, Group, Of};
use epicenter_model::Timestamp;
use epicenter_runtime::QuerySection;
use epicenter_tests::{process, python};
use tempfile::TempDir;

use self::fill::{Filled, ROUND, Site};
pub use self::fill::{Part, part};
use self::made::{A_DAY, BEGAN, CLUSTERS, DAYS, OBJECTS, TO_AN_INCIDENT, at, cluster_of, incident, life, mixed, uid};
use crate::report::{Report, median, thousands};

/// Look-ups of each kind, and rounds of each aggregate.
const LOOKUPS: u64 = 40;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(1800);

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Events that are archived
    #[arg(long, default_value_t = Asked::default().events, value_parser = clap::value_parser!(u64).range(10_000..))]
    events: u64,
    /// Keep the archive in this directory; one of as many Events that is there already is asked only
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { events: 2_000_000, keep: None }
    }
}

/// What is asked, of the archive and of DuckDB.
#[derive(Clone)]
struct Question {
    name: &'static str,
    filter: Filter,
    how: Option<Aggregate>,
    duck: Vec<String>,
}

fn filter(asked: &[(&str, &str)]) -> anyhow::Result<Filter> {
    let now = Timestamp::from_micros(BEGAN + DAYS * A_DAY);
    let mut filter = Filter::new(now);
    for (key, value) in [&[("from", "2026-10-01"), ("to", "2026-10-31")], asked].concat() {
        filter.set(key, value, now)?;
    }
    Ok(filter)
}

const SPAN: &str = "date >= '2026-10-01' AND time >= '2026-10-01' AND date <= '2026-10-31' AND time < '2026-10-31'";

fn lookups(all: u64) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    for n in 0..LOOKUPS {
        let chance = mixed(n + 7);
        let (cluster, name) = (cluster_of(chance), format!("web-{}", chance % OBJECTS));
        let newest = |condition: &str| format!("SELECT * FROM events WHERE {condition} ORDER BY time DESC LIMIT 101");
        questions.push(Question {
            name: "an object's Events",
            filter: filter(&[("cluster", cluster), ("name", &name)])?,
            how: None,
            duck: vec![newest(&format!("{SPAN} AND cluster = '{cluster}' AND name = '{name}'"))],
        });
        let from = at(chance % all, all);
        let to = from.plus_millis(3_600_000);
        let (day, next) = (&from.to_string()[..10], &to.to_string()[..10]);
        questions.push(Question {
            name: "an hour of a cluster",
            filter: filter(&[("cluster", cluster), ("from", &from.to_string()), ("to", &to.to_string())])?,
            how: None,
            duck: vec![newest(&format!(
                "date >= '{day}' AND time >= '{from}' AND date <= '{next}' AND time < '{to}' AND cluster = '{cluster}'"
            ))],
        });
        let k = chance % (all / TO_AN_INCIDENT);
        let (id, cluster, members) = incident(k);
        let members: Vec<_> = members.map(|n| format!("'{}'", uid(n))).collect();
        // The archive, too, looks a day back.
        let (opened, last) = life(k, all);
        let from = opened.plus_millis(-A_DAY / 1000);
        let (day, end) = (&from.to_string()[..10], &last.to_string()[..10]);
        let then = format!("date >= '{day}' AND time >= '{from}' AND date <= '{end}' AND time <= '{last}'");
        questions.push(Question {
            name: "an incident's Events",
            filter: filter(&[("cluster", cluster), ("incident", &id)])?,
            how: None,
            duck: vec![
                format!("SELECT record FROM incident_changes WHERE cluster = '{cluster}' AND incident = '{id}'"),
                newest(&format!(
                    "{SPAN} AND {then} AND cluster = '{cluster}' AND event_uid IN ({})",
                    members.join(", ")
                )),
            ],
        });
    }
    Ok(questions)
}

fn aggregates() -> anyhow::Result<Vec<Question>> {
    let sums = "count(*) AS events, sum(occurrences), approx_count_distinct(coalesce(uid, name))";
    let limit = NonZeroU32::new(1000).context("no limit")?;
    let mut questions = Vec::new();
    for (name, by, every) in [
        ("reasons", vec![Group::Reason], None),
        ("categories by day", vec![Group::Category], NonZeroU32::new(86_400)),
        ("severities of clusters", vec![Group::Cluster, Group::Severity], None),
        ("the noisiest objects", vec![Group::Namespace, Group::Name], None),
    ] {
        let since = every.map(|_| "date_trunc('day', time)".to_owned());
        let columns: Vec<_> = since.into_iter().chain(by.iter().map(|group| group.name().to_owned())).collect();
        let places: Vec<_> = (1..=columns.len()).map(|place| place.to_string()).collect();
        let query = format!(
            "SELECT {}, {sums} FROM events WHERE {SPAN} GROUP BY {} ORDER BY events DESC LIMIT 1000",
            columns.join(", "),
            places.join(", ")
        );
        let how = Some(Aggregate { of: Of::Events, by, every, limit });
        let questions_of =
            |_| anyhow::Ok(Question { name, filter: filter(&[])?, how: how.clone(), duck: vec![query.clone()] });
        questions.extend((0..ROUNDS).map(questions_of).collect::<anyhow::Result<Vec<_>>>()?);
    }
    Ok(questions)
}

impl Question {
    /// The seconds that the archive took, and its rows.
    fn ask(&self, site: &Site, archive: &Archive) -> anyhow::Result<(f64, usize)> {
        let limit = NonZeroU32::new(101).context("no limit")?;
        let began = Instant::now();
        let rows = site.runtime.block_on(async {
            match &self.how {
                None => anyhow::Ok(archive.events(&self.filter, limit, None).await?.rows.len()),
                Some(how) => Ok(archive.aggregate(&self.filter, how, Timestamp::default()).await?.len()),
            }
        })?;
        Ok((began.elapsed().as_secs_f64(), rows))
    }
}

fn duck(site: &Site, questions: &[Question]) -> anyhow::Result<Vec<(f64, usize)>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python::environment("python-archive", &here.join("../docs/examples/archive/requirements.txt"))?;
    let file = site.directory.join("questions.json");
    fs::write(&file, serde_json::to_vec(&questions.iter().map(|question| &question.duck).collect::<Vec<_>>())?)?;
    let mut command = Command::new(python);
    command.arg(here.join("duck.py")).arg(site.directory.join("archive")).arg(&file);
    Ok(serde_json::from_str(&process::output(&mut command, LIMIT)?)?)
}

/// Measures, and adds the table. It needs Python with venv.
pub fn measure(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    let (all, temporary) = (asked.events, TempDir::new()?);
    let directory = asked.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    let site = Site::new(directory)?;
    let filled = if site.directory.join("archive/events").exists() { None } else { Some(site.fill(all)?) };
    let took = filled.map_or("it was there already".to_owned(), |Filled { rates, per_core, resident, compacting }| {
        format!(
            "{} Events/s, {} per second of one core (medians of rounds of {}); {} MiB resident at most, in a process that reads the \
             log and archives, and in one that merges files. Files merged in {compacting:.0} s",
            thousands(median(rates)),
            thousands(median(per_core)),
            thousands(ROUND as f64),
            thousands(resident as f64 / 1_048_576.0),
        )
    });

    let archive = Archive::new(site.store()?, &QuerySection::default())?;
    let questions = [lookups(all)?, aggregates()?].concat();
    // What both have read once is in the memory of the system.
    questions.first().context("nothing is asked")?.ask(&site, &archive)?;
    let mut ours = Vec::new();
    for question in &questions {
        ours.push(question.ask(&site, &archive)?);
    }
    let theirs = duck(&site, &questions)?;
    let mut rows = String::new();
    let mut names: Vec<_> = questions.iter().map(|question| question.name).collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of = |answers: &[(f64, usize)]| -> Vec<f64> {
            let each = questions.iter().zip(answers).filter(|(question, _)| question.name == name);
            let mut seconds: Vec<_> = each.map(|(_, (seconds, _))| seconds * 1000.0).collect();
            seconds.sort_by(f64::total_cmp);
            seconds
        };
        for ((question, ours), theirs) in questions.iter().zip(&ours).zip(&theirs) {
            anyhow::ensure!(ours.1 == theirs.1, "{}: {} rows, and DuckDB has {}", question.name, ours.1, theirs.1);
        }
        let (ours, theirs) = (of(&ours), of(&theirs));
        let p95 = |figures: &[f64]| figures[figures.len() * 95 / 100];
        let ratio = median(ours.clone()) / median(theirs.clone());
        rows += &format!(
            "\n| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {ratio:.2} |",
            median(ours.clone()),
            p95(&ours),
            median(theirs.clone()),
            p95(&theirs)
        );
    }
    let body = format!(
        "{} Events of {} clusters in {DAYS} days, archived to a directory: {took}. \
         Then {LOOKUPS} look-ups of each kind and {ROUNDS} rounds of each aggregate, ms; DuckDB on the same files, and the same rows.\n\n\
         | | p50 | p95 | DuckDB p50 | DuckDB p95 | ratio of p50 |\n|---|---|---|---|---|---|{rows}",
        thousands(all as f64),
        CLUSTERS.len(),
    );
    report.section("The archive", &body);
    Ok(())
}
