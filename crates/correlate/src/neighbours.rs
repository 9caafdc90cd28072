//! What an object is linked with: from its context, and from what Events say.

use epicenter_model::{Context, EnrichedEvent, Entity};

use crate::edge::{Edge, EdgeSet};
use crate::entity::bounded;
use crate::source::Blame;
use crate::state::Engine;

/// One of several of the kind, so that it is not sure which one an Event is about.
const ONE_OF_MANY: f64 = 0.6;

/// Config maps that every namespace has and every pod mounts.
const EVERYWHERE: [&str; 2] = ["kube-root-ca.crt", "openshift-service-ca.crt"];

/// Links that lead away from an Event's object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Vec<(Edge, u64, f64)>);

impl Links {
    pub fn along(&self, edge: Edge) -> impl Iterator<Item = (u64, f64)> + '_ {
        self.0.iter().filter(move |(known, ..)| *known == edge).map(|(_, id, confidence)| (*id, *confidence))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Edge, u64)> + '_ {
        self.0.iter().map(|(edge, id, _)| (*edge, *id))
    }

    pub fn add(&mut self, edge: Edge, id: u64, confidence: f64) {
        if !self.0.iter().any(|(known, to, _)| (*known, *to) == (edge, id)) {
            self.0.push((edge, id, confidence));
        }
    }
}

impl Engine<'_> {
    /// Notes what a record says of the links of its object. Gives the object.
    pub fn learn(&mut self, event: &EnrichedEvent) -> u64 {
        let now = self.now();
        let regarding = &event.event.regarding;
        let object = self.state.entities.touch_ref(now, regarding);
        self.learn_context(object, &event.context);
        let entities = &mut self.state.entities;
        if regarding.kind == "Pod"
            && event.context.node.is_empty()
            && let Some(node) = event.event.kubelet_node()
        {
            let node = entities.touch(now, "Node", "", node);
            entities.link(object, Edge::Node, node, 1.0);
        }
        for named in &event.entities {
            let edge = Edge::to_kind(&named.kind);
            let owned = owns(&regarding.kind, &named.kind);
            // A pending pod's text names nodes on which it does not run.
            let elsewhere = edge == Edge::Node && (regarding.kind != "Pod" || event.class != "sched.scheduled");
            if owned {
                let part = entities.touch(now, &named.kind, &regarding.namespace, &named.name);
                entities.link(part, Edge::Owner, object, 1.0);
            } else if edge != Edge::Named && !elsewhere {
                let to = entities.touch(now, &named.kind, &named.namespace, &named.name);
                entities.link(object, edge, to, 1.0);
            }
        }
        self.claim_namesakes(object, regarding);
        if !self.is_static(event, object) {
            self.guess_owner(object);
        }
        object
    }

    pub fn learn_context(&mut self, object: u64, context: &Context) {
        let now = self.now();
        let entities = &mut self.state.entities;
        let mut below = object;
        // A static pod has its node for an owner: it runs there, and is of no workload.
        for owner in context.owners.iter().filter(|owner| owner.kind != "Node") {
            let above = entities.touch_ref(now, owner);
            entities.link(below, Edge::Owner, above, 1.0);
            below = above;
        }
        if !context.node.is_empty() {
            let node = entities.touch(now, "Node", "", &context.node);
            entities.link(object, Edge::Node, node, 1.0);
            if !context.zone.is_empty() {
                let zone = entities.touch(now, "Zone", "", &context.zone);
                entities.link(node, Edge::Zone, zone, 1.0);
            }
        }
    }

    /// The links of an Event's object of the kinds in `follow`, the surest first among those of one kind.
    pub fn links(&mut self, event: &EnrichedEvent, object: u64, follow: EdgeSet) -> Links {
        let mut links = Links::default();
        let now = self.now();
        let regarding = &event.event.regarding;
        for named in &event.entities {
            let edge = Edge::to_kind(&named.kind);
            if follow.contains(edge) {
                links.add(edge, self.state.entities.touch(now, &named.kind, &named.namespace, &named.name), 1.0);
            }
        }
        for edge in follow.iter() {
            match edge {
                Edge::Object => links.add(edge, object, 1.0),
                Edge::Owner => self.state.entities.owners(object).for_each(|(id, sure)| links.add(edge, id, sure)),
                Edge::Zone => {
                    let entities = &self.state.entities;
                    let node = entities.get(object).and_then(|entity| entity.linked(Edge::Node).next());
                    let zone =
                        entities.get(node.map_or(object, |link| link.to)).and_then(|e| e.linked(Edge::Zone).next());
                    zone.into_iter().for_each(|link| links.add(edge, link.to, 1.0));
                }
                Edge::Namespace if !regarding.namespace.is_empty() => {
                    links.add(edge, self.state.entities.touch(now, "Namespace", "", &regarding.namespace), 1.0);
                }
                Edge::Cluster => {
                    let cluster = std::mem::take(&mut self.state.cluster);
                    links.add(edge, self.state.entities.touch(now, "Capacity", "", &cluster), 1.0);
                    self.state.cluster = cluster;
                }
                Edge::Related => {
                    let second = event.event.related.as_ref().filter(|related| !related.name.is_empty());
                    // Before Kubernetes 1.19 only the text names it, and since 1.34 the text has its uid.
                    let like = |named: &&Entity| named.kind == regarding.kind && named.name != regarding.name;
                    let by_uid = event.entities.iter().filter(|named| named.kind == "Uid");
                    if let Some(related) = second {
                        links.add(edge, self.state.entities.touch_ref(now, related), 1.0);
                    } else if let Some(id) = by_uid.filter_map(|named| self.state.entities.of_uid(&named.name)).next() {
                        links.add(edge, id, 1.0);
                    } else if let Some(named) = event.entities.iter().find(like) {
                        let id = self.state.entities.touch(now, &named.kind, &named.namespace, &named.name);
                        links.add(edge, id, 1.0);
                    }
                }
                Edge::Target => {
                    let scales = regarding.kind == "HorizontalPodAutoscaler";
                    let target = || self.state.entities.find("Deployment", &regarding.namespace, &regarding.name);
                    scales.then(target).flatten().into_iter().for_each(|id| links.add(edge, id, ONE_OF_MANY));
                    self.needed(event, object, &mut links);
                }
                Edge::Api => self.served(event, object, &mut links),
                _ => {}
            }
        }
        self.parts(event, follow, &mut links);
        if let Some(entity) = self.state.entities.get(object) {
            for link in &entity.links {
                if follow.contains(link.edge) && !matches!(link.edge, Edge::Owner | Edge::Zone) {
                    links.add(link.edge, link.to, link.confidence);
                }
            }
        }
        links
    }

    /// What the object's context says that it needs: each is one of many.
    fn parts(&mut self, event: &EnrichedEvent, follow: EdgeSet, links: &mut Links) {
        let now = self.now();
        let namespace = &event.event.regarding.namespace;
        let context = &event.context;
        let lists = [
            (Edge::Claim, "PersistentVolumeClaim", namespace.as_str(), &context.claims),
            (Edge::Volume, "PersistentVolume", "", &context.volumes),
            (Edge::ConfigMap, "ConfigMap", namespace, &context.config_maps),
            (Edge::Secret, "Secret", namespace, &context.secrets),
            (Edge::Image, "Image", "", &context.images),
        ];
        for (edge, kind, namespace, names) in lists {
            let own = || names.iter().filter(|name| !EVERYWHERE.contains(&name.as_str()));
            let sure = if own().count() == 1 { 1.0 } else { ONE_OF_MANY };
            for name in own().take(8).filter(|_| follow.contains(edge)) {
                links.add(edge, self.state.entities.touch(now, kind, namespace, name), sure);
            }
        }
        if follow.contains(Edge::Registry) && links.along(Edge::Registry).next().is_none() {
            let sure = if context.images.len() == 1 { 1.0 } else { ONE_OF_MANY };
            for image in context.images.iter().take(8) {
                links.add(Edge::Registry, self.state.entities.touch(now, "Registry", "", registry(image)), sure);
            }
        }
    }

    /// What is to blame for an Event when nothing else explains it.
    pub fn blame(&mut self, event: &EnrichedEvent, object: u64) -> u64 {
        let rules = self.rules;
        let class = rules.class(&event.class);
        for blame in &class.blame {
            let edge = match blame {
                Blame::Object => return object,
                Blame::Workload => match self.state.entities.top(object) {
                    top if top != object => return top,
                    _ => continue,
                },
                Blame::Node => Edge::Node,
                Blame::Claim => Edge::Claim,
                Blame::Volume => Edge::Volume,
                Blame::StorageClass => Edge::StorageClass,
                Blame::CsiDriver => Edge::CsiDriver,
                Blame::Secret => Edge::Secret,
                Blame::ConfigMap => Edge::ConfigMap,
                Blame::Registry => Edge::Registry,
                Blame::Quota => Edge::Quota,
                Blame::Webhook => Edge::Webhook,
                Blame::ServiceAccount => Edge::ServiceAccount,
                Blame::Namespace => Edge::Namespace,
                Blame::Related => Edge::Related,
                Blame::Api => Edge::Api,
                Blame::Named => Edge::Named,
            };
            let mut only = EdgeSet::default();
            only.insert(edge);
            let found =
                self.links(event, object, only).along(edge).find(|(_, sure)| *sure > ONE_OF_MANY).map(|(id, _)| id);
            if let Some(id) = found {
                return if *blame == Blame::Related { self.state.entities.top(id) } else { id };
            }
        }
        object
    }
}

/// Objects of kind `owner` make objects of kind `part`, so that an Event about the one that names the other says so.
fn owns(owner: &str, part: &str) -> bool {
    match part {
        "Pod" => {
            matches!(owner, "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController")
        }
        "ReplicaSet" => owner == "Deployment",
        "ReplicationController" => owner == "DeploymentConfig",
        "Job" => owner == "CronJob",
        "CertificateRequest" => owner == "Certificate",
        "Order" => owner == "CertificateRequest",
        "Challenge" => owner == "Order",
        _ => false,
    }
}

/// The host that an image comes from (distribution/reference `normalize.go`).
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => bounded(host),
        _ => "docker.io",
    }
}
