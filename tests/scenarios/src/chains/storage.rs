//! Volumes that do not come.

use super::Scenario;
use crate::cluster::Kind;
use crate::names::uid;
use crate::stage::{Object, Stage};
use crate::truth::Label::{Part, Telling};
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
