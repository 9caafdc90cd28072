//! An API server on loopback whose cluster is generated on demand: any number of Events and of pods, and Events that
//! happen at a given rate. Nothing of it is stored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use epicenter_bus::{Bus, Reader, Start, topics};
use futures::stream;
use parking_lot::Mutex;
use tokio::runtime::Runtime;

/// The resourceVersion before the first Event's.
const BEFORE: u64 = 1_000;
/// A watch looks for new Events that often.
const LOOK: Duration = Duration::from_millis(10);
/// Events of one part of a watch's answer at most.
const PART: u64 = 500;

/// The server. It ends when it is dropped.
pub struct Generated {
    port: u16,
    cluster: Arc<Cluster>,
    runtime: Option<Runtime>,
}

struct Cluster {
    /// Two servers are two clusters: one that is read by two exporters is fenced from one to the other.
    uid: String,
    pods: u64,
    storm: Mutex<Storm>,
}

/// Events that have happened, and those that do from a moment on.
#[derive(Clone, Copy)]
struct Storm {
    before: u64,
    began: Instant,
    rate: u64,
    events: u64,
}

impl Storm {
    /// How many Events there are by now.
    fn now(&self) -> u64 {
        let happened = self.began.elapsed().as_micros() * u128::from(self.rate) / 1_000_000;
        self.before + u64::try_from(happened).unwrap_or(u64::MAX).min(self.events)
    }
}

impl Generated {
    /// A cluster with so many Events and pods.
    pub fn start(events: u64, pods: u64) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let storm = Mutex::new(Storm { before: events, began: Instant::now(), rate: 0, events: 0 });
        let cluster = Arc::new(Cluster { uid: format!("generated-{port}"), pods, storm });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&cluster));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { port, cluster, runtime: Some(runtime) })
    }

    /// From now on `rate` Events happen per second, until `events` more have.
    pub fn storm(&self, rate: u64, events: u64) {
        let mut storm = self.cluster.storm.lock();
        *storm = Storm { before: storm.now(), began: Instant::now(), rate, events };
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}], \
             clusters: [{{name: c, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]}}",
            self.port
        )
    }
}

impl Drop for Generated {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The uid and the resourceVersion of Event `n`.
pub fn identity(n: u64) -> (String, String) {
    (uid(n, 7), (BEFORE + 1 + n).to_string())
}

/// Holds the Events of a cluster in the log of one partition against those that were generated: each once, in order.
pub struct Taken {
    reader: Reader,
    cluster: String,
    events: u64,
}

impl Taken {
    /// From the log's beginning on.
    pub fn new(bus: &Bus, cluster: &str) -> Result<Self> {
        let reader = bus.reader(topics::EVENTS_RAW.name, &[0], Start::Earliest)?;
        Ok(Self { reader, cluster: cluster.to_owned(), events: 0 })
    }

    /// Waits until there are so many, no longer than `stall` for the next one. Fails on one that is lost, repeated or out
    /// of order, and on one too many.
    pub fn until(&mut self, events: u64, stall: Duration) -> Result<()> {
        let mut progress = Instant::now();
        loop {
            // One too many would come at once.
            let wait =
                if self.events < events { stall.saturating_sub(progress.elapsed()) } else { Duration::from_secs(2) };
            let Some(record) = self.reader.next(wait)? else { break };
            let header = |name: &str| {
                let (_, value) = record.headers.iter().find(|(header, _)| header == name)?;
                Some(String::from_utf8_lossy(value).into_owned())
            };
            let event = header("ce_type").is_some_and(|it| it == "dev.epicenter.raw-event");
            if event && header("ce_source").as_deref() == Some(&self.cluster) {
                let (uid, version) = identity(self.events);
                let found = header("ce_id").unwrap_or_default();
                ensure!(found == format!("0/{uid}/{version}"), "{found} is in the place of Event {}", self.events);
                self.events += 1;
                progress = Instant::now();
            }
        }
        ensure!(self.events == events, "the log has {} Events of {}, not {events}", self.events, self.cluster);
        Ok(())
    }
}

async fn answer(
    State(cluster): State<Arc<Cluster>>,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let resource = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let events = resource == "events";
    match (resource.as_str(), query.contains_key("watch")) {
        ("kube-system", _) => {
            format!(r#"{{"metadata":{{"name":"kube-system","uid":"{}"}}}}"#, cluster.uid).into_response()
        }
        (_, true) => watch(cluster, if events { number("resourceVersion").unwrap_or(BEFORE) } else { u64::MAX }),
        (_, false) => {
            // A page shows the state at the time of the first one.
            let page = query.get("continue").and_then(|token| token.split_once('-'));
            let page = page.and_then(|(of, from)| Some((of.parse().ok()?, from.parse().ok()?)));
            let there = match resource.as_str() {
                "events" => cluster.storm.lock().now(),
                "pods" => cluster.pods,
                _ => 0,
            };
            let (of, from) = page.unwrap_or((there, 0));
            list(if events { event } else { pod }, of, from, number("limit").unwrap_or(u64::MAX)).into_response()
        }
    }
}

fn list(item: fn(u64) -> String, of: u64, from: u64, limit: u64) -> String {
    let to = of.min(from.saturating_add(limit));
    let next = if to < of { format!("{of}-{to}") } else { String::new() };
    let version = BEFORE + of;
    let mut text = format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":["#);
    for n in from..to {
        text.push_str(if n > from { "," } else { "" });
        text.push_str(&item(n));
    }
    text.push_str("]}");
    text
}

/// Events after that version, as they happen.
fn watch(cluster: Arc<Cluster>, after: u64) -> Response {
    let parts = stream::unfold((cluster, after.saturating_sub(BEFORE)), async |(cluster, from)| {
        let mut there = cluster.storm.lock().now();
        while there <= from {
            tokio::time::sleep(LOOK).await;
            there = cluster.storm.lock().now();
        }
        let to = there.min(from + PART);
        let mut part = String::new();
        for n in from..to {
            part.push_str(r#"{"type":"ADDED","object":"#);
            part.push_str(&event(n));
            part.push_str("}\n");
        }
        Some((Ok::<_, std::io::Error>(part), (cluster, to)))
    });
    Body::from_stream(parts).into_response()
}

/// A number that looks like chance, the same for the same `n` and `salt` (splitmix64).
fn mixed(n: u64, salt: u64) -> u64 {
    let mut z = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn uid(n: u64, salt: u64) -> String {
    let (high, low) = (mixed(n, salt), mixed(n, salt + 1));
    let [a, b, c] = [high >> 32, high >> 16 & 0xffff, high & 0xfff];
    format!("{a:08x}-{b:04x}-4{c:03x}-a{:03x}-{:012x}", low >> 48 & 0xfff, low & 0xffff_ffff_ffff)
}

/// The end of a generated name, of the letters that Kubernetes uses.
fn suffix(n: u64, salt: u64, length: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = mixed(n, salt);
    let letter = |_| {
        let letter = LETTERS[(rest % LETTERS.len() as u64) as usize];
        rest /= LETTERS.len() as u64;
        char::from(letter)
    };
    (0..length).map(letter).collect()
}

/// Second `n` of a day.
fn time(n: u64) -> String {
    format!("2026-11-23T{:02}:{:02}:{:02}Z", n / 3600 % 24, n / 60 % 60, n % 60)
}

/// An Event as a kubelet writes it, in the order of etcd's keys.
fn event(n: u64) -> String {
    let (uid, version) = identity(n);
    let pod = n % 5_000;
    let (at, name) = (time(n / 100), format!("service-{}-{}-{}", pod / 10, suffix(pod / 10, 1, 10), suffix(pod, 2, 5)));
    format!(
        r#"{{"metadata":{{"name":"event-{n:09}.18{n:014x}","namespace":"default","uid":"{uid}","resourceVersion":"{version}","creationTimestamp":"{at}","managedFields":[{{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"{at}","fieldsType":"FieldsV1","fieldsV1":{{"f:count":{{}},"f:firstTimestamp":{{}},"f:involvedObject":{{}},"f:lastTimestamp":{{}},"f:message":{{}},"f:reason":{{}},"f:reportingComponent":{{}},"f:reportingInstance":{{}},"f:source":{{"f:component":{{}},"f:host":{{}}}},"f:type":{{}}}}}}]}},"involvedObject":{{"kind":"Pod","namespace":"default","name":"{name}","uid":"{}","apiVersion":"v1","resourceVersion":"{pod}","fieldPath":"spec.containers{{app}}"}},"reason":"BackOff","message":"Back-off restarting failed container app in pod {name}_default({})","source":{{"component":"kubelet","host":"node-{}"}},"firstTimestamp":"{at}","lastTimestamp":"{at}","count":1,"type":"Warning","eventTime":null,"reportingComponent":"kubelet","reportingInstance":"node-{}"}}"#,
        self::uid(pod, 3),
        self::uid(pod, 3),
        pod % 200,
        pod % 200,
    )
}

/// A pod of a Deployment of ten, as an API server shows it, without most of its `managedFields`.
pub fn pod(n: u64) -> String {
    let workload = n / 10;
    let (namespace, app) = (format!("team-{}", workload % 40), format!("service-{workload}"));
    let hash = suffix(workload, 1, 10);
    let began = mixed(n, 5) % 80_000;
    let mut conditions = String::new();
    for (condition, after) in [
        ("PodReadyToStartContainers", 2),
        ("Initialized", 0),
        ("Ready", 9),
        ("ContainersReady", 9),
        ("PodScheduled", 0),
    ] {
        let comma = if conditions.is_empty() { "" } else { "," };
        let since = time(began + after);
        // Writing to a String cannot fail.
        let _ = write!(
            conditions,
            r#"{comma}{{"type":"{condition}","status":"True","lastProbeTime":null,"lastTransitionTime":"{since}"}}"#
        );
    }
    let version = 5_000_000 + mixed(n, 6) % 4_000_000;
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{app}-{hash}-{}","generateName":"{app}-{hash}-","namespace":"{namespace}","uid":"{}","resourceVersion":"{version}","creationTimestamp":"{}","labels":{{"app.kubernetes.io/name":"{app}","app.kubernetes.io/part-of":"{namespace}","app.kubernetes.io/version":"1.{}.{}","pod-template-hash":"{hash}"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"{app}-{hash}","uid":"{}","controller":true,"blockOwnerDeletion":true}}],"managedFields":[{{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:generateName":{{}},"f:labels":{{".":{{}}}}}}}}}}]}},"spec":{{"volumes":[{{"name":"config","configMap":{{"name":"{app}"}}}},{{"name":"tls","secret":{{"secretName":"{app}-tls"}}}},{{"name":"kube-api-access","projected":{{"sources":[{{"serviceAccountToken":{{"path":"token"}}}},{{"configMap":{{"name":"kube-root-ca.crt"}}}}]}}}}],"containers":[{{"name":"app","image":"registry.example.com/{namespace}/{app}:1.{}.{}","resources":{{"requests":{{"cpu":"100m"}}}}}}],"nodeName":"ip-10-{}-{}-{}.eu-central-1.compute.internal"}},"status":{{"phase":"Running","conditions":[{conditions}],"podIP":"10.0.0.1","startTime":"{}","containerStatuses":[{{"name":"app","ready":true,"restartCount":{},"image":"registry.example.com/{namespace}/{app}","state":{{"running":{{"startedAt":"{}"}}}},"lastState":{{}}}}]}}}}"#,
        suffix(n, 2, 5),
        uid(n, 3),
        time(began),
        workload % 30,
        workload % 7,
        uid(workload, 4),
        workload % 30,
        workload % 7,
        mixed(n, 8) % 4,
        mixed(n, 8) % 50,
        mixed(n, 8) % 199,
        time(began),
        mixed(n, 9) % 20 / 18,
        time(began + 5),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn pages_show_one_state_and_every_event_once() {
        let first = list(event, 5, 0, 3);
        assert!(first.contains(r#""resourceVersion":"1005","continue":"5-3""#), "{first}");
        let second = list(event, 5, 3, 3);
        for n in 0..5 {
            let (uid, version) = identity(n);
            let shown = format!(r#""uid":"{uid}","resourceVersion":"{version}""#);
            assert_eq!((first.contains(&shown), second.contains(&shown)), (n < 3, n >= 3), "{n}");
        }
        assert!(second.contains(r#""continue":"""#), "{second}");
    }

    #[test]
    fn two_are_not_taken_for_one() {
        let clusters = [(); 2].map(|()| Generated::start(0, 0).unwrap());
        let [one, other] = clusters.each_ref().map(|it| http::get(it.port, "/api/v1/namespaces/kube-system").unwrap());
        assert_eq!(one.0, 200);
        assert_ne!(one, other);
    }

    #[test]
    fn a_storm_ends() {
        let began = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        assert_eq!(Storm { before: 7, began, rate: 5, events: 20 }.now(), 27);
        let now = Storm { before: 7, began, rate: 5, events: 2000 }.now();
        assert!((57..100).contains(&now), "{now}");
    }
}
