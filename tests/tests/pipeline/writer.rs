//! Writes Events to an API server, and watches them independently.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epicenter_tests::kube::ControlPlane;
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::audit::Version;

/// A client for the control plane.
pub async fn client(plane: &ControlPlane) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    epicenter_exporter::choose_cryptography();
    kube::Client::try_from(config).unwrap()
}

/// A Warning about a pod, as a kubelet writes it.
pub fn event(name: &str, pod: &str, reason: &str, message: &str) -> Event {
    let now = Time(k8s_openapi::jiff::Timestamp::now());
    let namespace = Some("default".to_owned());
    Event {
        metadata: ObjectMeta { name: Some(name.to_owned()), namespace: namespace.clone(), ..ObjectMeta::default() },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.to_owned()),
            namespace,
            uid: Some(format!("uid-of-{pod}")),
            field_path: Some("spec.containers{app}".to_owned()),
            ..ObjectReference::default()
        },
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        type_: Some("Warning".to_owned()),
        source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some("n1".to_owned()) }),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        ..Event::default()
    }
}

/// Writes versions of Events on several connections at once, a third of them new ones, the rest counts of those, until
/// `enough` says so of the number that is written. An API server that is away is waited for. `done` counts along.
pub async fn write(client: &kube::Client, done: Arc<AtomicU64>, enough: impl Fn(u64) -> bool + Send + Sync + 'static) {
    const CONNECTIONS: u64 = 8;
    let enough = Arc::new(enough);
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|task| {
            let (client, done, enough) = (client.clone(), Arc::clone(&done), Arc::clone(&enough));
            tokio::spawn(async move {
                let events: Api<Event> = Api::namespaced(client, "default");
                let mut n = 0;
                while !enough(done.load(Ordering::Relaxed)) {
                    let name = format!("load-{task}-{n}");
                    let (reason, message) = trouble(n);
                    let event = event(&name, &format!("web-{}", n % 50), reason, &message);
                    let params = PostParams::default();
                    written(|| events.create(&params, &event)).await;
                    for count in 2..4 {
                        let patch = Patch::Merge(json!({ "count": count }));
                        let params = PatchParams::default();
                        written(|| events.patch(&name, &params, &patch)).await;
                    }
                    n += 1;
                    done.fetch_add(3, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Reason and message of an Event: what concerns all of a workload, and images and Secrets that few have.
fn trouble(n: usize) -> (&'static str, String) {
    let part = n / 4;
    match n % 4 {
        0 => ("BackOff", "Back-off restarting failed container app in pod web_default(uid)".to_owned()),
        1 => ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned()),
        2 => ("FailedMount", format!("MountVolume.SetUp failed for volume \"v\" : secret \"tls-{part}\" not found")),
        _ => (
            "Failed",
            format!("Failed to pull image \"example.com/web:{part}\": rpc error: code = NotFound: not found"),
        ),
    }
}

/// Asks again until it is written: whether a request reached an API server that went away is not known.
async fn written<T, F: Future<Output = Result<T, kube::Error>>>(request: impl Fn() -> F) {
    loop {
        match request().await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(kube::Error::Api(status)) if ![429, 500, 503, 504].contains(&status.code) => panic!("{status:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A plain watch of all Events: one request, every line.
pub struct PlainWatch {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    versions: BTreeSet<Version>,
    newest: u64,
}

impl PlainWatch {
    /// Watches from the first version on, as an API server writes Events of its own when it starts; the task ends with the
    /// runtime.
    pub async fn start(client: kube::Client) -> Self {
        let uri = "/api/v1/events?watch=true&timeoutSeconds=3600&resourceVersion=1";
        let mut stream = client.request_stream(http::Request::get(uri).body(vec![]).unwrap()).await.unwrap().lines();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(line) = stream.next().await {
                noted.lock().note(&serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Self { seen }
    }

    /// (uid, resourceVersion) of every version of an Event that was added or modified, ours aside.
    pub fn seen(&self) -> BTreeSet<Version> {
        self.seen.lock().versions.clone()
    }

    /// Waits until it has seen that version of an Event, or a later one.
    pub fn wait(&self, event: &Event) {
        let version: u64 = event.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        let (mut newest, mut progress) = (0, Instant::now());
        while newest < version {
            let now = self.seen.lock().newest;
            if now > newest {
                (newest, progress) = (now, Instant::now());
            }
            assert!(progress.elapsed() < Duration::from_secs(60), "the plain watch has come to {newest} of {version}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Seen {
    fn note(&mut self, line: &Value) {
        let event = &line["object"];
        let text = |name: &str| event["metadata"][name].as_str().unwrap().to_owned();
        let version = text("resourceVersion");
        self.newest = version.parse().unwrap();
        let ours = event["reportingComponent"].as_str().unwrap_or_default().starts_with("epicenter.dev/");
        if line["type"] != "DELETED" && !ours {
            self.versions.insert((text("uid"), version));
        }
    }
}

/// One more Event, after all the others.
pub async fn mark(client: &kube::Client) -> Event {
    let events: Api<Event> = Api::namespaced(client.clone(), "default");
    let mark = event("mark", "web-0", "BackOff", "Back-off restarting failed container app in pod web_default(uid)");
    events.create(&PostParams::default(), &mark).await.unwrap()
}
