//! From the API server's answer to a writer to the incident's record, and to its object in the cluster: every service a process
//! of its own, on a real broker and a real API server.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use epicenter_bus::{Bus, Record, Start, topics};
use epicenter_model::{Codec, Incident, IncidentChange, partition_of};
use epicenter_sink::IncidentObject;
use epicenter_tests::kube::ControlPlane;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use serde_json::json;

use crate::installation::{CLUSTER, Installation, PARTITIONS};
use crate::report::{Report, thousands};

/// Writers ask on so many connections.
const CONNECTIONS: u64 = 32;
/// Of so many Events one begins an incident; its way is timed.
pub(super) const TIMED: u64 = 50;
const WARM_UP: Duration = Duration::from_secs(10);
/// An Event's way through the topics.
const HOPS: [&str; 4] =
    [topics::EVENTS_RAW.name, topics::EVENTS_ENRICHED.name, topics::INCIDENT_CHANGES.name, topics::INCIDENTS.name];

/// More incidents begin in a second than a cluster has in an hour: their objects are not to wait for each other.
const OBJECTS: [(&str, &str); 2] =
    [("EPICENTER_OBJECTS__WRITES_PER_SECOND", "1000"), ("EPICENTER_OBJECTS__MAX_OBJECTS", "10000")];

/// When an Event came somewhere, by its uid.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Events per second
    #[arg(long, default_value_t = Asked::default().rate, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// For so many seconds, after a warm-up
    #[arg(long, default_value_t = Asked::default().seconds, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self { rate: 1_000, seconds: 60 }
    }
}

/// Measures, and adds the table. It needs the program `epicenter`, built as this one is.
pub fn measure(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    let (rate, time) = (asked.rate, Duration::from_secs(asked.seconds));
    let processors: [&[&str]; 3] = [&["enricher"], &["correlator"], &["sink", "--role", "central"]];
    let mut installation = Installation::start(&processors, &[&["sink", "--role", "member"]], &OBJECTS)?;
    let (bus, plane) = (installation.bus()?, &installation.plane);
    let over = AtomicBool::new(false);
    let arrivals: [Arrivals; 4] = Default::default();
    let shown = Arrivals::default();
    let load = std::thread::scope(|scope| {
        let readers: Vec<_> = HOPS
            .into_iter()
            .zip(&arrivals)
            .map(|(topic, arrivals)| scope.spawn(|| follow(&bus, topic, arrivals, &over)))
            .collect();
        let watcher = scope.spawn(|| tokio::runtime::Runtime::new()?.block_on(watch(plane, &shown, &over)));
        let load = tokio::runtime::Runtime::new()?.block_on(write(plane, rate, time));
        // The last ones are still on their way.
        std::thread::sleep(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("a reader does not panic")?;
        }
        watcher.join().expect("a watcher does not panic")?;
        load
    })?;
    installation.check()?;
    let [raw, enriched, changes, incidents] = arrivals;
    let arrivals = [raw, enriched, changes, incidents, shown].map(|place| std::mem::take(&mut *place.lock()));
    report.section("Latency", &table(&load, &arrivals, rate, time)?);
    Ok(())
}

/// What was written.
pub(super) struct Load {
    /// Events per second, after the warm-up.
    pub rate: f64,
    /// When the API server had answered, by uid, of the Events whose way is timed.
    pub answered: HashMap<String, Instant>,
}

async fn client(plane: &ControlPlane) -> anyhow::Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    epicenter_exporter::choose_cryptography();
    Ok(kube::Client::try_from(config)?)
}

pub(super) async fn write(plane: &ControlPlane, rate: u64, time: Duration) -> anyhow::Result<Load> {
    let events: Api<Event> = Api::namespaced(client(plane).await?, "default");
    let began = Instant::now();
    let (next, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (events, next, written) = (events.clone(), Arc::clone(&next), Arc::clone(&written));
        writers.spawn(async move {
            let mut answered = Vec::new();
            while began.elapsed() < WARM_UP + time {
                let n = next.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep_until((began + Duration::from_secs(1) * n as u32 / rate as u32).into()).await;
                let event = events.create(&PostParams::default(), &event(n)?).await?;
                let (now, warm) = (Instant::now(), began.elapsed() > WARM_UP);
                if warm {
                    written.fetch_add(1, Ordering::Relaxed);
                }
                if warm && n.is_multiple_of(TIMED) {
                    answered.push((event.metadata.uid.context("an Event without uid")?, now));
                }
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = HashMap::new();
    while let Some(writer) = writers.join_next().await {
        answered.extend(writer??);
    }
    let rate = written.load(Ordering::Relaxed) as f64 / (began.elapsed() - WARM_UP).as_secs_f64();
    Ok(Load { rate, answered })
}

/// The mix of a cluster in trouble; one of [`TIMED`] is about an image that no other names, and so begins an incident.
fn event(n: u64) -> anyhow::Result<Event> {
    let pod = format!("web-{}", n % 500);
    let (reason, message, pod) = if n.is_multiple_of(TIMED) {
        let message = format!("Failed to pull image \"example.com/web:{n}\": rpc error: code = NotFound: not found");
        ("Failed", message, format!("lone-{n}"))
    } else if n.is_multiple_of(2) {
        ("BackOff", "Back-off restarting failed container app in pod web_default(uid)".to_owned(), pod)
    } else {
        ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned(), pod)
    };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(serde_json::from_value(json!({
        "metadata": {"name": format!("load-{n}"), "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": pod, "uid": pod},
        "reason": reason, "message": message, "type": "Warning", "count": 1,
        "source": {"component": "kubelet", "host": "n1"}, "firstTimestamp": now, "lastTimestamp": now,
    }))?)
}

/// Notes when Events come to a topic, as a subscriber sees them.
fn follow(bus: &Bus, topic: &'static str, arrivals: &Arrivals, over: &AtomicBool) -> anyhow::Result<()> {
    let mut reader = bus.reader(topic, &[partition_of(CLUSTER, PARTITIONS)], Start::Latest)?;
    while !over.load(Ordering::Relaxed) {
        let Some(record) = reader.next(Duration::from_millis(100))? else { continue };
        let now = Instant::now();
        let mut arrivals = arrivals.lock();
        for uid in uids(topic, &record)? {
            arrivals.entry(uid).or_insert(now);
        }
    }
    Ok(())
}

/// Notes when Events are in an object of the cluster, as a watch of them sees it.
async fn watch(plane: &ControlPlane, shown: &Arrivals, over: &AtomicBool) -> anyhow::Result<()> {
    let objects: Api<IncidentObject> = Api::all(client(plane).await?);
    while !over.load(Ordering::Relaxed) {
        // The sink may not have defined them yet.
        let Ok(found) = objects.watch(&WatchParams::default(), "0").await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let mut found = pin!(found);
        while !over.load(Ordering::Relaxed) {
            let object = match tokio::time::timeout(Duration::from_millis(100), found.next()).await {
                Err(_) => continue,
                Ok(None) => break,
                Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => object,
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return Err(error.into()),
            };
            let now = Instant::now();
            let mut shown = shown.lock();
            for member in object.status.into_iter().flat_map(|status| status.document.members) {
                shown.entry(member.event_uid).or_insert(now);
            }
        }
    }
    Ok(())
}

/// The Events that a record tells of.
fn uids(topic: &str, record: &Record) -> anyhow::Result<Vec<String>> {
    let codec = Codec::single_object();
    let Some(payload) = &record.payload else { return Ok(vec![]) };
    let of = |incident: Incident| incident.members.into_iter().map(|member| member.event_uid).collect();
    if topic == topics::INCIDENTS.name {
        return Ok(of(codec.decode(payload)?));
    }
    if topic == topics::INCIDENT_CHANGES.name {
        return Ok(of(codec.decode::<IncidentChange>(payload)?.incident));
    }
    // `epoch/uid/version` in events.raw, `uid/version/occurrences` in events.enriched.
    let place = usize::from(topic == topics::EVENTS_RAW.name);
    let id = record.headers.iter().find(|(name, _)| name == "ce_id").map(|(_, id)| String::from_utf8_lossy(id));
    Ok(id.and_then(|id| id.split('/').nth(place).map(str::to_owned)).into_iter().collect())
}

fn table(load: &Load, arrivals: &[HashMap<String, Instant>; 5], asked: u64, time: Duration) -> anyhow::Result<String> {
    let timed: Vec<_> = load
        .answered
        .iter()
        .map(|(uid, answered)| {
            let places = arrivals.each_ref().map(|place| place.get(uid).copied());
            Some((*answered, [places[0]?, places[1]?, places[2]?, places[3]?, places[4]?]))
        })
        .collect::<Option<_>>()
        .context("not every Event has come to every topic and into an object: the services fell behind")?;
    // A subscriber may see a record before the writer is told that its Event is taken.
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let row = |name: &str, mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        let at = |part: f64| figures[((figures.len() - 1) as f64 * part).round() as usize];
        format!("\n| {name} | {:.0} | {:.0} | {:.0} |", at(0.5), at(0.99), at(1.0))
    };
    let mut body = format!(
        "A real API server and a real broker on the same machine; exporter, enricher, correlator and two sinks as processes. {} \
         Events/s were asked for and {} were reached, for {} s; {} of them, each of which begins an incident, were timed from \
         the API server's answer to the writer to the record at a subscriber that reads committed records, and to the object at \
         one who watches Incident objects, ms.\n\n| | p50 | p99 | longest |\n|---|---|---|---|",
        thousands(asked as f64),
        thousands(load.rate),
        time.as_secs(),
        timed.len(),
    );
    let places: Vec<_> = HOPS.into_iter().chain(["object in the cluster"]).collect();
    for (place, name) in places.iter().enumerate() {
        let before = place.checked_sub(1);
        let figures = timed.iter().map(|(from, at)| ms(before.map_or(*from, |before| at[before]), at[place]));
        body.push_str(&row(
            &format!("{} → {name}", before.map_or("answer", |before| places[before])),
            figures.collect(),
        ));
    }
    let incidents = HOPS.len() - 1;
    for place in [incidents, incidents + 1] {
        let name = format!("**answer → {}**", places[place]);
        body.push_str(&row(&name, timed.iter().map(|(from, at)| ms(*from, at[place])).collect()));
    }
    Ok(body)
}
