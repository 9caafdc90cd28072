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

/// A client for the control plane.
pub async fn client(plane: &ControlPlane) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
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

/// Writes `writes` versions of Events, a third of them new ones, the rest counts of those, on several connections at once.
/// `done` counts along.
pub async fn write(client: &kube::Client, writes: u64, done: Arc<AtomicU64>) {
    const CONNECTIONS: u64 = 8;
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|task| {
            let (client, done) = (client.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let events: Api<Event> = Api::namespaced(client, "default");
                let mut n = 0;
                while n < writes / CONNECTIONS {
                    let name = format!("load-{task}-{n}");
                    let message = "Back-off restarting failed container app in pod web_default(uid)";
                    events
                        .create(&PostParams::default(), &event(&name, &format!("web-{}", n % 50), "BackOff", message))
                        .await
                        .unwrap();
                    for count in 2..4 {
                        let patch = Patch::Merge(json!({ "count": count }));
                        events.patch(&name, &PatchParams::default(), &patch).await.unwrap();
                    }
                    n += 3;
                    done.fetch_add(3, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A plain watch of all Events: one request, every line kept.
pub struct PlainWatch {
    lines: Arc<Mutex<Vec<Value>>>,
}

impl PlainWatch {
    /// Watches from now on; the task ends with the runtime.
    pub async fn start(client: kube::Client) -> Self {
        let request = http::Request::get("/api/v1/events?watch=true&timeoutSeconds=3600").body(vec![]).unwrap();
        let mut stream = client.request_stream(request).await.unwrap().lines();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Some(line) = stream.next().await {
                kept.lock().push(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Self { lines }
    }

    /// (uid, resourceVersion) of every version of an Event that was added or modified, ours aside.
    pub fn seen(&self) -> BTreeSet<(String, String)> {
        let lines = self.lines.lock();
        let versions = lines.iter().filter(|line| line["type"] != "DELETED").map(|line| &line["object"]);
        versions
            .filter(|event| !event["reportingComponent"].as_str().unwrap_or_default().starts_with("epicenter.dev/"))
            .map(|event| {
                let text = |name: &str| event["metadata"][name].as_str().unwrap().to_owned();
                (text("uid"), text("resourceVersion"))
            })
            .collect()
    }

    /// Waits until it has seen `count` versions.
    pub fn wait(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.seen().len() < count {
            assert!(Instant::now() < deadline, "the plain watch saw {} of {count}", self.seen().len());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
