//! The archive: how quickly it takes Events in, and how quickly it answers, beside DuckDB on the same files.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use epicenter_archive::ask::{Aggregate, Archive, Filter, Group, Of};
use epicenter_archive::{Context, Store, Table};
use epicenter_bus::topics::{EVENTS_ENRICHED, INCIDENT_CHANGES};
use epicenter_bus::{Bus, Emit, LocalConfig, Stop};
use epicenter_model::{
    Category, Codec, EnrichedEvent, EnrichedRecord, Event, Incident, IncidentChange, Member, ObjectRef, Severity,
    Timestamp, incident_id, partition_of,
};
use epicenter_runtime::{ArchiveConfig, BatchSection, Health, Metrics, QuerySection};
use epicenter_tests::{process, python};
use jiff::civil::Date;
use tempfile::TempDir;

use crate::report::{Report, median, thousands};

/// Events that go through one log; there are as many logs as it takes, so that none fills the disk.
const ROUND: u64 = 500_000;
const CLUSTERS: [&str; 4] = ["prod-eu-1", "prod-eu-2", "prod-us-1", "stage"];
/// 2026-10-01T00:00:00Z, and the days from then on, µs.
const BEGAN: i64 = 1_790_812_800_000_000;
const DAYS: i64 = 30;
const A_DAY: i64 = 86_400_000_000;
/// Objects that Events are about, in each cluster.
const OBJECTS: u64 = 20_000;
/// Events to one incident, and those that are its members.
const TO_AN_INCIDENT: u64 = 2_000;
const MEMBERS: u64 = 40;
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

/// What an Event says: its reason, class, category, severity and text.
const SAYINGS: [(&str, &str, Category, Severity, &str); 8] = [
    (
        "Unhealthy",
        "probe.readiness_failed",
        Category::Probe,
        Severity::Low,
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
    ),
    ("BackOff", "crash.back_off", Category::Crash, Severity::Medium, "Back-off restarting failed container app in pod"),
    (
        "FailedScheduling",
        "sched.insufficient_cpu",
        Category::Scheduling,
        Severity::Medium,
        "0/12 nodes are available: 12 Insufficient cpu",
    ),
    (
        "FailedMount",
        "volume.mount_timeout",
        Category::Storage,
        Severity::High,
        "MountVolume.SetUp failed for volume \"data\": timed out waiting for the condition",
    ),
    (
        "Pulled",
        "image.pulled",
        Category::Image,
        Severity::Info,
        "Successfully pulled image \"registry.example.com/shop/web:1.4.2\" in 1.2s",
    ),
    ("Scheduled", "sched.scheduled", Category::Scheduling, Severity::Info, "Successfully assigned a pod to a node"),
    ("NodeNotReady", "node.not_ready", Category::Node, Severity::Critical, "Node is not ready"),
    ("ScalingReplicaSet", "rollout.scaled", Category::Rollout, Severity::Info, "Scaled up replica set web-5d9c7f to 3"),
];

/// A number that follows from `n` and looks like none.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    let n = (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    n ^ (n >> 33)
}

fn cluster_of(n: u64) -> &'static str {
    CLUSTERS[(n % CLUSTERS.len() as u64) as usize]
}

fn at(n: u64, all: u64) -> Timestamp {
    Timestamp::from_micros(BEGAN + (i128::from(n) * i128::from(DAYS * A_DAY) / i128::from(all)) as i64)
}

fn event(n: u64, all: u64) -> EnrichedEvent {
    let chance = mixed(n);
    let object = chance % OBJECTS;
    let (reason, class, category, severity, note) = SAYINGS[(chance >> 20) as usize % SAYINGS.len()];
    let namespace = format!("team-{}", object % 50);
    EnrichedEvent {
        cluster: cluster_of(n).to_owned(),
        at: at(n, all),
        occurred_at: at(n, all),
        occurrences: 1 + (chance >> 40) as i64 % 4,
        class: class.to_owned(),
        category,
        severity,
        event: Event {
            uid: format!("00000000-0000-4000-8000-{n:012x}"),
            namespace: namespace.clone(),
            name: format!("web-{object}.{chance:016x}"),
            regarding: ObjectRef {
                uid: format!("10000000-0000-4000-8000-{object:012x}"),
                ..ObjectRef::named("Pod", &namespace, &format!("web-{object}"))
            },
            reason: reason.to_owned(),
            event_type: "Warning".to_owned(),
            note: format!("{note} ({:04x})", chance >> 48),
            component: "kubelet".to_owned(),
            host: format!("node-{}", chance % 200),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }
}

/// The incident `k`, and the Events that are its members.
fn incident(k: u64) -> (String, &'static str, impl Iterator<Item = u64>) {
    let first = k * TO_AN_INCIDENT;
    let step = CLUSTERS.len() as u64;
    (
        incident_id(cluster_of(first), &format!("{first}"), 1),
        cluster_of(first),
        (0..MEMBERS).map(move |m| first + m * step),
    )
}

fn change(k: u64, all: u64) -> IncidentChange {
    let (id, cluster, members) = incident(k);
    let opened_at = at(k * TO_AN_INCIDENT, all);
    let members = members.map(|n| Member { event_uid: event(n, all).event.uid, ..Member::default() }).collect();
    let incident = Incident { id, cluster: cluster.to_owned(), version: 1, opened_at, members, ..Incident::default() };
    IncidentChange { at: opened_at, incident, ..IncidentChange::default() }
}

/// An archive in a directory.
struct Site {
    directory: PathBuf,
    runtime: tokio::runtime::Runtime,
}

/// What it took to fill it.
struct Filled {
    rates: Vec<f64>,
    per_core: Vec<f64>,
    /// Bytes at most.
    resident: u64,
    /// Seconds.
    compacting: f64,
}

impl Site {
    fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&ArchiveConfig::default(), Some(&self.directory.join("archive")))?)
    }

    /// Writes `records` to a log of its own, and archives it; the seconds of the clock and of the processor that the latter took.
    fn round<T: epicenter_archive::Entry>(
        &self,
        topic: &'static str,
        records: impl Iterator<Item = (String, Timestamp, Vec<u8>)>,
    ) -> anyhow::Result<(f64, f64)> {
        let folder = self.directory.join("log");
        let retention = Duration::from_secs(365 * 86_400);
        let partitions = CLUSTERS.len() as u32;
        let bus = Bus::local(LocalConfig { directory: folder.clone(), partitions, retention })?;
        let mut waiting = vec![Vec::new(); CLUSTERS.len()];
        let mut written = 0;
        let commit = |partition: usize, emits: &mut Vec<Emit>| -> anyhow::Result<()> {
            let (mut source, _) = bus.source("bench", partition as u32, b"bench/")?;
            source.commit(emits, &[])?;
            emits.clear();
            Ok(())
        };
        for (cluster, at, payload) in records {
            let partition = partition_of(&cluster, partitions) as usize;
            let key = format!("{cluster}/x").into();
            waiting[partition].push(Emit {
                topic,
                timestamp: at.as_millis(),
                key,
                payload: Some(payload.into()),
                headers: vec![],
            });
            written += 1;
            if waiting[partition].len() == 5_000 {
                commit(partition, &mut waiting[partition])?;
            }
        }
        for (partition, emits) in waiting.iter_mut().enumerate() {
            commit(partition, emits)?;
        }
        let batch = BatchSection { seconds: 1, ..BatchSection::default() };
        let context = Context {
            bus,
            codec: Codec::single_object(),
            store: self.store()?,
            config: ArchiveConfig { batch, maintain_every_hours: 0, ..ArchiveConfig::default() },
            metrics: Metrics::default(),
            health: Health::new(),
            runtime: self.runtime.handle().clone(),
        };
        let (stop, began, worked) = (Stop::new(), Instant::now(), processor()?);
        let row = format!("{{table=\"{}\",outcome=\"kept\"}} {written}\n", T::KIND.name);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| epicenter_archive::run::<T>(&context, &stop));
            while !running.is_finished() && !context.metrics.text().contains(&row) && began.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.request();
            running.join().map_err(|_| anyhow::anyhow!("the archive failed"))?.context("archiving")
        })?;
        anyhow::ensure!(context.metrics.text().contains(&row), "not all is archived:\n{}", context.metrics.text());
        let took = (began.elapsed().as_secs_f64(), processor()? - worked);
        drop(context);
        fs::remove_dir_all(folder)?;
        Ok(took)
    }

    /// Archives `all` Events and their incidents, and merges the files.
    fn fill(&self, all: u64) -> anyhow::Result<Filled> {
        let codec = Codec::single_object();
        let (mut rates, mut per_core, mut resident) = (Vec::new(), Vec::new(), 0);
        for first in (0..all).step_by(ROUND as usize) {
            let numbers = first..all.min(first + ROUND);
            let count = (numbers.end - numbers.start) as f64;
            let encode = |n| {
                let event = event(n, all);
                let (cluster, at) = (event.cluster.clone(), event.at);
                let payload = EnrichedRecord::Event(Box::new(event)).encode(&codec).unwrap_or_default();
                (cluster, at, payload)
            };
            let (seconds, processor) = self.round::<EnrichedEvent>(EVENTS_ENRICHED.name, numbers.map(encode))?;
            rates.push(count / seconds);
            per_core.push(count / processor);
            resident = resident.max(process::memory(std::process::id())?);
        }
        let changes = (0..all / TO_AN_INCIDENT).map(|k| {
            let change = change(k, all);
            (change.incident.cluster.clone(), change.at, codec.encode(&change).unwrap_or_default())
        });
        self.round::<IncidentChange>(INCIDENT_CHANGES.name, changes)?;
        let began = Instant::now();
        let today = Date::constant(2027, 1, 1);
        self.runtime.block_on(async {
            Table::open::<EnrichedEvent>(&self.store()?).await?.compact(today).await?;
            Table::open::<IncidentChange>(&self.store()?).await?.compact(today).await?;
            anyhow::Ok(())
        })?;
        Ok(Filled { rates, per_core, resident, compacting: began.elapsed().as_secs_f64() })
    }
}

/// Seconds that the processor worked for this process.
fn processor() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may hold anything. User and system are the 14th and 15th field, in hundredths.
    let fields = stat.rsplit_once(')').context("no /proc/self/stat")?.1.split(' ');
    let ticks: f64 = fields.skip(12).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
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
        let (id, cluster, members) = incident(chance % (all / TO_AN_INCIDENT));
        let members: Vec<_> = members.map(|n| format!("'{}'", event(n, all).event.uid)).collect();
        questions.push(Question {
            name: "an incident's Events",
            filter: filter(&[("cluster", cluster), ("incident", &id)])?,
            how: None,
            duck: vec![
                format!("SELECT record FROM incident_changes WHERE cluster = '{cluster}' AND incident = '{id}'"),
                newest(&format!("{SPAN} AND cluster = '{cluster}' AND event_uid IN ({})", members.join(", "))),
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
    let site = Site { directory, runtime: tokio::runtime::Runtime::new()? };
    let filled = if site.directory.join("archive/events").exists() { None } else { Some(site.fill(all)?) };
    let took = filled.map_or("it was there already".to_owned(), |Filled { rates, per_core, resident, compacting }| {
        format!(
            "{} Events/s, {} per second of one core (medians of rounds of {}); {} MiB resident at most, with the log and what is made up \
             in the same process. Files merged in {compacting:.0} s",
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
