//! Receivers on loopback that fail as scripted: every notice arrives, once by key, in order, and nobody is held up.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use epicenter_alerts::{Context, run};
use epicenter_bus::{Emit, Stop, topics};
use epicenter_model::{Codec, DeadLetter, Incident, IncidentChange, IncidentState, Severity, Timestamp};

use crate::{LIMIT, context};

/// What a fake receiver does with its next request; it takes all others.
#[derive(Clone, Copy, Debug)]
enum Act {
    Say(u16),
    SlowDown,
    /// It has the request, and never says so.
    Hang,
}

#[derive(Clone, Default)]
struct Fake {
    script: Arc<Mutex<VecDeque<Act>>>,
    /// Key and notice of each request, and whether it was taken.
    got: Arc<Mutex<Vec<(String, String, bool)>>>,
}

async fn answer(State(fake): State<Fake>, headers: HeaderMap, body: String) -> axum::response::Response {
    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    assert_eq!(
        (headers["content-type"].to_str().unwrap(), event["id"].as_str()),
        ("application/cloudevents+json", Some(key.as_str()))
    );
    let act = fake.script.lock().unwrap().pop_front();
    let notice = event["data"]["notice"].as_str().unwrap().to_owned();
    fake.got.lock().unwrap().push((key, notice, act.is_none()));
    match act {
        None => StatusCode::OK.into_response(),
        Some(Act::Say(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Act::SlowDown) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        Some(Act::Hang) => std::future::pending().await,
    }
}

impl Fake {
    async fn serve(&self, address: &str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        at
    }

    fn taken(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().filter(|(.., taken)| *taken).map(|(key, notice, _)| format!("{notice} {key}")).collect()
    }

    async fn until(&self, count: usize) {
        let deadline = Instant::now() + LIMIT;
        while self.taken().len() < count {
            assert!(Instant::now() < deadline, "only {:?}", self.taken());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

struct Site {
    _directory: tempfile::TempDir,
    context: Context,
}

/// `away` are addresses of receivers `r0`, `r1`, ….
fn site(addresses: &[SocketAddr]) -> Site {
    let names: Vec<String> = (0..addresses.len()).map(|n| format!("r{n}")).collect();
    let receivers: String = names
        .iter()
        .zip(addresses)
        .map(|(name, at)| format!("  - {{name: {name}, per_minute: 6000, webhook: {{url: 'http://{at}/hook'}}}}\n"))
        .collect();
    let text = format!(
        "receivers:\n{receivers}rules:\n  - {{name: all, receivers: [{}], group_wait: 0s}}\n",
        names.join(", ")
    );
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path(), 2, &text);
    Site { _directory: directory, context }
}

impl Site {
    /// Writes changes: (incident, version, state).
    fn write(&self, changes: &[(&str, i64, IncidentState)]) {
        let (mut source, _) = self.context.bus.source("correlator", 1, b"correlator/").unwrap();
        for (id, version, state) in changes {
            let at = Timestamp::from_millis(1_700_000_000_000 + version * 1000);
            let incident = Incident {
                id: (*id).into(),
                cluster: "c".into(),
                version: *version,
                state: *state,
                severity: Severity::High,
                ..Incident::default()
            };
            let change = IncidentChange { at, incident, ..IncidentChange::default() };
            let payload = Some(Codec::single_object().encode(&change).unwrap().into());
            let (topic, timestamp) = (topics::INCIDENT_CHANGES.name, at.as_millis());
            source.commit(&[Emit { topic, timestamp, key: "c".into(), payload, headers: vec![] }], &[]).unwrap();
        }
    }

    fn start(&self, receiver: usize) -> (Stop, std::thread::JoinHandle<Result<(), epicenter_bus::Fault>>) {
        let (context, stop) = (self.context.clone(), Stop::new());
        let (receiver, stopped) = (Arc::clone(&self.context.alerts.receivers[receiver]), stop.clone());
        (stop, std::thread::spawn(move || run(&context, &receiver, &stopped)))
    }

    fn sent(&self, outcome: &str) -> usize {
        let text = self.context.metrics.text();
        let rows = text.lines().filter(|line| line.starts_with("epicenter_alerts_total") && line.contains(outcome));
        rows.filter_map(|row| row.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }
}

const OPEN: IncidentState = IncidentState::Open;
const RESOLVED: IncidentState = IncidentState::Resolved;

/// Waits until the receiver has begun to read: what is in the log before that, and over, it is not told of.
async fn begun(site: &Site) {
    let deadline = Instant::now() + LIMIT;
    while site.context.bus.table(topics::ALERTS_STATE.name).unwrap().is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn end(stop: Stop, thread: std::thread::JoinHandle<Result<(), epicenter_bus::Fault>>) {
    stop.request();
    tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_arrive_once_and_in_order_whatever_the_receiver_does() {
    let fake = Fake::default();
    let site = site(&[fake.serve("127.0.0.1:0").await]);
    let (stop, thread) = site.start(0);
    begun(&site).await;
    *fake.script.lock().unwrap() = VecDeque::from([Act::Say(503), Act::SlowDown, Act::Say(404), Act::Say(500)]);
    site.write(&[("a", 1, OPEN), ("b", 1, OPEN), ("a", 2, RESOLVED), ("b", 2, OPEN), ("b", 3, RESOLVED)]);
    fake.until(4).await;
    end(stop, thread).await;
    assert_eq!(fake.taken(), ["firing c/a/1", "firing c/b/1", "resolved c/a/2", "resolved c/b/3"]);
    assert_eq!((site.sent("failed"), site.sent("sent")), (4, 4));
    // Nothing is told again after a restart, and what is new is.
    let (stop, thread) = site.start(0);
    site.write(&[("d", 1, OPEN)]);
    fake.until(5).await;
    end(stop, thread).await;
    assert_eq!(fake.taken().last().unwrap(), "firing c/d/1");
    assert_eq!(fake.taken().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_away_holds_up_nobody_and_loses_nothing() {
    let (away, there) = (Fake::default(), Fake::default());
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let site = site(&[address, there.serve("127.0.0.1:0").await]);
    let threads = [site.start(0), site.start(1)];
    begun(&site).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut expected = Vec::new();
    for n in 0..20 {
        let id = format!("i{n}");
        site.write(&[(&id, 1, OPEN), (&id, 2, RESOLVED)]);
        expected.extend([format!("firing c/{id}/1"), format!("resolved c/{id}/2")]);
    }
    there.until(40).await;
    assert_eq!(there.taken(), expected);
    assert!(!site.context.health.is_ready(), "it is told who is away");
    let served = away.serve(&address.to_string()).await;
    assert_eq!(served, address);
    away.until(40).await;
    assert_eq!(away.taken(), expected);
    for (stop, thread) in threads {
        end(stop, thread).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_the_air_at_a_crash_comes_again_with_the_same_key() {
    let fake = Fake::default();
    let site = site(&[fake.serve("127.0.0.1:0").await]);
    let (_lost, killed) = site.start(0);
    begun(&site).await;
    *fake.script.lock().unwrap() = VecDeque::from([Act::Hang]);
    site.write(&[("a", 1, OPEN), ("a", 2, OPEN), ("a", 3, RESOLVED), ("b", 1, OPEN)]);
    let deadline = Instant::now() + LIMIT;
    while fake.got.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Another process takes over: nothing that the first one does from now on counts.
    let (stop, thread) = site.start(0);
    fake.until(3).await;
    end(stop, thread).await;
    assert_eq!(fake.taken()[..3], ["firing c/a/1", "resolved c/a/3", "firing c/b/1"]);
    let keys: Vec<String> = fake.got.lock().unwrap().iter().map(|(key, ..)| key.clone()).collect();
    assert_eq!(keys.iter().filter(|key| *key == "c/a/1").count(), 2, "once more, after the crash: {keys:?}");
    let fault = tokio::task::spawn_blocking(|| killed.join().unwrap().unwrap_err()).await.unwrap();
    assert!(fault.to_string().contains("only one process can do that"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_set_aside_and_told() {
    let fake = Fake::default();
    let site = site(&[fake.serve("127.0.0.1:0").await]);
    let (stop, thread) = site.start(0);
    begun(&site).await;
    *fake.script.lock().unwrap() = VecDeque::from([Act::Say(422)]);
    site.write(&[("a", 1, OPEN), ("b", 1, OPEN)]);
    fake.until(1).await;
    end(stop, thread).await;
    assert_eq!((fake.taken(), site.sent("refused")), (vec!["firing c/b/1".to_owned()], 1));
    let mut reader = site.context.bus.reader(topics::DEAD_LETTER.name, &[0], epicenter_bus::Start::Earliest).unwrap();
    let record = reader.next(Duration::ZERO).unwrap().unwrap();
    let letter: DeadLetter = Codec::single_object().decode(&record.payload.unwrap()).unwrap();
    assert_eq!((letter.service.as_str(), &record.key[..]), ("alerts.r0", &b"c/a/1"[..]));
    assert!(letter.error.contains("422"), "{}", letter.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_for_the_first_time_is_told_of_what_is_open_only() {
    let fake = Fake::default();
    let site = site(&[fake.serve("127.0.0.1:0").await]);
    site.write(&[("old", 1, OPEN), ("open", 1, OPEN), ("old", 2, RESOLVED)]);
    let (stop, thread) = site.start(0);
    fake.until(1).await;
    site.write(&[("new", 1, OPEN)]);
    fake.until(2).await;
    end(stop, thread).await;
    assert_eq!(fake.taken(), ["firing c/open/1", "firing c/new/1"]);
}
