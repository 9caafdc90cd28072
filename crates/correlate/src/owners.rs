//! Whose an object is: what is known of it late, and what, at last, its name tells.

use std::sync::Arc;

use epicenter_model::{ContextUpdate, EnrichedEvent, ObjectRef};

use crate::edge::Edge;
use crate::function::static_name;
use crate::recurrence::is_generated;
use crate::state::Engine;

/// Kinds whose pods are named after them directly.
const MAKERS: [&str; 4] = ["DaemonSet", "Job", "ReplicationController", "ReplicaSet"];
/// A guess from a name.
const GUESSED: f64 = 0.7;

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
                None => match self.known_maker(&below) {
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
    fn known_maker(&mut self, pod: &ObjectRef) -> Option<u64> {
        let maker = maker_by_name(pod)?;
        let (now, functions) = (self.now(), &self.rules.functions);
        let entities = &mut self.state.entities;
        let known = MAKERS.iter().find_map(|kind| entities.find(kind, &pod.namespace, maker));
        known.or_else(|| functions.is_daemon(maker).then(|| entities.touch(now, "DaemonSet", &pod.namespace, maker)))
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

    /// An object's owner became known after Events about it: they are its workload's.
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
    }
}

/// Objects of kind `owner` make objects of kind `part`, so that an Event about the one that names the other says so.
pub(crate) fn owns(owner: &str, part: &str) -> bool {
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

/// The name of what made a pod that is called after it and five letters.
fn maker_by_name(pod: &ObjectRef) -> Option<&str> {
    let (maker, last) = pod.name.rsplit_once('-').filter(|_| pod.kind == "Pod")?;
    (last.len() == 5 && is_generated(last)).then_some(maker)
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
