//! Volumes that do not come.

use super::Scenario;
use crate::cluster::{Kind, Pod};
use crate::names::uid;
use crate::stage::{Object, Stage};
use crate::truth::Label::{self, Part, Telling};
use crate::wording::Era;

/// A storage driver is down on a node or everywhere: mounts fail.
pub(super) fn driver_down(stage: &mut Stage, at: f64) {
    let driver = "ebs.csi.aws.com";
    let daemon = stage.system("ebs-csi-node");
    let node = stage.take_node();
    let agent = stage.cluster.workloads[daemon].pods.iter().find(|pod| pod.node == node.name).cloned();
    let roots =
        [("CSIDriver", "", driver), ("Node", "", node.name.as_str()), ("DaemonSet", "kube-system", "ebs-csi-node")];
    let classes = ["volume.driver_missing", "volume.driver_timeout", "volume.*", "crash.*"];
    let fault = stage.fault(Scenario::DriverDown, at, true, &roots, &classes);
    let (telling, part, era) = (Telling(fault), Part(fault), stage.era);
    if let Some(agent) = agent.filter(|_| stage.chance(0.6)) {
        for n in 0..25 {
            stage.container(at - 30.0 + f64::from(n) * 14.0, telling, &agent, true, "BackOff", &era.back_off(&agent));
        }
    }
    for n in 0..stage.number(3, 5) {
        let workload = stage.new_workload(Kind::Deployment, 1, true);
        let now = at + n as f64 * stage.between(5.0, 40.0);
        let mut pod = stage.make(now, part, workload, 5);
        stage.place(now + 0.3, part, workload, &mut pod, &node.name);
        let text = if n % 2 == 0 {
            format!(
                "MountVolume.MountDevice failed for volume \"{}\" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name {driver} not found in the list of registered CSI drivers",
                pod.volume
            )
        } else {
            format!(
                "MountVolume.SetUp failed for volume \"{}\" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name {driver} not found in the list of registered CSI drivers",
                pod.volume
            )
        };
        let (mut then, mut wait) = (now + 2.0, 0.5_f64);
        while then < now + 500.0 {
            stage.pod(then, telling, &pod, true, "FailedMount", &text);
            then += wait;
            wait = (wait * 2.0).min(122.0);
        }
        if era == Era::Middle {
            let text = "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data kube-api-access-7q2vb]: timed out waiting for the condition";
            stage.pod(now + 125.0, telling, &pod, true, "FailedMount", text);
        }
    }
}

/// Traffic grows, workloads of several namespaces get one more pod each, and their volumes cannot be attached to the node in time; without
/// its data each pod fails its probes at first, and is restarted.
pub(super) fn slow_attachments(stage: &mut Stage, at: f64) {
    let driver = "ebs.csi.aws.com";
    let node = stage.cluster.nodes.last().cloned().expect("a cluster has nodes");
    if !stage.cluster.busy.contains(&node.name) {
        stage.cluster.busy.push(node.name.clone());
    }
    let roots = [("CSIDriver", "", driver), ("Node", "", node.name.as_str())];
    let fault = stage.fault(Scenario::SlowAttachments, at, true, &roots, &["volume.driver_timeout"]);
    for (n, name) in ["ledger-db", "orders-db", "search-index"].into_iter().enumerate() {
        let now = at + 20.0 * n as f64;
        let workload = of_name(stage, n, name);
        let found = stage.cluster.workloads[workload].clone();
        let scaler = Object::new("HorizontalPodAutoscaler", &found.namespace, name).uid(&found.set_uid);
        let text = "New size: 2; reason: cpu resource utilization (percentage of request) above target";
        stage.say(now - 30.0, Part(fault), "horizontal-pod-autoscaler", scaler, false, "SuccessfulRescale", text);
        let mut pod = stage.make(now, Part(fault), workload, 1);
        stage.place(now + 0.3, Part(fault), workload, &mut pod, &node.name);
        attach_late(stage, now, fault, driver, &pod);
    }
}

/// The stateful set of this name, the `n`th of them in a namespace of its own, as far as there are so many.
fn of_name(stage: &mut Stage, n: usize, name: &str) -> usize {
    let known = stage.cluster.workloads.iter().position(|workload| workload.name == name);
    known.unwrap_or_else(|| {
        let namespace = stage.cluster.namespaces[n % stage.cluster.namespaces.len()].clone();
        let image = format!("registry.example.com/{name}:1");
        let index = stage.cluster.add(&mut stage.rng, Kind::StatefulSet, &namespace, name, &image, 1, true);
        stage.cluster.workloads[index].taken = true;
        index
    })
}

/// The volume comes after some minutes; then the container starts, is restarted once, and runs.
fn attach_late(stage: &mut Stage, at: f64, fault: usize, driver: &str, pod: &Pod) {
    let (telling, part, era): (Label, Label, Era) = (Telling(fault), Part(fault), stage.era);
    let attach = format!(
        "AttachVolume.Attach failed for volume \"{}\" : timed out waiting for external-attacher of {driver} CSI driver to attach volume vol-0f{}",
        pod.volume, pod.uid
    );
    let mount = format!(
        "MountVolume.MountDevice failed for volume \"{}\" : rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        pod.volume
    );
    let controller = "attachdetach-controller";
    for n in 0..3 {
        stage.say(
            at + 15.0 + f64::from(n) * 120.0,
            telling,
            controller,
            pod.object(),
            true,
            "FailedAttachVolume",
            &attach,
        );
        stage.pod(at + 60.0 + f64::from(n) * 120.0, telling, pod, true, "FailedMount", &mount);
    }
    let text = format!("AttachVolume.Attach succeeded for volume \"{}\"", pod.volume);
    stage.say(at + 420.0, part, controller, pod.object(), false, "SuccessfulAttachVolume", &text);
    let mut runs = stage.start(at + 430.0, part, pod);
    for _ in 0..2 {
        for n in 0..3 {
            let text = "Liveness probe failed: HTTP probe failed with statuscode: 503";
            stage.container(runs + 10.0 + f64::from(n) * 10.0, telling, pod, true, "Unhealthy", text);
        }
        stage.container(runs + 30.2, telling, pod, false, "Killing", &era.unhealthy_killed(pod, "liveness"));
        runs = stage.run(runs + 45.0, part, pod);
    }
}

/// A claim gets no volume: no class of that name, or none at all, or its provisioner fails.
pub(super) fn claim_unbound(stage: &mut Stage, at: f64) {
    let workload = stage.new_workload(Kind::StatefulSet, 0, true);
    let mut pod = stage.cluster.workloads[workload].new_pod(&mut stage.rng, 0);
    let (namespace, claim) = (pod.namespace.clone(), pod.claim.clone());
    let kind = stage.number(0, 3);
    let classes = ["volume.*", "sched.storage_class_missing"];
    let mut roots = vec![("PersistentVolumeClaim", namespace.as_str(), claim.as_str())];
    if kind != 1 {
        roots.push(("StorageClass", "", "fast"));
    }
    let fault = stage.fault(Scenario::ClaimUnbound, at, true, &roots, &classes);
    let (telling, part, era) = (Telling(fault), Part(fault), stage.era);
    pod.uid = uid(&mut stage.rng);
    let found = stage.cluster.workloads[workload].clone();
    let text = format!("create Claim {claim} Pod {} in StatefulSet {} success", pod.name, found.name);
    stage.say(at, part, "statefulset-controller", found.object(), false, "SuccessfulCreate", &text);
    stage.show_pod(at, &found, &pod, None);
    let about = Object::new("PersistentVolumeClaim", &namespace, &claim).uid(&uid(&mut stage.rng));
    let mut now = at + 0.5;
    let until = at + stage.between(300.0, 900.0);
    while now < until {
        let (component, warning, reason, text): (&str, bool, &'static str, &str) = match kind {
            0 => (
                "persistentvolume-controller",
                true,
                "ProvisioningFailed",
                "storageclass.storage.k8s.io \"fast\" not found",
            ),
            1 => (
                "persistentvolume-controller",
                false,
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            ),
            _ => (
                "ebs.csi.aws.com_ebs-csi-controller-0_7f1",
                true,
                "ProvisioningFailed",
                "failed to provision volume with StorageClass \"fast\": rpc error: code = Internal desc = Could not create volume: UnauthorizedOperation",
            ),
        };
        stage.say(now, telling, component, about.clone(), warning, reason, text);
        now += 15.0;
    }
    let all = stage.cluster.nodes.len();
    let text = match era {
        Era::Old => "PersistentVolumeClaim is not bound: \"data\"".replace("data", &claim),
        Era::Middle => format!("0/{all} nodes are available: {all} pod has unbound immediate PersistentVolumeClaims."),
        Era::New => format!(
            "0/{all} nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/{all} nodes are available: {all} Preemption is not helpful for scheduling."
        ),
    };
    for n in 0..5 {
        stage.scheduler(at + 1.0 + f64::from(n) * 75.0, telling, &pod, true, "FailedScheduling", &text);
    }
}
