//! Whose an object is: what is known of it late, and what, at last, its name tells.

use std::sync::Arc;

use epicenter_model::{ContextUpdate, EnrichedEvent, ObjectRef};

use crate::edge::Edge;
use crate::function::static_name;
use crate::live::Live;
use crate::recurrence::is_generated;
use crate::source::Blame;
use crate::state::Engine;

/// Kinds whose pods are named after them directly.
const MAKERS: [&str; 4] = ["DaemonSet", "Job", "ReplicationController", "ReplicaSet"];
/// A guess from a name.
const GUESSED: f64 = 0.7;
/// The kind of what stands for failing pods that are called alike, while nothing is known of their maker.
const NAMESAKES: &str = "Namesakes";

impl Engine<'_> {
    /// A node runs it by itself, from a file: no workload makes it.
    pub fn is_static(&self, event: &EnrichedEvent, object: u64) -> bool {
        let regarding = &event.event.regarding;
        let runs_on = self.state.entities.node_of(object).map(|node| node.name.as_str());
        let named = event.entities.iter().filter(|named| named.kind == "Node").map(|node| node.name.as_str());
        let of = |node: &str| static_name(&regarding.name, node).is_some();
        regarding.kind == "Pod" && runs_on.into_iter().chain(named).any(of)
    }

    /// Where the owners end too early, the next by name, the last resort: `web-7d9f6c5b8d-x2x9k` is a pod of ReplicaSet
    /// `web-7d9f6c5b8d` of Deployment `web`, `db-0` one of StatefulSet `db`, `report-29384756` a run of CronJob `report`.
    pub fn guess_owner(&mut self, object: u64) {
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
                None => match self.known_owner(&below) {
                    Some(known) => known,
                    None => return,
                },
            };
            let entities = &mut self.state.entities;
            entities.link(at, Edge::Owner, above, GUESSED);
            at = above;
        }
    }

    /// A pod's name is its maker's and five letters, of whatever kind that is, and a replication controller's may be a deployment
    /// config's and a number: one that is known, or is always there.
    fn known_owner(&mut self, below: &ObjectRef) -> Option<u64> {
        let (now, functions) = (self.now(), &self.rules.functions);
        let (entities, namespace) = (&mut self.state.entities, &below.namespace);
        if below.kind == "ReplicationController" {
            return entities.find("DeploymentConfig", namespace, unnumbered(&below.name)?);
        }
        let maker = maker_by_name(below)?;
        let known = MAKERS.iter().find_map(|kind| entities.find(kind, namespace, maker));
        known.or_else(|| functions.is_daemon(maker).then(|| entities.touch(now, "DaemonSet", namespace, maker)))
    }

    /// Pods that are called alike and fail alike on different nodes have one maker, though nothing is heard of it: mostly a daemon
    /// set, or a version of one of OpenShift's deployment configs. Until then they are remembered together, should their maker be heard of.
    pub fn meet_namesakes(&mut self, event: &EnrichedEvent, object: u64) {
        let (now, entities) = (self.now(), &mut self.state.entities);
        let Some(pod) = entities.get(object).filter(|pod| pod.linked(Edge::Owner).next().is_none()) else { return };
        let pod = Arc::clone(&pod.object);
        let Some(maker) = maker_by_name(&pod).filter(|_| !self.is_static(event, object)) else { return };
        let entities = &mut self.state.entities;
        let all = entities.touch(now, NAMESAKES, &pod.namespace, maker);
        entities.link(all, Edge::Named, object, GUESSED);
        let alike: Vec<u64> = self.namesakes(all).filter(|other| self.fails_alike(event, object, *other)).collect();
        if !alike.is_empty() {
            let kind = unnumbered(maker).map_or("DaemonSet", |_| "ReplicationController");
            let maker = self.state.entities.touch(now, kind, &pod.namespace, maker);
            alike.into_iter().chain([object]).for_each(|pod| self.belongs_to(pod, maker));
        }
    }

    /// What makes pods is heard of: those that are called after it and have no other owner are its.
    pub fn claim_namesakes(&mut self, maker: u64, object: &ObjectRef) {
        if MAKERS.contains(&object.kind.as_str())
            && let Some(all) = self.state.entities.find(NAMESAKES, &object.namespace, &object.name)
        {
            let pods: Vec<u64> = self.namesakes(all).collect();
            pods.into_iter().for_each(|pod| self.belongs_to(pod, maker));
        }
    }

    /// Those of `all` of whom no owner is known.
    fn namesakes(&self, all: u64) -> impl Iterator<Item = u64> {
        let entities = &self.state.entities;
        let pods = entities.get(all).into_iter().flat_map(|all| all.linked(Edge::Named)).map(|link| link.to);
        pods.filter(|pod| entities.get(*pod).is_some_and(|pod| pod.linked(Edge::Owner).next().is_none()))
    }

    /// Another pod on another node is to blame for an open incident of the Event's kind, of which no text names other things.
    fn fails_alike(&self, event: &EnrichedEvent, object: u64, other: u64) -> bool {
        let entities = &self.state.entities;
        let nodes = entities.node_of(object).zip(entities.node_of(other));
        nodes.is_some_and(|(own, others)| own.name != others.name)
            && self.incident_of(other).filter(|(_, live)| live.is_open()).is_some_and(|(_, live)| {
                let own = live.head.candidates.iter().filter(|candidate| candidate.entity == other);
                let mut alike = own.filter(|candidate| self.rules.are_akin(&candidate.class, &event.class));
                alike.any(|candidate| live.rows.get(&candidate.row).is_some_and(|row| row.may_name(&event.entities)))
            })
    }

    fn belongs_to(&mut self, pod: u64, maker: u64) {
        self.state.entities.link(pod, Edge::Owner, maker, GUESSED);
        self.guess_owner(maker);
        self.owner_known(pod);
    }

    /// Surroundings became known.
    pub fn context(&mut self, update: &ContextUpdate) {
        let now = self.now();
        let object = self.state.entities.touch_ref(now, &update.object);
        self.learn_context(object, &update.context);
        if !update.context.owners.is_empty() {
            self.owner_known(object);
        }
    }

    /// An object's owner became known after Events about it: they are its workload's, and so is what the object was to blame for.
    fn owner_known(&mut self, object: u64) {
        let top = self.state.entities.top(object);
        let Some(workload) = self.state.entities.get(top).filter(|_| top != object) else { return };
        let workload = Arc::clone(&workload.object);
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
                keys.workload = Some(top);
                self.state.index(no, number, keys);
            }
            self.touch(no, None);
        }
        self.blame_workload(object, top, &workload);
    }

    /// What was blamed for want of its workload no longer is; the workload's open incident and the object's are one.
    fn blame_workload(&mut self, object: u64, top: u64, workload: &Arc<ObjectRef>) {
        let rules = self.rules;
        let Some((no, _)) = self.incident_of(object).filter(|(_, live)| live.is_open()) else { return };
        let other = self.incident_of(top).filter(|(_, live)| live.is_open()).map(|(other, _)| other);
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        let mut moved = Vec::new();
        for index in 0..live.head.candidates.len() {
            let candidate = &live.head.candidates[index];
            let its = candidate.entity == object && candidate.common.is_none();
            let for_want = rules.class(&candidate.class).blame.contains(&Blame::Workload);
            if its && for_want && live.head.find(&candidate.class, top, None).is_none() {
                moved.push(Arc::clone(&candidate.class));
                let candidate = &mut live.head.candidates[index];
                (candidate.entity, candidate.object) = (top, Arc::clone(workload));
            }
        }
        if moved.is_empty() {
            return;
        }
        live.words = None;
        let akin = |live: &Live| {
            let mut own = live.head.candidates.iter().filter(|candidate| candidate.entity == top);
            own.any(|known| moved.iter().any(|class| rules.are_akin(&known.class, class)))
        };
        let other = other.filter(|other| *other != no && !self.state.partings.are(no, *other));
        let other = other.filter(|other| self.state.incidents.get(other).is_some_and(|live| akin(live)));
        let no = other.map_or(no, |other| self.merge(no, other));
        self.state.entities.set_incident(top, no);
        self.touch(no, None);
    }
}

/// What a number stands behind: OpenShift calls version 3 of deployment config `web` `web-3`.
fn unnumbered(name: &str) -> Option<&str> {
    let (rest, number) = name.rsplit_once('-')?;
    ((1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
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
        "Pod" if unnumbered(name).is_some() => Some(("StatefulSet", rest)),
        // OpenShift's pods that roll out and build.
        "Pod" if last == "deploy" && unnumbered(rest).is_some() => Some(("ReplicationController", rest)),
        "Pod" if last == "build" && unnumbered(rest).is_some() => Some(("Build", rest)),
        "Build" if unnumbered(name).is_some() => Some(("BuildConfig", rest)),
        "ReplicaSet" if hash(last) => Some(("Deployment", rest)),
        "Job" if digits && last.len() >= 8 => Some(("CronJob", rest)),
        // cert-manager numbers what it makes of a certificate.
        "Challenge" if digits => Some(("Order", rest)),
        "Order" if digits => Some(("CertificateRequest", rest)),
        "CertificateRequest" if digits => Some(("Certificate", rest)),
        _ => None,
    }
}

/// The name of what made a pod that is called after it and five letters. Digits alone are somebody's number, nearly always.
fn maker_by_name(pod: &ObjectRef) -> Option<&str> {
    let (maker, last) = pod.name.rsplit_once('-').filter(|_| pod.kind == "Pod")?;
    let made = last.len() == 5 && is_generated(last) && last.bytes().any(|byte| byte.is_ascii_alphabetic());
    made.then_some(maker)
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
