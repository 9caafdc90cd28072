//! Fills an archive, round by round. What archives is a process of its own, so that its memory can be told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use epicenter_archive::{Context, Entry, Store, Table};
use epicenter_bus::topics::{EVENTS_ENRICHED, INCIDENT_CHANGES};
use epicenter_bus::{Bus, Emit, LocalConfig, Stop};
use epicenter_model::{Codec, EnrichedEvent, EnrichedRecord, IncidentChange, Timestamp, partition_of};
use epicenter_runtime::{ArchiveConfig, BatchSection, Health, Metrics};
use epicenter_tests::process;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::made::{CLUSTERS, TO_AN_INCIDENT, change, event};

/// Events that go through one log; there are as many logs as it takes, so that none fills the disk.
pub const ROUND: u64 = 2_000_000;
const LIMIT: Duration = Duration::from_secs(1800);

/// A part of the work, done by a process of its own. Prints what it took.
#[derive(clap::Args)]
pub struct Part {
    directory: PathBuf,
    work: Work,
    /// Records that the log has
    records: u64,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Work {
    /// The log's Events into their table.
    Events,
    /// The log's changes of incidents into theirs.
    Changes,
    /// Small files into large ones.
    Compact,
}

/// What a part took.
#[derive(Deserialize, Serialize)]
struct Took {
    seconds: f64,
    /// Seconds that the processor worked.
    worked: f64,
    /// Bytes of memory at most.
    resident: u64,
}

/// An archive in a directory.
pub struct Site {
    pub directory: PathBuf,
    pub runtime: tokio::runtime::Runtime,
}

/// What it took to fill it.
pub struct Filled {
    pub rates: Vec<f64>,
    pub per_core: Vec<f64>,
    /// Bytes at most, of what archives and of what merges.
    pub resident: u64,
    /// Seconds.
    pub compacting: f64,
}

impl Site {
    pub fn new(directory: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { directory, runtime: tokio::runtime::Runtime::new()? })
    }

    pub fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&ArchiveConfig::default(), Some(&self.directory.join("archive")))?)
    }

    fn log(&self) -> anyhow::Result<Bus> {
        let (directory, partitions) = (self.directory.join("log"), CLUSTERS.len() as u32);
        Ok(Bus::local(LocalConfig { directory, partitions, retention: Duration::from_secs(365 * 86_400) })?)
    }

    fn write(
        &self,
        topic: &'static str,
        records: impl Iterator<Item = (String, Timestamp, Vec<u8>)>,
    ) -> anyhow::Result<u64> {
        let bus = self.log()?;
        let mut waiting = vec![Vec::new(); CLUSTERS.len()];
        let mut written = 0;
        let commit = |partition: usize, emits: &mut Vec<Emit>| -> anyhow::Result<()> {
            let (mut source, _) = bus.source("bench", partition as u32, b"bench/")?;
            source.commit(emits, &[])?;
            emits.clear();
            Ok(())
        };
        for (cluster, at, payload) in records {
            let partition = partition_of(&cluster, CLUSTERS.len() as u32) as usize;
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
        Ok(written)
    }

    /// A log is opened once, and what it takes to open this one is not of interest.
    fn archive<T: Entry>(&self, records: u64) -> anyhow::Result<Took> {
        let batch = BatchSection { seconds: 1, ..BatchSection::default() };
        let context = Context {
            bus: self.log()?,
            codec: Codec::single_object(),
            store: self.store()?,
            config: ArchiveConfig { batch, maintain_every_hours: 0, ..ArchiveConfig::default() },
            metrics: Metrics::default(),
            health: Health::new(),
            runtime: self.runtime.handle().clone(),
        };
        let stop = Stop::new();
        let row = format!("{{table=\"{}\",outcome=\"kept\"}} {records}\n", T::KIND.name);
        let took = timed(|began| {
            std::thread::scope(|scope| {
                let running = scope.spawn(|| epicenter_archive::run::<T>(&context, &stop));
                while !running.is_finished() && !context.metrics.text().contains(&row) && began.elapsed() < LIMIT {
                    std::thread::sleep(Duration::from_millis(5));
                }
                stop.request();
                running.join().map_err(|_| anyhow::anyhow!("the archive failed"))?.context("archiving")
            })
        })?;
        anyhow::ensure!(context.metrics.text().contains(&row), "not all is archived:\n{}", context.metrics.text());
        Ok(took)
    }

    fn compact(&self) -> anyhow::Result<Took> {
        let today = Date::constant(2027, 1, 1);
        timed(|_| {
            self.runtime.block_on(async {
                Table::open::<EnrichedEvent>(&self.store()?).await?.compact(today).await?;
                Table::open::<IncidentChange>(&self.store()?).await?.compact(today).await?;
                Ok(())
            })
        })
    }

    /// Has a process do `work`, as the chart runs the archive.
    fn part(&self, work: &str, records: u64) -> anyhow::Result<Took> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env("MIMALLOC_PURGE_DELAY", "0").arg("archive-part").arg(&self.directory);
        command.args([work, &records.to_string()]);
        Ok(serde_json::from_str(&process::output(&mut command, LIMIT)?)?)
    }

    /// Archives `all` Events and their incidents, and merges the files.
    pub fn fill(&self, all: u64) -> anyhow::Result<Filled> {
        let codec = Codec::single_object();
        let (mut rates, mut per_core, mut resident) = (Vec::new(), Vec::new(), 0);
        for first in (0..all).step_by(ROUND as usize) {
            let encode = |n| {
                let event = event(n, all);
                let (cluster, at) = (event.cluster.clone(), event.at);
                let payload = EnrichedRecord::Event(Box::new(event)).encode(&codec).unwrap_or_default();
                (cluster, at, payload)
            };
            let count = self.write(EVENTS_ENRICHED.name, (first..all.min(first + ROUND)).map(encode))?;
            let took = self.part("events", count)?;
            rates.push(count as f64 / took.seconds);
            per_core.push(count as f64 / took.worked);
            resident = resident.max(took.resident);
            fs::remove_dir_all(self.directory.join("log"))?;
        }
        let changes = (0..all / TO_AN_INCIDENT).map(|k| {
            let change = change(k, all);
            (change.incident.cluster.clone(), change.at, codec.encode(&change).unwrap_or_default())
        });
        let count = self.write(INCIDENT_CHANGES.name, changes)?;
        self.part("changes", count)?;
        fs::remove_dir_all(self.directory.join("log"))?;
        let took = self.part("compact", 0)?;
        Ok(Filled { rates, per_core, resident: resident.max(took.resident), compacting: took.seconds })
    }
}

/// Does a part of the work, and prints what it took.
pub fn part(part: &Part) -> anyhow::Result<()> {
    let site = Site::new(part.directory.clone())?;
    let took = match part.work {
        Work::Events => site.archive::<EnrichedEvent>(part.records)?,
        Work::Changes => site.archive::<IncidentChange>(part.records)?,
        Work::Compact => site.compact()?,
    };
    println!("{}", serde_json::to_string(&took)?);
    Ok(())
}

fn timed(work: impl FnOnce(Instant) -> anyhow::Result<()>) -> anyhow::Result<Took> {
    let (began, worked) = (Instant::now(), processor()?);
    work(began)?;
    Ok(Took {
        seconds: began.elapsed().as_secs_f64(),
        worked: processor()? - worked,
        resident: process::peak_memory(std::process::id())?,
    })
}

/// Seconds that the processor worked for this process.
fn processor() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may hold anything. User and system are the 14th and 15th field, in hundredths.
    let fields = stat.rsplit_once(')').context("no /proc/self/stat")?.1.split(' ');
    let ticks: f64 = fields.skip(12).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
