//! Nodes that fail, and what that does to their pods.

use super::Scenario;
use crate::cluster::{Kind, Node, Pod};
use crate::stage::{Object, Stage};
use crate::truth::Label::{Part, Telling};
use crate::wording::Era;

/// A node loses power: not ready, its pods evicted after five minutes, their replacements placed elsewhere, or not, or
/// waiting for a volume that the dead node still holds.
pub(super) fn down(stage: &mut Stage, at: f64, with_volume: bool) {
    let era = stage.era;
    let volume = with_volume.then(|| stage.new_workload(Kind::Deployment, 1, true));
    let node = match volume {
        Some(volume) => stage.cluster.workloads[volume].pods[0].node.clone(),
        None => stage.node().name,
    };
    stage.cluster.busy.push(node.clone());
    let node = stage.cluster.nodes.iter().find(|known| known.name == node).cloned().expect("it was taken from there");
    if let Some(volume) = volume {
        stage.cluster.workloads[volume].taken = false;
    }
    let scenario = if with_volume { Scenario::NodeDownWithVolume } else { Scenario::NodeDown };
    let fault = stage.fault(scenario, at, true, &[("Node", "", &node.name)], &["node.not_ready", "node.*"]);
    let telling = Telling(fault);
    // Others notice before the control plane does.
    let pods = stage.cluster.on(&node.name);
    let noticed = at + stage.between(41.0, 57.0);
    let about = Object::new("Node", "", &node.name).uid(&node.uid);
    let status = format!("Node {} status is now: NodeNotReady", node.name);
    stage.say(noticed, telling, era.node_controller(), about.clone(), false, "NodeNotReady", &status);
    if era != Era::Old {
        for (_, pod) in &pods {
            let now = noticed + stage.between(0.0, 0.8);
            stage.say(now, telling, "node-controller", pod.object(), true, "NodeNotReady", "Node is not ready");
        }
    }
    let back = if stage.chance(0.3) { at + stage.between(100.0, 280.0) } else { at + stage.between(700.0, 1100.0) };
    let evicted = noticed + 300.0;
    if back > evicted {
        if era == Era::Old {
            let text = format!("Node {} event: Deleting all Pods from Node {}.", node.name, node.name);
            stage.say(evicted, telling, "controllermanager", about, false, "DeletingAllPods", &text);
        }
        for (workload, pod) in &pods {
            if stage.cluster.workloads[*workload].kind == Kind::DaemonSet {
                continue;
            }
            let now = evicted + stage.between(0.0, 2.0);
            evict(stage, now, telling, pod, &node);
            replace(stage, now + 0.5, fault, *workload, pod, &node, volume == Some(*workload));
        }
    }
    recover(stage, back, fault, &node, &pods);
}

fn evict(stage: &mut Stage, at: f64, telling: crate::truth::Label, pod: &Pod, node: &Node) {
    if stage.era == Era::Old {
        let text = format!("Marking for deletion Pod {} from Node {}", pod.name, node.name);
        stage.say(at, telling, "controllermanager", pod.object(), false, "NodeControllerEviction", &text);
    } else {
        let text = format!("Marking for deletion Pod {}/{}", pod.namespace, pod.name);
        let object = Object { uid: String::new(), ..pod.object() };
        stage.say(at, telling, "taint-eviction-controller", object, false, "TaintManagerEviction", &text);
    }
}

/// A replacement for an evicted pod.
fn replace(stage: &mut Stage, at: f64, fault: usize, workload: usize, old: &Pod, node: &Node, attached: bool) {
    // A StatefulSet waits until the old pod is gone.
    if stage.cluster.workloads[workload].kind == Kind::StatefulSet {
        return;
    }
    let others: Vec<Node> = stage.cluster.nodes.iter().filter(|other| other.name != node.name).cloned().collect();
    let (telling, part) = (Telling(fault), Part(fault));
    let mut pod = stage.make(at, part, workload, 9);
    pod.claim.clone_from(&old.claim);
    pod.volume.clone_from(&old.volume);
    if others.is_empty() || !attached && stage.chance(0.25) {
        let (all, era) = (stage.cluster.nodes.len(), stage.era);
        let taint = era.taint("node.kubernetes.io/unreachable");
        let text = era
            .no_node(all, &[(1, &taint, "PodToleratesNodeTaints"), (all - 1, "Insufficient cpu", "Insufficient cpu")]);
        for n in 0..3 {
            stage.scheduler(at + 0.2 + f64::from(n) * 70.0, telling, &pod, true, "FailedScheduling", &text);
        }
        return;
    }
    let target = others[(at as usize) % others.len()].name.clone();
    stage.place(at + 0.3, part, workload, &mut pod, &target);
    if !attached {
        stage.start(at + 1.0, part, &pod);
        return;
    }
    let text = format!(
        "Multi-Attach error for volume \"{}\" Volume is already exclusively attached to one node and can't be attached to another",
        pod.volume
    );
    let controller = "attachdetach-controller";
    stage.say(at + 1.5, telling, controller, pod.object(), true, "FailedAttachVolume", &text);
    if stage.era != Era::New {
        let text = match stage.era {
            Era::Old => format!(
                "Unable to mount volumes for pod \"{}_{}({})\": timeout expired waiting for volumes to attach/mount for pod \"{}\"/\"{}\". list of unattached/unmounted volumes=[data]",
                pod.name, pod.namespace, pod.uid, pod.namespace, pod.name
            ),
            _ => "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data kube-api-access-x2x9k]: timed out waiting for the condition".to_owned(),
        };
        stage.pod(at + 124.0, telling, &pod, true, "FailedMount", &text);
        stage.pod(at + 260.0, telling, &pod, true, "FailedMount", &text);
    }
    let text = format!("AttachVolume.Attach succeeded for volume \"{}\" ", pod.volume);
    stage.say(at + 400.0, part, controller, pod.object(), false, "SuccessfulAttachVolume", &text);
    stage.start(at + 404.0, part, &pod);
}

fn recover(stage: &mut Stage, at: f64, fault: usize, node: &Node, pods: &[(usize, Pod)]) {
    let (telling, part) = (Telling(fault), Part(fault));
    stage.kubelet(at, part, node, false, "Starting", "Starting kubelet.");
    let text = format!("Node {} has been rebooted, boot id: 9b1c-{}", node.name, &node.uid[..6]);
    stage.kubelet(at + 1.0, telling, node, true, "Rebooted", &text);
    stage.kubelet(at + 2.0, part, node, false, "NodeReady", &format!("Node {} status is now: NodeReady", node.name));
    for (_, pod) in pods.iter().take(3) {
        stage.pod(
            at + 5.0,
            part,
            pod,
            false,
            "SandboxChanged",
            "Pod sandbox changed, it will be killed and re-created.",
        );
        stage.run(at + 8.0, part, pod);
    }
}

/// A drain that a disruption budget blocks.
pub(super) fn drain_blocked(stage: &mut Stage, at: f64) {
    let node = stage.take_node();
    let pods = stage.cluster.on(&node.name);
    let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
    let pod = stage.cluster.workloads[workload].pods.first().cloned();
    let Some(pod) = pod else { return };
    let budget = format!("{}-pdb", stage.cluster.workloads[workload].name);
    let roots = [("PodDisruptionBudget", pod.namespace.as_str(), budget.as_str()), ("Node", "", node.name.as_str())];
    let fault = stage.fault(Scenario::DrainBlocked, at, true, &roots, &["node.drain_blocked", "rollout.budget"]);
    let (telling, part) = (Telling(fault), Part(fault));
    let about = Object::new("Node", "", &node.name).uid(&node.uid);
    stage.say(
        at,
        part,
        "karpenter",
        about.clone(),
        false,
        "DisruptionTerminating",
        "Disrupting Node: Underutilized/Delete",
    );
    for (workload, other) in pods.into_iter().take(2) {
        stage.say(at + 2.0, part, "karpenter", other.object(), false, "Evicted", "Evicted pod: Underutilized/Delete");
        stage.remove(at + 2.5, part, workload, &other);
    }
    let text = format!(
        "Failed to drain node, evicting pod {}/{}: Cannot evict pod as it would violate the pod's disruption budget.",
        pod.namespace, pod.name
    );
    for n in 0..8 {
        stage.say(at + 10.0 + f64::from(n) * 60.0, telling, "karpenter", about.clone(), true, "FailedDraining", &text);
    }
}

/// A node runs short of memory: pods evicted, replacements without room.
pub(super) fn memory_pressure(stage: &mut Stage, at: f64) {
    let node = stage.take_node();
    let pods = stage.cluster.on(&node.name);
    let mut roots = vec![("Node".to_owned(), String::new(), node.name.clone())];
    // The pod that takes it all counts as a root too.
    if let Some((workload, _)) = pods.first() {
        let hungry = &stage.cluster.workloads[*workload];
        roots.push((hungry.kind.name().to_owned(), hungry.namespace.clone(), hungry.name.clone()));
    }
    let roots: Vec<_> =
        roots.iter().map(|(kind, space, name)| (kind.as_str(), space.as_str(), name.as_str())).collect();
    let classes = ["node.memory_pressure", "node.reclaiming_memory", "node.oom"];
    let fault = stage.fault(Scenario::MemoryPressure, at, true, &roots, &classes);
    let (telling, part) = (Telling(fault), Part(fault));
    if stage.chance(0.3) {
        stage.kubelet(
            at - 2.0,
            telling,
            &node,
            true,
            "SystemOOM",
            "System OOM encountered, victim process: java, pid: 4123",
        );
    }
    stage.kubelet(at, telling, &node, true, "EvictionThresholdMet", "Attempting to reclaim memory");
    let text = format!("Node {} status is now: NodeHasInsufficientMemory", node.name);
    let said = at + stage.between(1.0, 10.0);
    stage.kubelet(said, telling, &node, false, "NodeHasInsufficientMemory", &text);
    let some = 1 + (pods.len() / 2).min(6);
    for (n, (workload, pod)) in pods.iter().take(some).enumerate() {
        let now = at + 5.0 + 12.0 * n as f64;
        let text = match stage.era {
            Era::Old => "The node was low on resource: memory.".to_owned(),
            _ => format!(
                "The node was low on resource: memory. Threshold quantity: 100Mi, available: 78Mi. Container {} was using 1500Mi, request is 200Mi, has larger consumption of memory. ",
                pod.container
            ),
        };
        stage.pod(now, telling, pod, true, "Evicted", &text);
        let stopping = stage.era.stopping(pod);
        stage.container(now + 0.3, part, pod, false, "Killing", &stopping);
        evicted(stage, now + 1.0, fault, *workload, "memory");
    }
    stage.kubelet(
        at + 400.0,
        part,
        &node,
        false,
        "NodeHasSufficientMemory",
        &format!("Node {} status is now: NodeHasSufficientMemory", node.name),
    );
}

/// What a controller does about an evicted pod.
fn evicted(stage: &mut Stage, at: f64, fault: usize, workload: usize, resource: &str) {
    let (telling, part) = (Telling(fault), Part(fault));
    if stage.cluster.workloads[workload].kind == Kind::StatefulSet {
        return;
    }
    let mut pod = stage.make(at, part, workload, 8);
    let all = stage.cluster.nodes.len();
    if stage.chance(0.35) {
        let era = stage.era;
        let taint = era.taint(&format!("node.kubernetes.io/{resource}-pressure"));
        let text = era.no_node(
            all,
            &[(1, &taint, "PodToleratesNodeTaints"), (all - 1, "Insufficient memory", "Insufficient memory")],
        );
        stage.scheduler(at + 0.1, telling, &pod, true, "FailedScheduling", &text);
        stage.scheduler(at + 60.0, telling, &pod, true, "FailedScheduling", &text);
    }
    let target = stage.node().name;
    stage.place(at + 120.0, part, workload, &mut pod, &target);
    stage.start(at + 121.0, part, &pod);
}

/// A node's disk fills up: images cannot be collected, pods evicted, daemons made again and again.
pub(super) fn disk_pressure(stage: &mut Stage, at: f64) {
    let node = stage.take_node();
    let pods = stage.cluster.on(&node.name);
    let classes = ["node.disk_pressure", "node.reclaiming_disk", "node.image_gc_failed"];
    let fault = stage.fault(Scenario::DiskPressure, at, true, &[("Node", "", &node.name)], &classes);
    let (telling, part) = (Telling(fault), Part(fault));
    if stage.chance(0.5) {
        let text = "Failed to garbage collect required amount of images. Attempted to free 4711 bytes, but only found 0 bytes eligible to free.";
        stage.kubelet(at - 30.0, telling, &node, true, "FreeDiskSpaceFailed", text);
    }
    let resource = if stage.era == Era::Old { "nodefs" } else { "ephemeral-storage" };
    let text = format!("Attempting to reclaim {resource}");
    for n in 0..4 {
        stage.kubelet(at + f64::from(n) * 40.0, telling, &node, true, "EvictionThresholdMet", &text);
    }
    let text = format!("Node {} status is now: NodeHasDiskPressure", node.name);
    stage.kubelet(at + 6.0, telling, &node, false, "NodeHasDiskPressure", &text);
    for (n, (workload, pod)) in pods.iter().take(6).enumerate() {
        let now = at + 8.0 + 15.0 * n as f64;
        let text = match stage.era {
            Era::Old => "The node was low on resource: nodefs.".to_owned(),
            _ => "The node was low on resource: ephemeral-storage. Threshold quantity: 3220225Ki, available: 2410Mi. "
                .to_owned(),
        };
        stage.pod(now, telling, pod, true, "Evicted", &text);
        if stage.cluster.workloads[*workload].kind == Kind::DaemonSet {
            let daemon = stage.cluster.workloads[*workload].object();
            let text = format!(
                "Found failed daemon pod {}/{} on node {}, will try to kill it",
                pod.namespace, pod.name, node.name
            );
            stage.say(now + 1.0, telling, "daemonset-controller", daemon, true, "FailedDaemonPod", &text);
        } else {
            evicted(stage, now + 1.0, fault, *workload, "disk");
        }
    }
    stage.kubelet(
        at + 500.0,
        part,
        &node,
        false,
        "NodeHasNoDiskPressure",
        &format!("Node {} status is now: NodeHasNoDiskPressure", node.name),
    );
}

/// The network plugin of a node fails: no sandbox for several workloads there.
pub(super) fn network_plugin(stage: &mut Stage, at: f64) {
    let node = stage.take_node();
    let daemon = stage.system("calico-node");
    let agent = stage.cluster.workloads[daemon].pods.iter().find(|pod| pod.node == node.name).cloned();
    let roots = [("Node", "", node.name.as_str()), ("DaemonSet", "kube-system", "calico-node")];
    let classes = ["network.*", "node.network_unavailable", "node.*", "crash.*"];
    let fault = stage.fault(Scenario::NetworkPlugin, at, true, &roots, &classes);
    let (telling, part) = (Telling(fault), Part(fault));
    if let Some(agent) = agent.filter(|_| stage.chance(0.5)) {
        let text = stage.era.back_off(&agent);
        for n in 0..20 {
            stage.container(at - 40.0 + f64::from(n) * 15.0, telling, &agent, true, "BackOff", &text);
        }
    }
    for n in 0..stage.number(3, 5) {
        let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
        let now = at + n as f64 * stage.between(2.0, 20.0);
        let mut pod = stage.make(now, part, workload, 7);
        stage.place(now + 0.2, part, workload, &mut pod, &node.name);
        for again in 0..stage.number(4, 12) {
            let (text, reason) = if stage.era == Era::Old {
                ("Failed create pod sandbox.".to_owned(), "FailedCreatePodSandBox")
            } else {
                (
                    format!(
                        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"{:x}\": plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized",
                        again * 7919 + 65537
                    ),
                    "FailedCreatePodSandBox",
                )
            };
            stage.pod(now + 2.0 + again as f64 * 13.0, telling, &pod, true, reason, &text);
        }
    }
}
