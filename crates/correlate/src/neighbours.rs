//! What an object is linked with: from its context, from what Events say, and, at last, from its name.

use std::sync::Arc;

use epicenter_model::{ContextUpdate, EnrichedEvent, Entity};

use crate::edge::{Edge, EdgeSet};
use crate::entity::bounded;
use crate::recurrence::is_generated;
use crate::source::Blame;
use crate::state::Engine;

/// Kinds whose pods are named after them directly.
const MAKERS: [&str; 4] = ["DaemonSet", "Job", "ReplicationController", "ReplicaSet"];
/// A guess from a name.
const GUESSED: f64 = 0.7;
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

    fn add(&mut self, edge: Edge, id: u64, confidence: f64) {
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
        if !self.is_static(event, object) {
            self.guess_owner(object);
        }
        object
    }

    fn learn_context(&mut self, object: u64, context: &epicenter_model::Context) {
        let now = self.now();
        let entities = &mut self.state.entities;
        let mut below = object;
        for owner in &context.owners {
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

    /// A node runs it by itself, from a file: it is called after itself and its node, and no workload makes it
    /// (kubernetes/kubernetes `pkg/kubelet/config/common.go`, `generatePodName`).
    fn is_static(&self, event: &EnrichedEvent, object: u64) -> bool {
        let regarding = &event.event.regarding;
        let of = |node: &str| regarding.name.strip_suffix(node).is_some_and(|name| name.ends_with('-'));
        let entities = &self.state.entities;
        let runs_on = entities.get(object).and_then(|pod| pod.linked(Edge::Node).next());
        let runs_on = runs_on.and_then(|link| entities.get(link.to)).map(|node| &node.object);
        let named = event.entities.iter().filter(|named| named.kind == "Node").map(|node| node.name.as_str());
        regarding.kind == "Pod" && runs_on.map(|node| node.name.as_str()).into_iter().chain(named).any(of)
    }

    /// Where the owners end too early, the next by name, the last resort: `web-7d9f6c5b8d-x2x9k` is a pod of ReplicaSet
    /// `web-7d9f6c5b8d` of Deployment `web`, `db-0` one of StatefulSet `db`, `report-29384756` a run of CronJob `report`.
    fn guess_owner(&mut self, object: u64) {
        let now = self.now();
        let mut at = object;
        for _ in 0..3 {
            let entities = &mut self.state.entities;
            let Some(entity) = entities.get(at) else { return };
            let (below, owner) = (Arc::clone(&entity.object), entity.linked(Edge::Owner).next());
            if let Some(link) = owner {
                if entities.get(link.to).is_some() {
                    // Of an owner little is heard itself: it is remembered for as long as what it owns.
                    entities.keep(link.to, now);
                    at = link.to;
                    continue;
                }
                entities.change(at, |entity| entity.links.retain(|known| *known != link));
            }
            let above = match owner_by_name(&below.kind, &below.name) {
                Some((kind, name)) => entities.touch(now, kind, &below.namespace, name),
                None => match self.known_maker(&below.kind, &below.namespace, &below.name) {
                    Some(known) => known,
                    None => return,
                },
            };
            let entities = &mut self.state.entities;
            entities.link(at, Edge::Owner, above, GUESSED);
            at = above;
        }
    }

    /// A pod's name is its maker's and five letters, of whatever kind that is: one that is known, or is always there.
    fn known_maker(&mut self, kind: &str, namespace: &str, name: &str) -> Option<u64> {
        let (maker, last) = name.rsplit_once('-').filter(|_| kind == "Pod")?;
        if last.len() != 5 || !is_generated(last) {
            return None;
        }
        let (now, rules) = (self.now(), self.rules);
        let entities = &mut self.state.entities;
        let known = MAKERS.iter().find_map(|kind| entities.find(kind, namespace, maker));
        let serves = || rules.serves.iter().any(|serving| serving.daemon && *serving.workload == *maker);
        known.or_else(|| serves().then(|| entities.touch(now, "DaemonSet", namespace, maker)))
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
                    let target = self.state.entities.find("Deployment", &regarding.namespace, &regarding.name);
                    target.into_iter().for_each(|id| links.add(edge, id, ONE_OF_MANY));
                }
                Edge::Api => self.served(event, object, &mut links),
                _ => {}
            }
        }
        self.needed(event, follow, &mut links);
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
    fn needed(&mut self, event: &EnrichedEvent, follow: EdgeSet, links: &mut Links) {
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

    /// The API that the object's workload serves, or that Events of the class are about.
    fn served(&mut self, event: &EnrichedEvent, object: u64, links: &mut Links) {
        let now = self.now();
        let named = event.entities.iter().any(|named| Edge::to_kind(&named.kind) == Edge::Api);
        for implied in self.rules.implies.iter().filter(|implied| implied.class == event.class && !named) {
            links.add(Edge::Api, self.state.entities.touch(now, &implied.kind, "", &implied.name), 1.0);
        }
        let top = self.state.entities.top(object);
        let rules = self.rules;
        let Some(workload) = self.state.entities.get(top).map(|entity| Arc::clone(&entity.object)) else { return };
        for serving in rules.serves.iter().filter(|serving| serving.workload == workload.name) {
            links.add(Edge::Api, self.state.entities.touch(now, &serving.kind, "", &serving.name), 1.0);
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

    /// Surroundings became known.
    pub fn context(&mut self, update: &ContextUpdate) {
        let now = self.now();
        let object = self.state.entities.touch_ref(now, &update.object);
        self.learn_context(object, &update.context);
        let Some(workload) = update.context.workload().map(|workload| Arc::new(workload.clone())) else { return };
        let top = self.state.entities.top(object);
        let places = self.state.objects.get(&object).cloned().unwrap_or_default();
        self.look(places.len());
        for (no, number) in places {
            let Some(live) = self.state.incidents.get(&no) else { continue };
            let Some(row) = live.rows.get(&number).filter(|row| row.object == object) else { continue };
            if row.workload.as_ref() == Some(&workload) {
                continue;
            }
            let mut keys = row.keys();
            self.state.unindex(no, number, &keys);
            if let Some(live) = self.state.incidents.get_mut(&no) {
                live.set_workload(number, top, &workload);
                keys.workload = Some(top).filter(|top| *top != object);
                self.state.index(no, number, keys);
            }
            self.touch(no, None);
        }
    }
}

/// Objects of kind `owner` make objects of kind `part`, so that an Event about the one that names the other says so.
fn owns(owner: &str, part: &str) -> bool {
    match part {
        "Pod" => {
            matches!(owner, "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController")
        }
        "ReplicaSet" => owner == "Deployment",
        "Job" => owner == "CronJob",
        "CertificateRequest" => owner == "Certificate",
        "Order" => owner == "CertificateRequest",
        "Challenge" => owner == "Order",
        _ => false,
    }
}

/// Kind and name of the owner that a generated name tells of.
fn owner_by_name<'a>(kind: &str, name: &'a str) -> Option<(&'static str, &'a str)> {
    let (rest, last) = name.rsplit_once('-')?;
    let digits = last.bytes().all(|byte| byte.is_ascii_digit());
    let hash = |text: &str| text.len() >= 5 && is_generated(text);
    match kind {
        "Pod" if last.len() == 5 && hash(last) && rest.rsplit_once('-').is_some_and(|(_, run)| is_run(run)) => {
            Some(("Job", rest))
        }
        "Pod" if last.len() == 5 && hash(last) && rest.rsplit_once('-').is_some_and(|(_, set)| hash(set)) => {
            Some(("ReplicaSet", rest))
        }
        "Pod" if digits && (1..=3).contains(&last.len()) => Some(("StatefulSet", rest)),
        "ReplicaSet" if hash(last) => Some(("Deployment", rest)),
        "Job" if digits && last.len() >= 8 => Some(("CronJob", rest)),
        // cert-manager numbers what it makes of a certificate.
        "Challenge" if digits => Some(("Order", rest)),
        "Order" if digits => Some(("CertificateRequest", rest)),
        "CertificateRequest" if digits => Some(("Certificate", rest)),
        _ => None,
    }
}

/// The end of a cron job's job: its minute since 1970, and before Kubernetes 1.21 its second
/// (kubernetes/kubernetes `pkg/controller/cronjob/utils.go`, `getJobName`). A replica set's hash looks so by chance only.
fn is_run(text: &str) -> bool {
    let minute = 23_000_000..40_000_000;
    match text.parse::<u64>() {
        Ok(run) if text.len() == 8 => minute.contains(&run),
        Ok(run) if text.len() == 10 => run % 60 == 0 && minute.contains(&(run / 60)),
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
