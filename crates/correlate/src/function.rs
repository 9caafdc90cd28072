//! What some workloads do for all others: they serve an API, run a driver, connect pods, look names up. Who does what, and who
//! cannot do without it, is data (`rules/system.yaml`).

use std::iter;

use epicenter_model::{EnrichedEvent, Entity};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::edge::Edge;
use crate::neighbours::Links;
use crate::source::{Implied, Need, Serving};
use crate::state::Engine;

/// Kinds of workloads that services send to.
const BACKENDS: [&str; 3] = ["Deployment", "DaemonSet", "StatefulSet"];
/// The workload has the beginning of its service's name.
const BY_BEGINNING: f64 = 0.9;

/// Who does what, and who needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    /// By the workload.
    serves: FxHashMap<Box<str>, Vec<Serving>>,
    needs: FxHashMap<Box<str>, Vec<Need>>,
    /// By the class.
    implies: FxHashMap<Box<str>, Vec<Implied>>,
    /// Kinds of what is done, with the names of what each node's own pod does for it.
    kinds: FxHashMap<Box<str>, FxHashSet<Box<str>>>,
}

impl Functions {
    /// Adds what a file of rules says.
    pub fn add(&mut self, serves: Vec<Serving>, needs: Vec<Need>, implies: Vec<Implied>) {
        for serving in serves {
            let on_nodes = self.kinds.entry(serving.kind.as_str().into()).or_default();
            if serving.daemon {
                on_nodes.insert(serving.name.as_str().into());
            }
            self.serves.entry(serving.workload.as_str().into()).or_default().push(serving);
        }
        for need in needs {
            self.needs.entry(need.workload.as_str().into()).or_default().push(need);
        }
        for implied in implies {
            self.implies.entry(implied.class.as_str().into()).or_default().push(implied);
        }
    }

    /// A DaemonSet is called so wherever it is used.
    pub fn is_daemon(&self, workload: &str) -> bool {
        self.serves.get(workload).is_some_and(|serves| serves.iter().any(|serving| serving.daemon))
    }

    /// What Events of the class are about, but what the text names in its place.
    fn implied_by<'f>(&'f self, event: &'f EnrichedEvent) -> impl Iterator<Item = &'f Implied> {
        let named = |kind: &str| event.entities.iter().any(|named| named.kind == kind);
        of(&self.implies, &event.class).iter().filter(move |implied| !named(&implied.kind))
    }

    fn is_on_nodes(&self, kind: &str, name: &str) -> bool {
        self.kinds.get(kind).is_some_and(|names| names.contains(name))
    }
}

/// What a key of `lists` has.
fn of<'m, T>(lists: &'m FxHashMap<Box<str>, Vec<T>>, key: &str) -> &'m [T] {
    lists.get(key).map_or(&[], Vec::as_slice)
}

impl Engine<'_> {
    /// What the object's workload does for others, and what Events of the class are about.
    pub fn served(&mut self, event: &EnrichedEvent, object: u64, links: &mut Links) {
        let (now, functions) = (self.now(), &self.rules.functions);
        for implied in functions.implied_by(event) {
            links.add(Edge::Api, self.state.entities.touch(now, &implied.kind, "", &implied.name), 1.0);
        }
        let entities = &self.state.entities;
        let mut served = Vec::new();
        for (workload, namespace) in self.known_as(object) {
            for serving in of(&functions.serves, workload) {
                let place = match &*serving.kind {
                    _ if serving.daemon => entities.node_of(object).map(|node| node.name.clone()),
                    "Service" => Some(namespace.to_owned()),
                    _ => Some(String::new()),
                };
                served.extend(place.map(|place| (serving, place)));
            }
            if let Some(service) = entities.find("Service", namespace, workload) {
                links.add(Edge::Api, service, 1.0);
            }
        }
        for (serving, place) in served {
            links.add(Edge::Api, self.state.entities.touch(now, &serving.kind, &place, &serving.name), 1.0);
        }
    }

    /// What is done for the object, and that the Event shows to be missing: what its text names, its class implies or its workload
    /// cannot do without; and the workload behind a service that the text names.
    pub fn needed(&mut self, event: &EnrichedEvent, object: u64, links: &mut Links) {
        let functions = &self.rules.functions;
        let named = event.entities.iter().filter(|named| functions.kinds.contains_key(named.kind.as_str()));
        let named = named.map(|named| (&*named.kind, &*named.namespace, &*named.name));
        let implied = functions.implied_by(event).map(|implied| (&*implied.kind, "", &*implied.name));
        let needs = self.known_as(object).flat_map(|(workload, _)| of(&functions.needs, workload));
        let needs = needs.map(|need| (&*need.kind, "", &*need.name));
        let now = self.now();
        for (kind, namespace, name) in named.chain(implied).chain(needs).collect::<Vec<_>>() {
            let entities = &mut self.state.entities;
            links.add(Edge::Target, entities.touch(now, kind, namespace, name), 1.0);
            if functions.is_on_nodes(kind, name)
                && let Some(node) = entities.node_of(object).cloned()
            {
                links.add(Edge::Target, entities.touch(now, kind, &node.name, name), 1.0);
            }
        }
        for service in event.entities.iter().filter(|named| named.kind == "Service") {
            self.behind(service).into_iter().for_each(|(id, sure)| links.add(Edge::Target, id, sure));
        }
    }

    /// Names by which it may be known what an object does, with their namespaces: those of its owners, that of a workload, and of
    /// a static pod its name without its node's.
    fn known_as(&self, object: u64) -> impl Iterator<Item = (&str, &str)> {
        let entities = &self.state.entities;
        let own = entities.get(object).map(|entity| &entity.object);
        let own = own.and_then(|own| match &*own.kind {
            "Pod" => Some((static_name(&own.name, &entities.node_of(object)?.name)?, &*own.namespace)),
            _ => Some((&*own.name, &*own.namespace)),
        });
        let owners = entities.owners(object).filter_map(|(id, _)| entities.get(id));
        own.into_iter().chain(owners.map(|owner| (&*owner.object.name, &*owner.object.namespace)))
    }

    /// The workload that a service sends to: mostly it has the service's name, or the beginning of it.
    fn behind(&self, service: &Entity) -> Option<(u64, f64)> {
        let mut beginnings = iter::successors(Some(&*service.name), |name| Some(name.rsplit_once('-')?.0));
        beginnings.find_map(|name| {
            let known = |kind: &&str| self.state.entities.find(kind, &service.namespace, name);
            let sure = if name.len() == service.name.len() { 1.0 } else { BY_BEGINNING };
            BACKENDS.iter().find_map(known).map(|id| (id, sure))
        })
    }
}

/// What a pod is called that a node runs by itself, from a file: itself and its node (kubernetes/kubernetes
/// `pkg/kubelet/config/common.go`, `generatePodName`).
pub(crate) fn static_name<'p>(pod: &'p str, node: &str) -> Option<&'p str> {
    pod.strip_suffix(node)?.strip_suffix('-')
}
