//! A random cluster.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::names::{Names, generated, uid};
use crate::plan::Topology;

/// Nodes, and what runs on them.
pub(crate) struct Cluster {
    pub nodes: Vec<Node>,
    pub namespaces: Vec<String>,
    pub workloads: Vec<Workload>,
    /// Nodes on which a fault is played.
    pub busy: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub name: String,
    pub uid: String,
    pub zone: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// What makes pods.
#[derive(Clone)]
pub(crate) struct Workload {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The newest replica set of a Deployment.
    pub set: String,
    pub set_uid: String,
    pub image: String,
    /// Its pods have a volume each.
    pub claims: bool,
    pub pods: Vec<Pod>,
    /// A fault or change is played on it.
    pub taken: bool,
}

#[derive(Clone)]
pub(crate) struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    pub container: String,
    pub image: String,
    pub claim: String,
    pub volume: String,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

impl Cluster {
    pub fn new(rng: &mut StdRng, topology: Topology) -> Self {
        let mut names = Names::new(topology.names);
        let nodes = rng.random_range(topology.nodes.clone());
        let zones = if nodes < 4 { 1 } else { 3 };
        let nodes: Vec<Node> = names
            .nodes(rng, nodes)
            .into_iter()
            .enumerate()
            .map(|(index, name)| Node {
                name,
                uid: uid(rng),
                zone: format!("eu-west-1{}", ["a", "b", "c"][index % zones]),
            })
            .collect();
        let count = rng.random_range(2..=4);
        let namespaces = names.namespaces(rng, count);
        let mut cluster = Self { nodes, namespaces, workloads: vec![], busy: vec![] };
        for _ in 0..rng.random_range(topology.workloads.clone()) {
            let stateful = rng.random_bool(0.2);
            let name = if stateful { names.stateful(rng) } else { names.workload(rng) };
            let kind = if stateful { Kind::StatefulSet } else { Kind::Deployment };
            let namespace = cluster.namespaces.choose(rng).cloned().unwrap_or_default();
            let registry = *["registry.example.com/", "ghcr.io/acme/", "", "quay.io/acme/"].choose(rng).unwrap_or(&"");
            let image = format!("{registry}{name}:{}.{}", rng.random_range(1..4), rng.random_range(0..20));
            let replicas = rng.random_range(1..=4);
            let claims = stateful || rng.random_bool(0.1);
            cluster.add(rng, kind, &namespace, &name, &image, replicas, claims);
        }
        for (kind, name, replicas) in [
            (Kind::DaemonSet, "kube-proxy", 0),
            (Kind::DaemonSet, "calico-node", 0),
            (Kind::DaemonSet, "ebs-csi-node", 0),
            (Kind::Deployment, "coredns", 2),
            (Kind::Deployment, "metrics-server", 1),
        ] {
            cluster.add(rng, kind, "kube-system", name, &format!("registry.k8s.io/{name}:v1"), replicas, false);
        }
        cluster
    }

    /// Adds a workload with its pods, spread over the nodes; gives its index.
    #[allow(clippy::too_many_arguments)]
    pub fn add(
        &mut self,
        rng: &mut StdRng,
        kind: Kind,
        namespace: &str,
        name: &str,
        image: &str,
        replicas: usize,
        claims: bool,
    ) -> usize {
        let set = format!("{name}-{}", generated(rng, 10));
        let mut workload = Workload {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid(rng),
            set,
            set_uid: uid(rng),
            image: image.to_owned(),
            claims: claims && kind != Kind::DaemonSet,
            pods: vec![],
            taken: false,
        };
        let nodes: Vec<String> = match kind {
            Kind::DaemonSet => self.nodes.iter().map(|node| node.name.clone()).collect(),
            _ => (0..replicas).filter_map(|_| self.sound().choose(rng).map(|node| node.name.clone())).collect(),
        };
        for (index, node) in nodes.into_iter().enumerate() {
            let mut pod = workload.new_pod(rng, index);
            pod.node = node;
            workload.pods.push(pod);
        }
        self.workloads.push(workload);
        self.workloads.len() - 1
    }

    /// Nodes on which no fault is played, or all when there is one on each.
    pub fn sound(&self) -> Vec<&Node> {
        let sound: Vec<&Node> = self.nodes.iter().filter(|node| !self.busy.contains(&node.name)).collect();
        if sound.is_empty() { self.nodes.iter().collect() } else { sound }
    }

    /// Pods on a node of workloads that nothing else is played on: (workload, pod).
    pub fn on(&self, node: &str) -> Vec<(usize, Pod)> {
        let all = self.workloads.iter().enumerate().filter(|(_, workload)| !workload.taken);
        all.flat_map(|(index, workload)| workload.pods.iter().map(move |pod| (index, pod.clone())))
            .filter(|(_, pod)| pod.node == node)
            .collect()
    }
}

impl Workload {
    /// A pod that is not placed yet, the `index`th.
    pub fn new_pod(&self, rng: &mut StdRng, index: usize) -> Pod {
        let name = match self.kind {
            Kind::Deployment => format!("{}-{}", self.set, generated(rng, 5)),
            Kind::StatefulSet => format!("{}-{index}", self.name),
            Kind::DaemonSet => format!("{}-{}", self.name, generated(rng, 5)),
        };
        let claim = match (self.claims, self.kind) {
            (false, _) => String::new(),
            (true, Kind::StatefulSet) => format!("data-{name}"),
            (true, _) => format!("{}-data", self.name),
        };
        let known = self.pods.iter().find(|pod| !claim.is_empty() && pod.claim == claim);
        let volume = known.map_or_else(|| format!("pvc-{}", uid(rng)), |pod| pod.volume.clone());
        Pod {
            namespace: self.namespace.clone(),
            uid: uid(rng),
            node: String::new(),
            container: self.name.split('-').next().unwrap_or("app").to_owned(),
            image: self.image.clone(),
            volume: if claim.is_empty() { String::new() } else { volume },
            claim,
            name,
        }
    }
}
