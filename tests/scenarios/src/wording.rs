//! What components say, by version of Kubernetes.

use crate::cluster::Pod;

/// Versions that word their Events alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 1.8.
    Old,
    /// 1.20 to 1.34.
    Middle,
    /// From 1.35.
    New,
}

impl Era {
    pub(crate) fn created(self, container: &str) -> String {
        match self {
            Self::New => "Container created".to_owned(),
            Self::Middle => format!("Created container {container}"),
            Self::Old => "Created container".to_owned(),
        }
    }

    pub(crate) fn started(self, container: &str) -> String {
        match self {
            Self::New => "Container started".to_owned(),
            Self::Middle => format!("Started container {container}"),
            Self::Old => "Started container".to_owned(),
        }
    }

    pub(crate) fn pulling(self, image: &str) -> String {
        if self == Self::Old { format!("pulling image \"{image}\"") } else { format!("Pulling image \"{image}\"") }
    }

    pub(crate) fn pulled(self, image: &str) -> String {
        match self {
            Self::Old => format!("Successfully pulled image \"{image}\""),
            Self::Middle => format!("Successfully pulled image \"{image}\" in 1.2s"),
            Self::New => format!(
                "Successfully pulled image \"{image}\" in 812ms (812ms including waiting). Image size: 4711 bytes."
            ),
        }
    }

    pub(crate) fn stopping(self, pod: &Pod) -> String {
        match self {
            Self::Old => format!("Killing container with id docker://{}:Need to kill Pod", pod.container),
            _ => format!("Stopping container {}", pod.container),
        }
    }

    pub(crate) fn unhealthy_killed(self, pod: &Pod, probe: &str) -> String {
        match self {
            Self::Old => format!(
                "Killing container with id docker://{}:pod \"{}_{}({})\" container \"{}\" is unhealthy, it will be killed and re-created.",
                pod.container, pod.name, pod.namespace, pod.uid, pod.container
            ),
            _ => format!("Container {} failed {probe} probe, will be restarted", pod.container),
        }
    }

    pub(crate) fn back_off(self, pod: &Pod) -> String {
        match self {
            Self::New => format!(
                "Back-off restarting failed container {} in pod {}_{}({})",
                pod.container, pod.name, pod.namespace, pod.uid
            ),
            _ => "Back-off restarting failed container".to_owned(),
        }
    }

    pub(crate) fn scaled(self, set: &str, from: usize, to: usize) -> String {
        let way = if to > from { "up" } else { "down" };
        match self {
            Self::New => format!("Scaled {way} replica set {set} from {from} to {to}"),
            _ => format!("Scaled {way} replica set {set} to {to}"),
        }
    }

    /// `FailedScheduling`, from (nodes, why, its old name).
    pub(crate) fn no_node(self, all: usize, predicates: &[(usize, &str, &str)]) -> String {
        if self == Self::Old {
            let each: Vec<_> = predicates.iter().map(|(nodes, _, old)| format!("{old} ({nodes})")).collect();
            return format!("No nodes are available that match all of the following predicates:: {}.", each.join(", "));
        }
        let mut each: Vec<_> = predicates.iter().map(|(nodes, why, _)| format!("{nodes} {why}")).collect();
        each.sort();
        let preemption = match self {
            Self::New => {
                format!(" preemption: 0/{all} nodes are available: {all} No preemption victims found for incoming pod.")
            }
            _ => String::new(),
        };
        format!("0/{all} nodes are available: {}.{preemption}", each.join(", "))
    }

    /// A taint that a pod does not tolerate, as a predicate.
    pub(crate) fn taint(self, taint: &str) -> String {
        match self {
            Self::New => "node(s) had untolerated taint(s)".to_owned(),
            _ => format!("node(s) had taint {{{taint}: }}, that the pod didn't tolerate"),
        }
    }

    /// The controller that watches nodes.
    pub(crate) fn node_controller(self) -> &'static str {
        if self == Self::Old { "controllermanager" } else { "node-controller" }
    }
}
