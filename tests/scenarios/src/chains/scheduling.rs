//! Pods for which there is no room.

use super::Scenario;
use crate::cluster::Kind;
use crate::names::uid;
use crate::stage::{Object, Stage};
use crate::truth::Label::{Part, Telling};
use crate::wording::Era;

/// The cluster is full, and no node comes.
pub(super) fn out_of_capacity(stage: &mut Stage, at: f64) {
    let alone = stage.chance(0.3);
    let resource = if stage.chance(0.6) { "Insufficient cpu" } else { "Insufficient memory" };
    let count = if alone { 1 } else { stage.number(3, 6) };
    let workloads: Vec<usize> =
        (0..count).map(|_| stage.workload(|workload| workload.kind == Kind::Deployment)).collect();
    let first = stage.cluster.workloads[workloads[0]].clone();
    let mut roots = vec![("Capacity", "", "*")];
    if alone {
        roots.push(("Deployment", &first.namespace, &first.name));
    }
    let classes = ["sched.insufficient_cpu", "sched.insufficient_memory", "autoscaler.*"];
    let fault = stage.fault(Scenario::OutOfCapacity, at, true, &roots, &classes);
    let (telling, part, era) = (Telling(fault), Part(fault), stage.era);
    let all = stage.cluster.nodes.len();
    let text = era.no_node(all, &[(all, resource, resource)]);
    let autoscaled = stage.chance(0.5);
    for workload in workloads {
        let now = at + stage.between(0.0, 120.0);
        let (object, set) = (stage.cluster.workloads[workload].object(), stage.cluster.workloads[workload].set.clone());
        stage.say(now, part, "deployment-controller", object, false, "ScalingReplicaSet", &era.scaled(&set, 2, 4));
        for index in 0..2 {
            let pod = stage.make(now + 0.1, part, workload, index);
            for n in 0..4 {
                stage.scheduler(now + 0.3 + f64::from(n) * 80.0, telling, &pod, true, "FailedScheduling", &text);
            }
            if autoscaled {
                let text = "pod didn't trigger scale-up: 1 max node group size reached";
                for n in 0..3 {
                    stage.say(
                        now + 12.0 + f64::from(n) * 60.0,
                        telling,
                        "cluster-autoscaler",
                        pod.object(),
                        false,
                        "NotTriggerScaleUp",
                        text,
                    );
                }
            }
        }
    }
}

/// More important pods take the place of less important ones.
pub(super) fn preemption(stage: &mut Stage, at: f64) {
    let important = stage.workload(|workload| workload.kind == Kind::Deployment);
    let winner = stage.cluster.workloads[important].clone();
    let fault = stage.fault(
        Scenario::Preemption,
        at,
        true,
        &[("Deployment", &winner.namespace, &winner.name), ("PriorityClass", "", "*"), ("Pod", &winner.namespace, "*")],
        &["sched.preempted", "sched.*"],
    );
    let (telling, part, era) = (Telling(fault), Part(fault), stage.era);
    let all = stage.cluster.nodes.len();
    let text = era.no_node(all, &[(all, "Insufficient cpu", "Insufficient cpu")]);
    stage.say(
        at,
        part,
        "deployment-controller",
        winner.object(),
        false,
        "ScalingReplicaSet",
        &era.scaled(&winner.set, 1, 3),
    );
    let mut preemptor = stage.make(at + 0.1, part, important, 4);
    stage.scheduler(at + 0.2, telling, &preemptor, true, "FailedScheduling", &text);
    let node = stage.node().name;
    for _ in 0..stage.number(2, 4) {
        let workload = stage.workload(|workload| workload.kind == Kind::Deployment && !workload.pods.is_empty());
        let victim = stage.cluster.workloads[workload].pods[0].clone();
        let now = at + stage.between(0.3, 1.0);
        let said = match era {
            Era::New => format!("Preempted by pod {} on node {}", preemptor.uid, victim.node),
            _ => format!("Preempted by {}/{} on node {}", preemptor.namespace, preemptor.name, victim.node),
        };
        stage.scheduler(now, telling, &victim, era != Era::New, "Preempted", &said);
        if let Some(said) = stage.said.last_mut().filter(|_| era != Era::Old) {
            said.related = Some(preemptor.object());
        }
        stage.container(now + 0.2, part, &victim, false, "Killing", &era.stopping(&victim));
        let again = stage.make(now + 0.5, part, workload, 3);
        for n in 0..3 {
            stage.scheduler(now + 0.7 + f64::from(n) * 70.0, telling, &again, true, "FailedScheduling", &text);
        }
    }
    stage.place(at + 31.0, part, important, &mut preemptor, &node);
    stage.start(at + 32.0, part, &preemptor);
}

/// A pod that a claim, a taint or a selector keeps off all nodes for a moment only: the autoscaler helps.
pub(crate) fn scaled_up(stage: &mut Stage, at: f64) {
    let label = crate::truth::Label::Noise;
    let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
    let (all, era) = (stage.cluster.nodes.len(), stage.era);
    let text = era.no_node(all, &[(all, "Insufficient cpu", "Insufficient cpu")]);
    let mut pod = stage.make(at, label, workload, 2);
    stage.scheduler(at + 0.2, label, &pod, true, "FailedScheduling", &text);
    let up = "pod triggered scale-up: [{main-pool 3->4 (max: 10)}]";
    stage.say(at + 8.0, label, "cluster-autoscaler", pod.object(), false, "TriggeredScaleUp", up);
    let name = format!("new-{}", crate::names::generated(&mut stage.rng, 5));
    let fresh = crate::cluster::Node { uid: uid(&mut stage.rng), name: name.clone(), zone: "eu-west-1a".to_owned() };
    stage.kubelet(at + 38.0, label, &fresh, false, "Starting", "Starting kubelet.");
    stage.kubelet(at + 38.5, label, &fresh, true, "InvalidDiskCapacity", "invalid capacity 0 on image filesystem");
    let about = Object::new("Node", "", &name).uid(&fresh.uid);
    let text = format!("Node {name} event: Registered Node {name} in Controller");
    stage.say(at + 40.0, label, era.node_controller(), about, false, "RegisteredNode", &text);
    stage.kubelet(at + 44.0, label, &fresh, false, "NodeReady", &format!("Node {name} status is now: NodeReady"));
    stage.place(at + 46.0, label, workload, &mut pod, &name);
    stage.start(at + 47.0, label, &pod);
    stage.cluster.workloads[workload].taken = false;
}
