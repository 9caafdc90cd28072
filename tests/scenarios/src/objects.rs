//! Objects as the API server would show them, as far as anybody looks at them.

use serde_json::{Value, json};

use crate::cluster::{Kind, Pod, Workload};
use crate::stage::{Object, Seen, Stage};

/// How a container of a pod fares: its status, as JSON.
pub(crate) type Status = Value;

/// The container was killed for want of memory, and is started again ever more slowly.
pub(crate) fn oom_killed(container: &str, restarts: usize, at: &str) -> Status {
    json!([{
        "name": container, "ready": false, "restartCount": restarts, "image": "", "imageID": "",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "startedAt": at, "finishedAt": at}},
    }])
}

impl Stage {
    /// Shows a pod as it is now.
    pub fn show_pod(&mut self, at: f64, workload: &Workload, pod: &Pod, containers: Option<Status>) {
        self.see(at, "Pod", pod_json(&workload.maker(), pod, containers), false);
    }

    pub fn show_gone(&mut self, at: f64, workload: &Workload, pod: &Pod) {
        self.see(at, "Pod", pod_json(&workload.maker(), pod, None), true);
    }

    /// Shows the newest replica set of a Deployment.
    pub fn show_set(&mut self, at: f64, workload: &Workload) {
        let mut set = meta(&workload.maker());
        set["metadata"]["ownerReferences"] = owner(&workload.object());
        self.see(at, "ReplicaSet", set, false);
    }

    /// What is there when the recording begins.
    pub fn show_all(&mut self) {
        for node in self.cluster.nodes.clone() {
            let mut json = meta(&Object::new("Node", "", &node.name).uid(&node.uid));
            json["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": node.zone});
            json["status"] = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]});
            self.see(0.0, "Node", json, false);
        }
        for workload in self.cluster.workloads.clone() {
            self.see(0.0, workload.kind.name(), meta(&workload.object()), false);
            if workload.kind == Kind::Deployment {
                self.show_set(0.0, &workload);
            }
            for pod in &workload.pods {
                self.show_pod(0.0, &workload, pod, None);
            }
        }
    }

    pub fn see(&mut self, at: f64, kind: &'static str, json: Value, gone: bool) {
        if self.objects {
            self.seen.push(Seen { at, kind, json, gone });
        }
    }
}

fn meta(object: &Object) -> Value {
    let mut json = json!({
        "apiVersion": object.api_version, "kind": object.kind,
        "metadata": {"name": object.name, "uid": object.uid},
    });
    if !object.namespace.is_empty() {
        json["metadata"]["namespace"] = json!(object.namespace);
    }
    json
}

fn owner(object: &Object) -> Value {
    json!([{
        "apiVersion": object.api_version, "kind": object.kind, "name": object.name, "uid": object.uid,
        "controller": true,
    }])
}

fn pod_json(maker: &Object, pod: &Pod, containers: Option<Status>) -> Value {
    let mut json = meta(&pod.object());
    json["metadata"]["ownerReferences"] = owner(maker);
    json["spec"] = json!({"containers": [{"name": pod.container, "image": pod.image}]});
    if !pod.node.is_empty() {
        json["spec"]["nodeName"] = json!(pod.node);
    }
    if !pod.claim.is_empty() {
        json["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": pod.claim}}]);
    }
    json["status"] = json!({"phase": if pod.node.is_empty() { "Pending" } else { "Running" }});
    if let Some(containers) = containers {
        json["status"]["containerStatuses"] = containers;
    }
    json
}
