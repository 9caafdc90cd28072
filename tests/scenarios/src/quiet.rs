//! Planned changes and everyday noise, in which nothing is wrong.

use crate::chains::scaled_up;
use crate::cluster::{Kind, Node, Pod};
use crate::names::{generated, uid};
use crate::stage::{Object, Stage};
use crate::truth::Label::Noise;
use crate::wording::Era;

/// A kind of change that must stay quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Change {
    RollingUpdate,
    Drain,
    NodeUpgrade,
    CronJob,
    Autoscaling,
    ScaleUp,
    Teardown,
    DeletingPod,
    BindConflict,
    KubeletStart,
    Distribution,
    Consolidation,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::RollingUpdate,
        Self::Drain,
        Self::NodeUpgrade,
        Self::CronJob,
        Self::Autoscaling,
        Self::ScaleUp,
        Self::Teardown,
        Self::DeletingPod,
        Self::BindConflict,
        Self::KubeletStart,
        Self::Distribution,
        Self::Consolidation,
    ];
}

pub(crate) fn play(stage: &mut Stage, change: Change, at: f64) {
    match change {
        Change::RollingUpdate => rolling_update(stage, at),
        Change::Drain => drain(stage, at, false),
        Change::NodeUpgrade => drain(stage, at, true),
        Change::CronJob => cron_job(stage, at),
        Change::Autoscaling => autoscaling(stage, at),
        Change::ScaleUp => scaled_up(stage, at),
        Change::Teardown => teardown(stage, at),
        Change::DeletingPod => deleting_pod(stage, at),
        Change::BindConflict => bind_conflict(stage, at),
        Change::KubeletStart => kubelet_start(stage, at),
        Change::Distribution => distribution(stage, at),
        Change::Consolidation => consolidation(stage, at),
    }
}

/// Takes a workload for the time of the change.
fn borrow(stage: &mut Stage, kind: Kind) -> usize {
    let workload = stage.workload(|workload| workload.kind == kind && !workload.pods.is_empty());
    stage.cluster.workloads[workload].taken = false;
    workload
}

/// Q1: each new pod is unready for a while, each old one fails its probe while it stops.
fn rolling_update(stage: &mut Stage, at: f64) {
    let workload = borrow(stage, Kind::Deployment);
    let old = stage.cluster.workloads[workload].pods.clone();
    let old_set = stage.cluster.workloads[workload].set.clone();
    let (mut now, era) = (at, stage.era);
    let mut new = vec![stage.roll_out(now, Noise, workload)];
    let mut made = Vec::new();
    for (index, gone) in old.iter().enumerate() {
        if index > 0 {
            let mut pod = stage.make(now, Noise, workload, index);
            let node = stage.node().name;
            stage.place(now + 0.2, Noise, workload, &mut pod, &node);
            new.push(pod);
        }
        let pod = new[index].clone();
        let runs = stage.start(now + 1.0, Noise, &pod);
        let ready = runs + stage.between(5.0, 35.0);
        let text = format!(
            "Readiness probe failed: Get \"http://10.1.{index}.7:8080/healthz\": dial tcp 10.1.{index}.7:8080: connect: connection refused"
        );
        let mut probed = runs + 5.0;
        while probed < ready {
            stage.container(probed, Noise, &pod, true, "Unhealthy", &text);
            probed += 10.0;
        }
        let object = stage.cluster.workloads[workload].object();
        let left = old.len() - index - 1;
        stage.say(
            ready,
            Noise,
            "deployment-controller",
            object,
            false,
            "ScalingReplicaSet",
            &era.scaled(&old_set, left + 1, left),
        );
        stage.remove(ready + 0.2, Noise, workload, gone);
        if stage.chance(0.4) {
            stage.container(ready + 4.0, Noise, gone, true, "Unhealthy", &text);
        }
        made.push(pod);
        now = ready + 1.0;
    }
    stage.cluster.workloads[workload].pods = made;
}

/// Q2, Q3: a node is cordoned and emptied; for an upgrade it goes and comes back too.
fn drain(stage: &mut Stage, at: f64, upgrade: bool) {
    let node = stage.node();
    let era = stage.era;
    stage.kubelet(
        at,
        Noise,
        &node,
        false,
        "NodeNotSchedulable",
        &format!("Node {} status is now: NodeNotSchedulable", node.name),
    );
    let mut now = at + 3.0;
    for (workload, pod) in stage.cluster.on(&node.name) {
        if stage.cluster.workloads[workload].kind != Kind::Deployment {
            continue;
        }
        stage.container(now, Noise, &pod, false, "Killing", &era.stopping(&pod));
        if stage.chance(0.3) {
            stage.container(
                now + 2.0,
                Noise,
                &pod,
                true,
                "Unhealthy",
                "Readiness probe failed: HTTP probe failed with statuscode: 503",
            );
        }
        let mut again = stage.make(now + 0.3, Noise, workload, 9);
        let others: Vec<Node> = stage.cluster.nodes.iter().filter(|other| other.name != node.name).cloned().collect();
        let target = others.first().map_or(node.name.clone(), |other| other.name.clone());
        stage.place(now + 0.5, Noise, workload, &mut again, &target);
        stage.start(now + 1.0, Noise, &again);
        let found = stage.cluster.workloads[workload].clone();
        stage.show_gone(now + 3.0, &found, &pod);
        let pods = &mut stage.cluster.workloads[workload].pods;
        pods.retain(|known| known.name != pod.name);
        pods.push(again);
        now += 4.0;
    }
    if upgrade {
        let about = Object::new("Node", "", &node.name).uid(&node.uid);
        let down = now + 60.0;
        if stage.chance(0.6) {
            let text = format!("Node {} status is now: NodeNotReady", node.name);
            stage.say(down, Noise, era.node_controller(), about, false, "NodeNotReady", &text);
            for (_, pod) in stage.cluster.on(&node.name) {
                if era != Era::Old {
                    stage.say(
                        down + 0.4,
                        Noise,
                        "node-controller",
                        pod.object(),
                        true,
                        "NodeNotReady",
                        "Node is not ready",
                    );
                }
            }
        }
        restart(stage, down + 70.0, &node, true);
        now = down + 90.0;
    }
    stage.kubelet(
        now + 20.0,
        Noise,
        &node,
        false,
        "NodeSchedulable",
        &format!("Node {} status is now: NodeSchedulable", node.name),
    );
}

/// A kubelet starts.
fn restart(stage: &mut Stage, at: f64, node: &Node, rebooted: bool) {
    stage.kubelet(at, Noise, node, false, "Starting", "Starting kubelet.");
    stage.kubelet(at + 0.2, Noise, node, true, "InvalidDiskCapacity", "invalid capacity 0 on image filesystem");
    for (reason, text) in [
        ("NodeHasSufficientMemory", "NodeHasSufficientMemory"),
        ("NodeHasNoDiskPressure", "NodeHasNoDiskPressure"),
        ("NodeHasSufficientPID", "NodeHasSufficientPID"),
    ] {
        stage.kubelet(at + 0.3, Noise, node, false, reason, &format!("Node {} status is now: {text}", node.name));
    }
    if rebooted {
        stage.kubelet(
            at + 0.5,
            Noise,
            node,
            true,
            "Rebooted",
            &format!("Node {} has been rebooted, boot id: {}", node.name, &node.uid[..8]),
        );
    }
    stage.kubelet(
        at + 0.6,
        Noise,
        node,
        false,
        "NodeAllocatableEnforced",
        "Updated Node Allocatable limit across pods",
    );
    stage.kubelet(at + 10.0, Noise, node, false, "NodeReady", &format!("Node {} status is now: NodeReady", node.name));
    if rebooted {
        for (_, pod) in stage.cluster.on(&node.name) {
            stage.pod(
                at + 12.0,
                Noise,
                &pod,
                false,
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            );
            stage.run(at + 14.0, Noise, &pod);
        }
    }
}

/// Q4: a run of a cron job that does well.
fn cron_job(stage: &mut Stage, at: f64) {
    let (namespace, era) = (stage.cluster.namespaces[0].clone(), stage.era);
    let job = format!("cleanup-{}", 29_000_000 + (at / 60.0) as i64);
    let cron = Object::new("CronJob", &namespace, "cleanup").uid("0b1d5a52-1111-4d5c-9a55-2f3cfa31b001");
    let about = Object::new("Job", &namespace, &job).uid(&uid(&mut stage.rng));
    stage.say(at, Noise, "cronjob-controller", cron.clone(), false, "SuccessfulCreate", &format!("Created job {job}"));
    let pod = Pod {
        namespace: namespace.clone(),
        name: format!("{job}-{}", generated(&mut stage.rng, 5)),
        uid: uid(&mut stage.rng),
        node: stage.node().name,
        container: "main".to_owned(),
        image: "registry.example.com/cleanup:1".to_owned(),
        claim: String::new(),
        volume: String::new(),
    };
    stage.say(
        at + 0.1,
        Noise,
        "job-controller",
        about.clone(),
        false,
        "SuccessfulCreate",
        &format!("Created pod: {}", pod.name),
    );
    stage.scheduler(
        at + 0.2,
        Noise,
        &pod,
        false,
        "Scheduled",
        &format!("Successfully assigned {namespace}/{} to {}", pod.name, pod.node),
    );
    stage.run(at + 1.0, Noise, &pod);
    stage.say(at + 9.0, Noise, "job-controller", about, false, "Completed", "Job completed");
    let text = match era {
        Era::Old => format!("Saw completed job: {job}"),
        _ => format!("Saw completed job: {job}, condition: Complete"),
    };
    stage.say(at + 9.2, Noise, "cronjob-controller", cron, false, "SawCompletedJob", &text);
}

/// Q5: up and down again.
fn autoscaling(stage: &mut Stage, at: f64) {
    let workload = borrow(stage, Kind::Deployment);
    let (found, era) = (stage.cluster.workloads[workload].clone(), stage.era);
    let about = Object::new("HorizontalPodAutoscaler", &found.namespace, &found.name).uid(&uid(&mut stage.rng));
    let component = "horizontal-pod-autoscaler";
    let text = "New size: 4; reason: cpu resource utilization (percentage of request) above target";
    stage.say(at, Noise, component, about.clone(), false, "SuccessfulRescale", text);
    stage.say(
        at + 0.1,
        Noise,
        "deployment-controller",
        found.object(),
        false,
        "ScalingReplicaSet",
        &era.scaled(&found.set, 2, 4),
    );
    let mut made = Vec::new();
    for index in 0..2 {
        let mut pod = stage.make(at + 0.2, Noise, workload, 20 + index);
        let node = stage.node().name;
        stage.place(at + 0.4, Noise, workload, &mut pod, &node);
        let runs = stage.start(at + 1.0, Noise, &pod);
        stage.container(
            runs + 4.0,
            Noise,
            &pod,
            true,
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        );
        made.push(pod);
    }
    // New pods have no metrics yet.
    if stage.chance(0.4) {
        let text = "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)";
        stage.say(at + 16.0, Noise, component, about.clone(), true, "FailedGetResourceMetric", text);
    }
    let text = "New size: 2; reason: All metrics below target";
    stage.say(at + 420.0, Noise, component, about, false, "SuccessfulRescale", text);
    stage.say(
        at + 420.1,
        Noise,
        "deployment-controller",
        found.object(),
        false,
        "ScalingReplicaSet",
        &era.scaled(&found.set, 4, 2),
    );
    for pod in made {
        stage.remove(at + 420.3, Noise, workload, &pod);
    }
}

/// Q7: a namespace goes, and all in it.
fn teardown(stage: &mut Stage, at: f64) {
    let workload = stage.new_workload(Kind::Deployment, 3, false);
    for pod in stage.cluster.workloads[workload].pods.clone() {
        let era = stage.era;
        stage.container(at + 0.5, Noise, &pod, false, "Killing", &era.stopping(&pod));
        stage.container(
            at + 3.0,
            Noise,
            &pod,
            true,
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        );
        if stage.chance(0.3) {
            let text = "MountVolume.SetUp failed for volume \"kube-api-access-9w2xk\" : object \"x\"/\"kube-root-ca.crt\" not registered";
            stage.pod(at + 4.0, Noise, &pod, true, "FailedMount", text);
        }
    }
    let found = stage.cluster.workloads[workload].clone();
    let text = format!(
        "Error creating: pods \"{}-{}\" is forbidden: unable to create new content in namespace {} because it is being terminated",
        found.set,
        generated(&mut stage.rng, 5),
        found.namespace
    );
    for n in 0..4 {
        stage.say(at + 1.0 + f64::from(n), Noise, "replicaset-controller", found.maker(), true, "FailedCreate", &text);
    }
    // It is gone for good.
    stage.cluster.workloads[workload].pods.clear();
}

/// Q8: a pod is deleted before it was placed.
fn deleting_pod(stage: &mut Stage, at: f64) {
    let workload = borrow(stage, Kind::Deployment);
    let pod = stage.make(at, Noise, workload, 30);
    let text = format!("skip schedule deleting pod: {}/{}", pod.namespace, pod.name);
    stage.scheduler(at + 0.4, Noise, &pod, true, "FailedScheduling", &text);
    let found = stage.cluster.workloads[workload].clone();
    stage.show_gone(at + 1.0, &found, &pod);
}

/// Q9: two writers at once.
fn bind_conflict(stage: &mut Stage, at: f64) {
    let workload = borrow(stage, Kind::Deployment);
    let mut pod = stage.make(at, Noise, workload, 31);
    let text = format!(
        "running PreBind plugin \"VolumeBinding\": Operation cannot be fulfilled on persistentvolumeclaims \"{}-data\": the object has been modified; please apply your changes to the latest version and try again",
        pod.name
    );
    stage.scheduler(at + 0.3, Noise, &pod, true, "FailedScheduling", &text);
    let node = stage.node().name;
    stage.place(at + 6.0, Noise, workload, &mut pod, &node);
    stage.start(at + 7.0, Noise, &pod);
    // A claim that waits for its first pod waits for nothing wrong.
    let claim =
        Object::new("PersistentVolumeClaim", &pod.namespace, &format!("{}-data", pod.name)).uid(&uid(&mut stage.rng));
    let text = "waiting for first consumer to be created before binding";
    stage.say(at, Noise, "persistentvolume-controller", claim, false, "WaitForFirstConsumer", text);
}

/// Q10: a kubelet is restarted, and its pods' volumes are set up again.
fn kubelet_start(stage: &mut Stage, at: f64) {
    let node = stage.node();
    restart(stage, at, &node, false);
    for (_, pod) in stage.cluster.on(&node.name).into_iter().take(4) {
        let text = format!(
            "MountVolume.SetUp failed for volume \"kube-api-access-{}\" : object \"{}\"/\"kube-root-ca.crt\" not registered",
            generated(&mut stage.rng, 5),
            pod.namespace
        );
        stage.pod(at + 1.0, Noise, &pod, true, "FailedMount", &text);
    }
}

/// Q11: what distributions write about themselves.
fn distribution(stage: &mut Stage, at: f64) {
    let node = stage.node();
    let about = Object::new("Node", "", &node.name).uid(&node.name);
    let text = "Node and Certificate Authority certificates managed by k3s are OK";
    stage.say(at, Noise, "k3s-cert-monitor", about, false, "CertificateExpirationOK", text);
    let addon = Object::new("Addon", "kube-system", "ccm").uid(&uid(&mut stage.rng));
    let text = "Applying manifest at \"/var/lib/rancher/k3s/server/manifests/ccm.yaml\"";
    stage.say(at + 1.0, Noise, "deploy", addon, false, "ApplyingManifest", text);
}

/// Karpenter moves a pod with a volume: it waits for some seconds, and is well.
fn consolidation(stage: &mut Stage, at: f64) {
    let workload = stage.new_workload(Kind::Deployment, 1, true);
    let pod = stage.cluster.workloads[workload].pods[0].clone();
    let node = stage.cluster.nodes.iter().find(|node| node.name == pod.node).cloned().expect("pods are on nodes");
    let about = Object::new("Node", "", &node.name).uid(&node.uid);
    let era = stage.era;
    stage.say(at, Noise, "karpenter", about, false, "DisruptionTerminating", "Disrupting Node: Underutilized/Delete");
    stage.say(at + 20.0, Noise, "karpenter", pod.object(), false, "Evicted", "Evicted pod: Underutilized/Delete");
    stage.container(at + 20.5, Noise, &pod, false, "Killing", &era.stopping(&pod));
    let mut again = stage.make(at + 21.0, Noise, workload, 1);
    again.volume.clone_from(&pod.volume);
    let target = stage.node().name;
    stage.place(at + 22.0, Noise, workload, &mut again, &target);
    let text =
        format!("Multi-Attach error for volume \"{}\" Volume is already used by pod(s) {}", again.volume, pod.name);
    stage.say(at + 22.1, Noise, "attachdetach-controller", again.object(), true, "FailedAttachVolume", &text);
    let attached = at + 22.0 + stage.between(8.0, 19.0);
    let text = format!("AttachVolume.Attach succeeded for volume \"{}\" ", again.volume);
    stage.say(attached, Noise, "attachdetach-controller", again.object(), false, "SuccessfulAttachVolume", &text);
    stage.start(attached + 3.0, Noise, &again);
    stage.cluster.workloads[workload].taken = false;
    stage.cluster.workloads[workload].pods = vec![again];
}
