//! Where faults and changes are played: what happens when, and who says what of it.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::chains::Scenario;
use crate::cluster::{Cluster, Kind, Node, Pod, Workload};
use crate::names::uid;
use crate::truth::{Fault, Label};
use crate::wording::Era;

/// The whole play, in no order yet.
pub(crate) struct Stage {
    pub rng: StdRng,
    pub era: Era,
    pub cluster: Cluster,
    /// There are objects in the recording, and their status.
    pub objects: bool,
    pub faults: Vec<Fault>,
    pub said: Vec<Said>,
    pub seen: Vec<Seen>,
}

/// A component says something.
#[derive(Clone)]
pub(crate) struct Said {
    /// Seconds since the recording began.
    pub at: f64,
    pub label: Label,
    pub component: String,
    /// The node of a kubelet.
    pub host: String,
    pub about: Object,
    pub field_path: String,
    pub warning: bool,
    pub reason: &'static str,
    pub text: String,
    pub related: Option<Object>,
}

/// What an Event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A version of an object, as a watch tells it.
pub(crate) struct Seen {
    pub at: f64,
    pub kind: &'static str,
    pub json: serde_json::Value,
    pub gone: bool,
}

impl Object {
    pub fn new(kind: &'static str, namespace: &str, name: &str) -> Self {
        let api_version = match kind {
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
            "Job" | "CronJob" => "batch/v1",
            "HorizontalPodAutoscaler" => "autoscaling/v2",
            "Certificate" | "CertificateRequest" | "Issuer" | "ClusterIssuer" => "cert-manager.io/v1",
            "Order" | "Challenge" => "acme.cert-manager.io/v1",
            _ => "v1",
        };
        Self { api_version, kind, namespace: namespace.to_owned(), name: name.to_owned(), uid: String::new() }
    }

    pub fn uid(self, uid: &str) -> Self {
        Self { uid: uid.to_owned(), ..self }
    }
}

impl Pod {
    pub fn object(&self) -> Object {
        Object::new("Pod", &self.namespace, &self.name).uid(&self.uid)
    }
}

impl Workload {
    pub fn object(&self) -> Object {
        Object::new(self.kind.name(), &self.namespace, &self.name).uid(&self.uid)
    }

    /// What makes its pods.
    pub fn maker(&self) -> Object {
        match self.kind {
            Kind::Deployment => Object::new("ReplicaSet", &self.namespace, &self.set).uid(&self.set_uid),
            _ => self.object(),
        }
    }

    pub fn controller(&self) -> &'static str {
        match self.kind {
            Kind::Deployment => "replicaset-controller",
            Kind::StatefulSet => "statefulset-controller",
            Kind::DaemonSet => "daemonset-controller",
        }
    }
}

impl Stage {
    /// Begins a fault; gives its number. `roots` are (kind, namespace, name).
    pub fn fault(
        &mut self,
        scenario: Scenario,
        onset: f64,
        observable: bool,
        roots: &[(&str, &str, &str)],
        classes: &[&'static str],
    ) -> usize {
        let owned = |(kind, namespace, name): &(&str, &str, &str)| {
            ((*kind).to_owned(), (*namespace).to_owned(), (*name).to_owned())
        };
        let roots = roots.iter().map(owned).collect();
        self.faults.push(Fault { scenario, onset, observable, roots, classes: classes.to_vec() });
        self.faults.len() - 1
    }

    /// A number of seconds between the two.
    pub fn between(&mut self, least: f64, most: f64) -> f64 {
        self.rng.random_range(least..most)
    }

    pub fn chance(&mut self, likely: f64) -> bool {
        self.rng.random_bool(likely)
    }

    /// A node on which no fault is played.
    pub fn node(&mut self) -> Node {
        self.cluster.sound().choose(&mut self.rng).map(|node| (*node).clone()).expect("a cluster has nodes")
    }

    /// A node for a fault of its own.
    pub fn take_node(&mut self) -> Node {
        let node = self.node();
        self.cluster.busy.push(node.name.clone());
        node
    }

    /// A workload of users that nothing is played on yet and that fits; it is taken from now on.
    pub fn workload(&mut self, fits: impl Fn(&Workload) -> bool) -> usize {
        let busy = self.cluster.busy.clone();
        let free = |workload: &Workload| {
            let apart = !workload.pods.iter().any(|pod| busy.contains(&pod.node));
            !workload.taken && workload.namespace != "kube-system" && apart && fits(workload)
        };
        let all = self.cluster.workloads.iter().enumerate();
        let found: Vec<usize> = all.filter(|(_, workload)| free(workload)).map(|(index, _)| index).collect();
        let index =
            found.choose(&mut self.rng).copied().unwrap_or_else(|| self.new_workload(Kind::Deployment, 2, false));
        self.cluster.workloads[index].taken = true;
        index
    }

    /// A workload made for the occasion.
    pub fn new_workload(&mut self, kind: Kind, replicas: usize, claims: bool) -> usize {
        let number = self.cluster.workloads.len();
        let namespace = self.cluster.namespaces.choose(&mut self.rng).cloned().unwrap_or_default();
        let name = format!("svc{number}");
        let image = format!("registry.example.com/{name}:1");
        let index = self.cluster.add(&mut self.rng, kind, &namespace, &name, &image, replicas, claims);
        self.cluster.workloads[index].taken = true;
        index
    }

    /// The workload of this name in kube-system, taken.
    pub fn system(&mut self, name: &str) -> usize {
        let index = self.cluster.workloads.iter().position(|workload| workload.name == name).unwrap_or_default();
        self.cluster.workloads[index].taken = true;
        index
    }

    #[allow(clippy::too_many_arguments)]
    pub fn say(
        &mut self,
        at: f64,
        label: Label,
        component: &str,
        about: Object,
        warning: bool,
        reason: &'static str,
        text: &str,
    ) {
        self.said.push(Said {
            at,
            label,
            component: component.to_owned(),
            host: String::new(),
            about,
            field_path: String::new(),
            warning,
            reason,
            text: text.to_owned(),
            related: None,
        });
    }

    /// The kubelet of the pod's node, about the pod.
    pub fn pod(&mut self, at: f64, label: Label, pod: &Pod, warning: bool, reason: &'static str, text: &str) {
        self.say(at, label, "kubelet", pod.object(), warning, reason, text);
        if let Some(said) = self.said.last_mut() {
            said.host.clone_from(&pod.node);
        }
    }

    /// The same, about the pod's container.
    pub fn container(&mut self, at: f64, label: Label, pod: &Pod, warning: bool, reason: &'static str, text: &str) {
        self.pod(at, label, pod, warning, reason, text);
        if let Some(said) = self.said.last_mut() {
            said.field_path = format!("spec.containers{{{}}}", pod.container);
        }
    }

    /// The kubelet of a node about itself: without a uid, or with its name as one.
    pub fn kubelet(&mut self, at: f64, label: Label, node: &Node, warning: bool, reason: &'static str, text: &str) {
        let uid = if self.era == Era::New { String::new() } else { node.name.clone() };
        self.say(at, label, "kubelet", Object::new("Node", "", &node.name).uid(&uid), warning, reason, text);
        if let Some(said) = self.said.last_mut() {
            said.host.clone_from(&node.name);
        }
    }

    pub fn scheduler(&mut self, at: f64, label: Label, pod: &Pod, warning: bool, reason: &'static str, text: &str) {
        self.say(at, label, "default-scheduler", pod.object(), warning, reason, text);
    }

    /// A new pod of a workload, made and not placed yet.
    pub fn make(&mut self, at: f64, label: Label, workload: usize, index: usize) -> Pod {
        let pod = self.cluster.workloads[workload].new_pod(&mut self.rng, index);
        let made_by = self.cluster.workloads[workload].clone();
        let text = match made_by.kind {
            Kind::StatefulSet => format!("create Pod {} in StatefulSet {} successful", pod.name, made_by.name),
            _ => format!("Created pod: {}", pod.name),
        };
        self.say(at, label, made_by.controller(), made_by.maker(), false, "SuccessfulCreate", &text);
        self.show_pod(at, &made_by, &pod, None);
        pod
    }

    pub fn place(&mut self, at: f64, label: Label, workload: usize, pod: &mut Pod, node: &str) {
        pod.node = node.to_owned();
        let text = match self.era {
            Era::Old => format!("Successfully assigned {} to {node}", pod.name),
            _ => format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name),
        };
        self.scheduler(at, label, pod, false, "Scheduled", &text);
        let made_by = self.cluster.workloads[workload].clone();
        self.show_pod(at, &made_by, pod, None);
    }

    /// Pulls the image and starts the container; gives when it runs.
    pub fn start(&mut self, at: f64, label: Label, pod: &Pod) -> f64 {
        let (pull, era) = (self.between(1.0, 8.0), self.era);
        self.container(at + 1.0, label, pod, false, "Pulling", &era.pulling(&pod.image));
        self.container(at + 1.0 + pull, label, pod, false, "Pulled", &era.pulled(&pod.image));
        self.run(at + 1.0 + pull, label, pod)
    }

    /// Starts the container, whose image is there; gives when it runs.
    pub fn run(&mut self, at: f64, label: Label, pod: &Pod) -> f64 {
        let era = self.era;
        self.container(at + 0.2, label, pod, false, "Created", &era.created(&pod.container));
        self.container(at + 0.4, label, pod, false, "Started", &era.started(&pod.container));
        at + 0.4
    }

    /// A Deployment's rollout begins: a new replica set. Gives its first pod, placed and not started.
    pub fn roll_out(&mut self, at: f64, label: Label, workload: usize) -> Pod {
        let set = format!("{}-{}", self.cluster.workloads[workload].name, crate::names::generated(&mut self.rng, 10));
        let set_uid = uid(&mut self.rng);
        let found = &mut self.cluster.workloads[workload];
        (found.set, found.set_uid) = (set.clone(), set_uid);
        let (object, text) = (found.object(), self.era.scaled(&set, 0, 1));
        let found = self.cluster.workloads[workload].clone();
        self.show_set(at, &found);
        self.say(at, label, "deployment-controller", object, false, "ScalingReplicaSet", &text);
        let mut pod = self.make(at + 0.1, label, workload, 0);
        let node = self.node().name;
        self.place(at + 0.2, label, workload, &mut pod, &node);
        pod
    }

    /// The pod is stopped and removed.
    pub fn remove(&mut self, at: f64, label: Label, workload: usize, pod: &Pod) {
        let (found, era) = (self.cluster.workloads[workload].clone(), self.era);
        let text = match found.kind {
            Kind::StatefulSet => format!("delete Pod {} in StatefulSet {} successful", pod.name, found.name),
            _ => format!("Deleted pod: {}", pod.name),
        };
        self.say(at, label, found.controller(), found.maker(), false, "SuccessfulDelete", &text);
        self.container(at + 0.3, label, pod, false, "Killing", &era.stopping(pod));
        self.show_gone(at + 2.0, &found, pod);
    }
}

impl Stage {
    /// A number from `least` to below `most`.
    pub fn number(&mut self, least: usize, most: usize) -> usize {
        self.rng.random_range(least..most)
    }
}
