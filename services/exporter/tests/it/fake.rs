//! An API server on loopback that answers as a test says, and an exporter that reads it into a log in a directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use epicenter_bus::{Bus, LocalConfig, Record, Start, topics};
use epicenter_exporter::{Claims, ExporterConfig, ExporterError, Health, Log, client, run};
use epicenter_model::{Codec, DeadLetter, RawRecord, WatchPosition};
use epicenter_runtime::system_clock;
use epicenter_runtime::{Metrics, Traces};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Ask {
    pub resource: String,
    pub path: String,
    /// The bearer token.
    pub credentials: String,
    pub verb: &'static str,
    pub query: BTreeMap<String, String>,
    /// How often that resource was asked for by that verb before, since the last [`Fake::answer`].
    pub nth: usize,
}

impl Ask {
    pub fn version(&self) -> &str {
        self.query.get("resourceVersion").map_or("", String::as_str)
    }

    pub fn token(&self) -> &str {
        self.query.get("continue").map_or("", String::as_str)
    }
}

pub enum Answer {
    Json(u16, String),
    /// Too many requests: try again after that many seconds.
    Busy(u64),
    /// A watch that sends these lines and stays open.
    Open(Vec<String>),
    /// A watch that sends these lines and ends.
    Ended(Vec<String>),
    /// Nothing at all, for a long time.
    Silence,
}

type Script = Box<dyn Fn(&Ask) -> Answer + Send + Sync>;

#[derive(Clone)]
pub struct Fake {
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<Ask>>>,
    uid: Arc<Mutex<String>>,
    lease: Arc<Mutex<Option<Value>>>,
    /// How far its clock is ahead, ms.
    ahead: Arc<AtomicI64>,
    port: u16,
}

impl Fake {
    pub async fn start(script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Self {
            script: Arc::new(Mutex::new(Box::new(script))),
            asked: Arc::default(),
            uid: Arc::new(Mutex::new("cluster-1".to_owned())),
            lease: Arc::default(),
            ahead: Arc::default(),
            port,
        };
        let app = Router::new().fallback(serve).layer(map_response_with_state(fake.clone(), dated));
        let app = app.with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        fake
    }

    /// From now on it answers so.
    pub fn answer(&self, script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) {
        *self.script.lock() = Box::new(script);
        self.asked.lock().clear();
    }

    /// From now on it is that cluster.
    pub fn is(&self, uid: &str) {
        *self.uid.lock() = uid.to_owned();
    }

    /// From now on its clock is so far ahead.
    pub fn ahead(&self, ms: i64) {
        self.ahead.store(ms, Ordering::Relaxed);
    }

    /// Who holds its Lease.
    pub fn holder(&self) -> Option<String> {
        let lease = self.lease.lock();
        lease.as_ref()?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self, token: &str) -> String {
        format!(
            "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], clusters: [{{name: c, cluster: \
             {{server: \"http://127.0.0.1:{}\"}}}}], users: [{{name: u, user: {{token: {token}}}}}]}}",
            self.port
        )
    }

    pub fn kube_config(&self) -> kube::Config {
        kube::Config::new(format!("http://127.0.0.1:{}", self.port).parse().unwrap())
    }

    pub fn asked(&self, verb: &str) -> Vec<Ask> {
        self.asked.lock().iter().filter(|ask| ask.verb == verb).cloned().collect()
    }
}

async fn serve(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let path = uri.path().to_owned();
    if path.contains("/leases") {
        return lease(&mut fake.lease.lock(), &method, &body);
    }
    let resource = path.rsplit('/').next().unwrap().to_owned();
    if resource == "kube-system" {
        let uid = fake.uid.lock();
        return format!(r#"{{"metadata":{{"name":"kube-system","uid":"{uid}"}}}}"#).into_response();
    }
    let credentials = headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
    let credentials = credentials.trim_start_matches("Bearer ").to_owned();
    let verb = match (query.contains_key("watch"), query.contains_key("resourceVersionMatch")) {
        (true, _) => "watch",
        (_, true) => "check",
        _ => "list",
    };
    let ask = {
        let mut asked = fake.asked.lock();
        let nth = asked.iter().filter(|ask| ask.verb == verb && ask.resource == resource).count();
        let ask = Ask { resource, path, credentials, verb, query, nth };
        asked.push(ask.clone());
        ask
    };
    let answer = (fake.script.lock())(&ask);
    let lines = |lines: Vec<String>| futures::stream::iter(lines).map(|line| Ok::<_, std::io::Error>(line + "\n"));
    match answer {
        Answer::Json(status, json) => (StatusCode::from_u16(status).unwrap(), json).into_response(),
        Answer::Busy(seconds) => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], "slowly").into_response()
        }
        Answer::Open(sent) => Body::from_stream(lines(sent).chain(futures::stream::pending())).into_response(),
        Answer::Ended(sent) => Body::from_stream(lines(sent)).into_response(),
        Answer::Silence => futures::future::pending().await,
    }
}

async fn dated(State(fake): State<Fake>, mut response: Response) -> Response {
    let now = epicenter_runtime::now().plus_millis(fake.ahead.load(Ordering::Relaxed));
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    response.headers_mut().insert(header::DATE, date.parse().unwrap());
    response
}

/// One Lease, which is replaced only by who has seen its newest version.
fn lease(stored: &mut Option<Value>, method: &Method, body: &str) -> Response {
    let version = |lease: &Value| lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let held = stored.as_ref().map(version);
    if method == Method::GET {
        return match stored {
            Some(lease) => lease.to_string().into_response(),
            None => (StatusCode::NOT_FOUND, status(404, "NotFound", "")).into_response(),
        };
    }
    let mut new: Value = serde_json::from_str(body).unwrap();
    let seen = Some(version(&new)).filter(|version| !version.is_empty());
    if seen != held {
        return (StatusCode::CONFLICT, status(409, "Conflict", "")).into_response();
    }
    let next = held.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
    new["metadata"]["resourceVersion"] = next.to_string().into();
    *stored = Some(new.clone());
    new.to_string().into_response()
}

/// Three Events in two pages, then a watch that stays open and silent.
pub fn first(ask: &Ask) -> Answer {
    match (ask.verb, ask.token()) {
        ("list", "") => list(10, "two", &[event("a", 3), event("b", 7)]),
        ("list", "two") => list(10, "", &[event("c", 5)]),
        ("watch", _) => Answer::Open(Vec::new()),
        _ => list(10, "", &[]),
    }
}

pub const LISTED: [&str; 3] =
    ["event a@3 epoch 0 backfill", "event b@7 epoch 0 backfill", "event c@5 epoch 0 backfill"];

/// A log with the three Events in it and the position 10, and its exporter stopped.
pub async fn installed(fake: &Fake) -> Site {
    let mut site = Site::new(fake.clone(), &[]);
    site.start();
    site.expect(&LISTED).await;
    site.until("the position", |site| {
        site.position("events")
            .is_some_and(|position| position.resource_version == "10" && position.list_key.is_empty())
    })
    .await;
    site.stop().await;
    site
}

pub fn event(name: &str, version: u64) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"ns","uid":"{name}","resourceVersion":"{version}","creationTimestamp":"2026-11-23T11:00:00Z"}},"involvedObject":{{"kind":"Pod","namespace":"ns","name":"p"}},"reason":"BackOff","count":1}}"#
    )
}

pub fn pod(name: &str, version: u64, phase: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"{name}","resourceVersion":"{version}"}},"status":{{"phase":"{phase}"}}}}"#
    )
}

pub fn sent(kind: &str, object: &str) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

pub fn list(version: u64, token: &str, items: &[String]) -> Answer {
    let items = items.join(",");
    Answer::Json(
        200,
        format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}]}}"#),
    )
}

pub fn status(code: u16, reason: &str, cause: &str) -> String {
    format!(
        r#"{{"kind":"Status","code":{code},"reason":"{reason}","message":"as the test says","details":{{"causes":[{{"reason":"{cause}"}}]}}}}"#
    )
}

pub fn refused(code: u16, reason: &str, cause: &str) -> Answer {
    Answer::Json(code, status(code, reason, cause))
}

/// A log, and perhaps an exporter that writes to it.
pub struct Site {
    pub fake: Fake,
    pub bus: Bus,
    pub health: Health,
    pub config: ExporterConfig,
    pub parts: epicenter_runtime::Health,
    pub metrics: Metrics,
    running: Option<(CancellationToken, JoinHandle<Result<(), ExporterError>>)>,
    _directory: tempfile::TempDir,
}

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Site {
    pub fn new(fake: Fake, objects: &[epicenter_exporter::project::Kind]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let local =
            LocalConfig { directory: directory.path().to_owned(), partitions: 1, retention: Duration::from_secs(3600) };
        let config = ExporterConfig {
            cluster: "c".to_owned(),
            objects: objects.to_vec(),
            heartbeat_ms: 20,
            page_size: 2,
            max_object_bytes: 4096,
            retry_first_ms: 5,
            retry_longest_ms: 50,
            unavailable_retry_ms: 50,
            ..ExporterConfig::default()
        };
        let (parts, metrics) = (epicenter_runtime::Health::new(), Metrics::new("1"));
        let health = Health::new("c", parts.clone(), metrics.clone());
        let bus = Bus::local(local).unwrap();
        Self { fake, bus, health, config, parts, metrics, running: None, _directory: directory }
    }

    pub fn log(&self) -> Log {
        Log { bus: self.bus.clone(), codec: Codec::single_object(), clock: system_clock(), traces: Traces::default() }
    }

    pub fn start(&mut self) {
        let kube = self.fake.kube_config();
        let stop = CancellationToken::new();
        let work = run(
            self.config.clone(),
            client(kube).unwrap(),
            self.log(),
            Claims::default(),
            self.health.clone(),
            stop.clone(),
        );
        self.running = Some((stop, tokio::spawn(work)));
    }

    /// Stops the exporter in an orderly way.
    pub async fn stop(&mut self) {
        let (stop, work) = self.running.take().unwrap();
        stop.cancel();
        work.await.unwrap().unwrap();
    }

    /// Ends the exporter where it stands.
    pub async fn kill(&mut self) {
        let (_, work) = self.running.take().unwrap();
        work.abort();
        assert!(work.await.unwrap_err().is_cancelled());
    }

    fn read(&self, topic: &'static str) -> Vec<Record> {
        let mut reader = self.bus.reader(topic, &[0], Start::Earliest).unwrap();
        std::iter::from_fn(|| reader.next(Duration::ZERO).unwrap()).collect()
    }

    pub fn records(&self) -> Vec<RawRecord> {
        let codec = Codec::single_object();
        let decode = |record: Record| RawRecord::decode(&codec, &record.payload.unwrap()).unwrap();
        self.read(topics::EVENTS_RAW.name).into_iter().map(decode).collect()
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let decode = |record: Record| Codec::single_object().decode(&record.payload.unwrap()).unwrap();
        self.read(topics::DEAD_LETTER.name).into_iter().map(decode).collect()
    }

    pub fn position(&self, resource: &str) -> Option<WatchPosition> {
        let table = self.bus.table(topics::POSITIONS.name).unwrap();
        table.get(format!("c/{resource}").as_bytes()).map(|row| Codec::single_object().decode(row).unwrap())
    }

    /// Everything but heartbeats, in short.
    pub fn told(&self) -> Vec<String> {
        self.records().iter().filter_map(short).collect()
    }

    /// The same, of one of several clusters.
    pub fn told_of(&self, cluster: &str) -> Vec<String> {
        self.records().iter().filter(|record| record.cluster() == cluster).filter_map(short).collect()
    }

    pub fn heartbeats(&self) -> usize {
        self.records().iter().filter(|record| matches!(record, RawRecord::Heartbeat(_))).count()
    }

    /// The metrics have that line.
    pub fn shows(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|shown| shown == line)
    }

    /// Waits until the log tells that, in that order, and nothing else.
    #[track_caller]
    pub fn expect<'s>(&'s self, expected: &'s [&str]) -> impl Future<Output = ()> + 's {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            while self.told() != expected && Instant::now() < deadline && self.told().len() <= expected.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(self.told(), expected, "at {caller}, {:#?}", self.health.snapshot());
        }
    }

    pub async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:#?}\n{:#?}\n{:#?}",
                self.told(),
                self.health.snapshot(),
                self.parts.report()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn short(record: &RawRecord) -> Option<String> {
    Some(match record {
        RawRecord::Event(record) => {
            let backfill = if record.backfill { " backfill" } else { "" };
            format!("event {}@{} epoch {}{backfill}", record.event.name, record.event.resource_version, record.epoch)
        }
        RawRecord::Object(record) => {
            let how = match (record.deleted, record.listed) {
                (true, _) => "deleted",
                (_, true) => "listed",
                _ => "changed",
            };
            format!("{} {}@{} {how}", record.facts.object.kind, record.facts.object.name, record.facts.resource_version)
        }
        RawRecord::Swept(record) => format!("swept {}", record.kind),
        RawRecord::Command(command) => format!("command {}", command.id),
        RawRecord::Gap(gap) => {
            format!("gap {} {} to {}: {}", gap.resource, gap.from_resource_version, gap.to_resource_version, gap.reason)
        }
        RawRecord::Heartbeat(_) => return None,
    })
}
