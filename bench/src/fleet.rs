//! A thousand clusters at once: what the services take of a machine, on a real broker. The clusters are made up, and written
//! straight into events.raw; everything behind that is real, each service a process of its own.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use epicenter_bus::{Bus, Emit, KafkaConfig, Source, Start, topics};
use epicenter_model::{
    Codec, ContainerFacts, Event, Heartbeat, Incident, ObjectChange, ObjectFacts, ObjectRef, RawEvent, RawRecord,
    headers, partition_of,
};
use epicenter_runtime::now;
use epicenter_tests::kafka::Kafka;
use epicenter_tests::process::{Process, binary};
use epicenter_tests::{http, ports};

use crate::report::{Report, thousands};

const PARTITIONS: u32 = 12;
const SERVICES: [&[&str]; 4] = [&["enricher"], &["correlator"], &["fleet"], &["sink", "--role", "central"]];
/// What there is of objects in a cluster, besides its pods.
const NODES: u64 = 10;
const PODS: u64 = 100;
/// Pods of a workload.
const REPLICAS: u64 = 5;
/// Between two heartbeats of a cluster, s, as exporters have it.
const BEAT: u64 = 5;
/// Writing at the given rate goes on for so long before anything is measured.
const WARM_UP: Duration = Duration::from_secs(20);
const STARTED_IN: Duration = Duration::from_secs(120);
/// `/proc/PID/stat` counts in ticks of 10 ms (Linux: `USER_HZ`).
const TICKS: f64 = 100.0;

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Clusters
    #[arg(long, default_value_t = Asked::default().clusters, value_parser = clap::value_parser!(u64).range(1..))]
    clusters: u64,
    /// Events per second, of all clusters together
    #[arg(long, default_value_t = Asked::default().rate, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Clusters in which an incident begins at the same moment
    #[arg(long, default_value_t = Asked::default().incidents)]
    incidents: u64,
    /// For so many seconds, after a warm-up
    #[arg(long, default_value_t = Asked::default().seconds, value_parser = clap::value_parser!(u64).range(10..))]
    seconds: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self { clusters: 1_000, rate: 1_000, incidents: 20, seconds: 120 }
    }
}

/// What a process has taken of the machine.
#[derive(Clone, Copy)]
struct Taken {
    /// s.
    cpu: f64,
    /// bytes.
    memory: u64,
}

/// Measures, and adds the table. It needs the program `epicenter`, built as this one is.
pub fn measure(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let kafka = Kafka::start()?;
    let command = |arguments: &[&str]| -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
        command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string());
        Ok(command)
    };
    let created = command(&["topics", "create"])?.output()?;
    anyhow::ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let admin = ports::free::<4>()?;
    let mut running = Vec::new();
    for (arguments, port) in SERVICES.into_iter().zip(admin) {
        let log = directory.path().join(format!("{}.log", arguments[0]));
        let mut command = command(arguments)?;
        command.env("EPICENTER_ADMIN__LISTEN", format!("127.0.0.1:{port}"));
        running.push(Process::spawn(arguments[0], &mut command, &log)?);
    }
    for service in &mut running {
        service.until(STARTED_IN, |log| log.contains("took partition over"))?;
    }
    let bus = Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(kafka.bootstrap()) })?;
    let taken =
        || -> anyhow::Result<Vec<Taken>> { running.iter().map(Process::pid).chain([kafka.pid()]).map(taken).collect() };

    let empty = taken()?;
    let mut fleet = Clusters::new(&bus, asked.clusters)?;
    fleet.list()?;
    drained(&admin)?;
    let over = AtomicBool::new(false);
    let (before, after, began, opened, events) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| opened(&bus, &over));
        let written = (|| {
            fleet.write(asked.rate, WARM_UP)?;
            let before = taken()?;
            let began = fleet.begin_incidents(asked.incidents)?;
            let events = fleet.write(asked.rate, Duration::from_secs(asked.seconds))?;
            drained(&admin)?;
            anyhow::Ok((before, taken()?, began, events))
        })();
        over.store(true, Ordering::Relaxed);
        let opened = reading.join().expect("a reader does not panic")?;
        let (before, after, began, events) = written?;
        anyhow::Ok((before, after, began, opened, events))
    })?;
    for service in &mut running {
        anyhow::ensure!(service.ended()?.is_none(), "{}", service.tail());
    }
    report.section("Fleet", &table(asked, [&empty, &before, &after], events, began, &opened)?);
    Ok(())
}

/// What a process has taken, as `/proc` tells (proc(5)).
fn taken(pid: u32) -> anyhow::Result<Taken> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may have blanks; utime and stime are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let ticks = |field: usize| fields.split_whitespace().nth(field).and_then(|field| field.parse::<f64>().ok());
    let cpu =
        ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) / TICKS).context("no times in /proc/PID/stat")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(Taken { cpu, memory: kib.context("no VmRSS in /proc/PID/status")?.trim().parse::<u64>()? * 1024 })
}

/// Waits until no service has anything left to read.
fn drained(admin: &[u16]) -> anyhow::Result<()> {
    let deadline = Instant::now() + STARTED_IN;
    let left = || -> anyhow::Result<f64> {
        let mut left = 0.0;
        for port in admin {
            let (_, text) = http::get(*port, "/metrics")?;
            let lags = text.lines().filter(|line| line.starts_with("epicenter_lag_seconds{"));
            left += lags.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).fold(0.0, f64::max);
        }
        Ok(left)
    };
    // A lag is told once a second.
    for _ in 0..3 {
        while left()? > 2.0 {
            anyhow::ensure!(Instant::now() < deadline, "the services are {} s behind", left()?);
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// When the incident of each cluster was published first, as a subscriber sees it.
fn opened(bus: &Bus, over: &AtomicBool) -> anyhow::Result<HashMap<String, Instant>> {
    let mut reader = bus.reader(topics::INCIDENTS.name, &(0..PARTITIONS).collect::<Vec<_>>(), Start::Latest)?;
    let (mut opened, codec) = (HashMap::new(), Codec::single_object());
    while !over.load(Ordering::Relaxed) {
        let Some(record) = reader.next(Duration::from_millis(100))? else { continue };
        if let Some(payload) = &record.payload {
            let incident: Incident = codec.decode(payload)?;
            opened.entry(incident.cluster).or_insert_with(Instant::now);
        }
    }
    Ok(opened)
}

/// Made-up clusters. One source writes those of a partition, where each real one has an exporter, and so commits, of its own.
struct Clusters {
    codec: Codec,
    sources: Vec<Source>,
    names: Vec<String>,
    /// Records of each partition that are not committed yet.
    waiting: Vec<Vec<Emit>>,
    /// Events written.
    events: u64,
}

impl Clusters {
    fn new(bus: &Bus, count: u64) -> anyhow::Result<Self> {
        let open =
            |partition| bus.source(&format!("fleet-{partition}"), partition, b"fleet/").map(|(source, _)| source);
        Ok(Self {
            codec: Codec::single_object(),
            sources: (0..PARTITIONS).map(open).collect::<Result<_, _>>()?,
            names: (0..count).map(|n| format!("cluster-{n}")).collect(),
            waiting: (0..PARTITIONS).map(|_| Vec::new()).collect(),
            events: 0,
        })
    }

    /// Every object of every cluster, as an exporter lists them first.
    fn list(&mut self) -> anyhow::Result<()> {
        for cluster in 0..self.names.len() {
            for facts in objects() {
                let (name, uid) = self.identity(cluster);
                let change = ObjectChange {
                    cluster: name,
                    cluster_uid: uid,
                    at: now(),
                    listed: true,
                    facts,
                    ..ObjectChange::default()
                };
                let id = format!("0/{}/1", change.facts.object.uid);
                self.add(&RawRecord::Object(Box::new(change)), &id)?;
            }
            if cluster.is_multiple_of(20) {
                self.commit()?;
            }
        }
        self.commit()
    }

    /// Writes what a fleet says in its daily life for so long; gives how many Events that were.
    fn write(&mut self, rate: u64, time: Duration) -> anyhow::Result<u64> {
        const STEPS: u64 = 10;
        let (before, began) = (self.events, Instant::now());
        let clusters = self.names.len() as u64;
        for step in 0..time.as_secs() * STEPS {
            for n in 0..rate / STEPS {
                let n = step * (rate / STEPS) + n;
                self.happen((n % clusters) as usize, self.events, daily(n / clusters))?;
            }
            let beating = |cluster: &u64| cluster % (BEAT * STEPS) == step % (BEAT * STEPS);
            for cluster in (0..clusters).filter(beating) {
                let (cluster, cluster_uid) = self.identity(cluster as usize);
                let at = now();
                let beat = Heartbeat { cluster, cluster_uid, at, healthy: true, last: false };
                self.add(&RawRecord::Heartbeat(beat), &format!("@{}", at.as_micros()))?;
            }
            self.commit()?;
            let due = began + Duration::from_millis((step + 1) * 1000 / STEPS);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(self.events - before)
    }

    /// A workload of each of the first clusters cannot pull its image; gives when that was committed.
    fn begin_incidents(&mut self, count: u64) -> anyhow::Result<Instant> {
        for cluster in 0..(count as usize).min(self.names.len()) {
            for pod in 0..REPLICAS {
                let note = format!(
                    "Failed to pull image \"registry.example.com/shop/web:{cluster}\": rpc error: code = NotFound: not found"
                );
                self.happen(cluster, self.events, (pod, "Failed", &note, "Warning"))?;
            }
        }
        self.commit()?;
        Ok(Instant::now())
    }

    fn happen(
        &mut self,
        cluster: usize,
        n: u64,
        (pod, reason, note, kind): (u64, &str, &str, &str),
    ) -> anyhow::Result<()> {
        let (name, cluster_uid) = self.identity(cluster);
        let at = now();
        let event = Event {
            uid: format!("event-{n}"),
            namespace: "shop".to_owned(),
            name: format!("{}.{n:x}", pod_name(pod)),
            resource_version: n.to_string(),
            created_at: Some(at),
            regarding: reference("v1", "Pod", pod_name(pod)),
            field_path: "spec.containers{app}".to_owned(),
            reason: reason.to_owned(),
            note: note.to_owned(),
            event_type: kind.to_owned(),
            component: "kubelet".to_owned(),
            host: format!("node-{}", pod % NODES),
            count: Some(1),
            first_at: Some(at),
            last_at: Some(at),
            ..Event::default()
        };
        self.events += 1;
        let raw = RawEvent { cluster: name, cluster_uid, at, epoch: 0, backfill: false, event };
        self.add(&RawRecord::Event(Box::new(raw)), &format!("0/event-{n}/{n}"))
    }

    fn identity(&self, cluster: usize) -> (String, String) {
        (self.names[cluster].clone(), format!("uid-of-{}", self.names[cluster]))
    }

    fn add(&mut self, record: &RawRecord, id: &str) -> anyhow::Result<()> {
        let partition = partition_of(record.cluster(), PARTITIONS);
        self.waiting[partition as usize].push(Emit {
            topic: topics::EVENTS_RAW.name,
            timestamp: record.at().as_millis(),
            key: record.key().into(),
            payload: Some(record.encode(&self.codec)?.into()),
            headers: headers(record.record_type(), record.cluster(), id.to_owned(), record.at()),
        });
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        for (source, waiting) in self.sources.iter_mut().zip(&mut self.waiting) {
            if !waiting.is_empty() {
                source.commit(waiting, &[])?;
                waiting.clear();
            }
        }
        Ok(())
    }
}

/// What pods say when nothing is wrong.
fn daily(n: u64) -> (u64, &'static str, &'static str, &'static str) {
    let (reason, note) = match n % 5 {
        0 => ("Scheduled", "Successfully assigned shop/web to a node"),
        1 => ("Pulling", "Pulling image \"registry.example.com/shop/web:1.2.3\""),
        2 => ("Pulled", "Successfully pulled image \"registry.example.com/shop/web:1.2.3\" in 1.2s"),
        3 => ("Created", "Created container: app"),
        _ => ("Started", "Started container app"),
    };
    (n / 5 % PODS, reason, note, "Normal")
}

fn pod_name(pod: u64) -> String {
    format!("web-{}-{pod}", pod / REPLICAS)
}

fn reference(api_version: &str, kind: &str, name: String) -> ObjectRef {
    let namespaced = !["Node", "Namespace"].contains(&kind);
    let namespace = if namespaced { "shop".to_owned() } else { String::new() };
    let uid = format!("{kind}-{name}");
    ObjectRef { api_version: api_version.to_owned(), kind: kind.to_owned(), namespace, name, uid }
}

/// The objects of a cluster: what pods stand in, and the pods.
fn objects() -> Vec<ObjectFacts> {
    let bare = |object| ObjectFacts { object, resource_version: "1".to_owned(), ..ObjectFacts::default() };
    let owned = |object, owner| ObjectFacts { owner: Some(owner), ..bare(object) };
    let deployment = |n| reference("apps/v1", "Deployment", format!("app-{n}"));
    let replica_set = |n| reference("apps/v1", "ReplicaSet", format!("web-{n}"));
    let mut objects = vec![bare(reference("v1", "Namespace", "shop".to_owned()))];
    objects.extend((0..NODES).map(|n| bare(reference("v1", "Node", format!("node-{n}")))));
    for n in 0..PODS / REPLICAS {
        objects.extend([bare(deployment(n)), owned(replica_set(n), deployment(n))]);
    }
    objects.extend((0..PODS).map(|pod| ObjectFacts {
        node: format!("node-{}", pod % NODES),
        phase: "Running".to_owned(),
        images: vec!["registry.example.com/shop/web:1.2.3".to_owned()],
        containers: vec![ContainerFacts { name: "app".to_owned(), ready: true, ..ContainerFacts::default() }],
        ..owned(reference("v1", "Pod", pod_name(pod)), replica_set(pod / REPLICAS))
    }));
    objects
}

fn table(
    asked: &Asked,
    [empty, before, after]: [&[Taken]; 3],
    events: u64,
    began: Instant,
    opened: &HashMap<String, Instant>,
) -> anyhow::Result<String> {
    let incidents = (0..asked.incidents.min(asked.clusters)).map(|n| opened.get(&format!("cluster-{n}")));
    let mut late: Vec<f64> = incidents
        .map(|at| Some(at?.saturating_duration_since(began).as_secs_f64() * 1e3))
        .collect::<Option<_>>()
        .context("not every incident was published")?;
    late.sort_by(f64::total_cmp);
    anyhow::ensure!(opened.len() == late.len(), "{} clusters have an incident, of {}", opened.len(), late.len());
    let clusters = asked.clusters as f64;
    let mut body = format!(
        "{} clusters of {NODES} nodes and {PODS} pods on {PARTITIONS} partitions of a real broker, {} heartbeats and {} Events/s in all \
         for {} s, and {} incidents that began at the same moment; each service is one process, all of them and the broker and the \
         writer on the same machine. Times are those of the processor, as Linux counts them; memory is resident, at the end.\n\n\
         | | cores | CPU s for a million Events | MiB | KiB for a cluster |\n|---|---|---|---|---|",
        thousands(clusters),
        thousands(clusters / BEAT as f64),
        thousands(events as f64 / asked.seconds as f64),
        asked.seconds,
        late.len(),
    );
    let mut all = [0.0; 2];
    for (n, name) in SERVICES.iter().map(|arguments| arguments[0]).chain(["the broker"]).enumerate() {
        let cpu = after[n].cpu - before[n].cpu;
        let (mib, grown) =
            (after[n].memory as f64 / 1048576.0, after[n].memory.saturating_sub(empty[n].memory) as f64 / 1024.0);
        let cores = cpu / asked.seconds as f64;
        all = [all[0] + cores, all[1] + mib];
        let of_million = cpu / events as f64 * 1e6;
        body.push_str(&format!("\n| {name} | {cores:.2} | {of_million:.0} | {mib:.0} | {:.1} |", grown / clusters));
    }
    body.push_str(&format!(
        "\n| **all** | {:.2} | {:.0} | {:.0} | |",
        all[0],
        all[0] * asked.seconds as f64 / events as f64 * 1e6,
        all[1]
    ));
    if let (Some(first), Some(last)) = (late.get(late.len() / 2), late.last()) {
        body.push_str(&format!("\n\nFrom the commit of the incidents' Events to the incident's record at a subscriber: p50 {first:.0} ms, longest {last:.0} ms."));
    }
    Ok(body)
}
