//! Containers that fail.

use super::Scenario;
use crate::cluster::{Kind, Pod, Workload};
use crate::objects::oom_killed;
use crate::plan::time;
use crate::stage::Stage;
use crate::truth::Label::{Part, Telling};
use crate::wording::Era;

/// A container that ends by itself, and is started again ever more slowly.
pub(super) fn looping(stage: &mut Stage, at: f64, until: f64, fault: usize, pod: &Pod) {
    let (mut started, mut wait) = (at, 10.0_f64);
    let era = stage.era;
    while started < until {
        let image = if era == Era::New {
            format!("Container image \"{}\" already present on machine and can be accessed by the pod", pod.image)
        } else {
            format!("Container image \"{}\" already present on machine", pod.image)
        };
        stage.container(started, Part(fault), pod, false, "Pulled", &image);
        let runs = stage.run(started, Part(fault), pod);
        let ended = runs + stage.between(1.0, 4.0);
        let mut waited = 0.5;
        while waited < wait {
            stage.container(ended + waited, Telling(fault), pod, true, "BackOff", &era.back_off(pod));
            if era == Era::Old {
                stage.pod(ended + waited, Telling(fault), pod, true, "FailedSync", "Error syncing pod");
            }
            waited += stage.between(10.0, 15.0);
        }
        started = ended + wait;
        wait = (wait * 2.0).min(300.0);
    }
}

fn named(workload: &Workload) -> (String, String, &'static str) {
    (workload.namespace.clone(), workload.name.clone(), workload.kind.name())
}

/// A rollout of what does not run.
pub(super) fn crash_after_rollout(stage: &mut Stage, at: f64) {
    let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
    let (namespace, name, kind) = named(&stage.cluster.workloads[workload]);
    let classes = ["crash.*", "container.*", "rollout.*"];
    let fault = stage.fault(Scenario::CrashAfterRollout, at, true, &[(kind, &namespace, &name)], &classes);
    let pod = stage.roll_out(at, Part(fault), workload);
    let until = at + stage.between(300.0, 900.0);
    if stage.chance(0.35) {
        let text = match stage.era {
            Era::Old => {
                "Error: failed to start container \"app\": Error response from daemon: oci runtime error: container_linux.go:247: starting container process caused \"exec: \\\"wge\\\": executable file not found in $PATH\""
            }
            _ => {
                "Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"wge\": executable file not found in $PATH: unknown"
            }
        };
        let (mut now, era) = (at + 3.0, stage.era);
        while now < until {
            stage.container(now, Telling(fault), &pod, true, "Failed", text);
            for n in 0..3 {
                stage.container(
                    now + 2.0 + f64::from(n) * 12.0,
                    Telling(fault),
                    &pod,
                    true,
                    "BackOff",
                    &era.back_off(&pod),
                );
            }
            now += 60.0;
        }
    } else {
        let runs = stage.start(at + 1.0, Part(fault), &pod);
        looping(stage, runs + 5.0, until, fault, &pod);
    }
}

/// A container that is killed for want of memory: Events show only that it is started again and again.
pub(super) fn out_of_memory(stage: &mut Stage, at: f64) {
    let workload = stage.workload(|workload| !workload.pods.is_empty());
    let (namespace, name, kind) = named(&stage.cluster.workloads[workload]);
    let observable = stage.objects;
    let classes = if observable { ["crash.oom_killed", "crash.oom_killed"] } else { ["crash.back_off", "crash.exit"] };
    let fault = stage.fault(Scenario::OutOfMemory, at, observable, &[(kind, &namespace, &name)], &classes);
    let found = stage.cluster.workloads[workload].clone();
    for (index, pod) in found.pods.iter().take(2).enumerate() {
        let now = at + index as f64 * stage.between(5.0, 60.0);
        for restart in 1..4 {
            let killed = now + f64::from(restart) * 30.0;
            let status = oom_killed(&pod.container, restart as usize, &time(killed));
            stage.show_pod(killed, &found, pod, Some(status));
        }
        let until = at + stage.between(400.0, 900.0);
        looping(stage, now + 10.0, until, fault, pod);
    }
}

/// A probe fails until the kubelet kills the container, again and again.
pub(super) fn liveness(stage: &mut Stage, at: f64) {
    let workload = stage.workload(|workload| !workload.pods.is_empty());
    let (namespace, name, kind) = named(&stage.cluster.workloads[workload]);
    // Why it fails no Event says, unless it follows a rollout.
    let rolled_out = kind == "Deployment" && stage.chance(0.5);
    let classes = ["probe.*", "rollout.*", "crash.*"];
    let fault = stage.fault(Scenario::Liveness, at, rolled_out, &[(kind, &namespace, &name)], &classes);
    let pod = if rolled_out {
        let pod = stage.roll_out(at, Part(fault), workload);
        stage.start(at + 1.0, Part(fault), &pod);
        pod
    } else {
        stage.cluster.workloads[workload].pods[0].clone()
    };
    let era = stage.era;
    let text = "Liveness probe failed: HTTP probe failed with statuscode: 503";
    let mut now = at + 25.0;
    for _ in 0..stage.number(3, 6) {
        for n in 0..3 {
            stage.container(now + f64::from(n) * 10.0, Telling(fault), &pod, true, "Unhealthy", text);
        }
        stage.container(now + 20.2, Telling(fault), &pod, false, "Killing", &era.unhealthy_killed(&pod, "liveness"));
        stage.run(now + 50.0, Part(fault), &pod);
        now += 85.0;
    }
    for n in 0..4 {
        stage.container(now + f64::from(n) * 14.0, Telling(fault), &pod, true, "BackOff", &era.back_off(&pod));
    }
}

/// A Secret, ConfigMap or key that pods need does not exist.
pub(super) fn missing_reference(stage: &mut Stage, at: f64) {
    let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
    let (namespace, name, kind) = named(&stage.cluster.workloads[workload]);
    let secret = stage.chance(0.5);
    let (what, called) = if secret { ("Secret", "secret") } else { ("ConfigMap", "configmap") };
    let object = format!("{name}-{}", if secret { "tls" } else { "config" });
    let mut roots = vec![(what, namespace.as_str(), object.as_str())];
    let by_volume = stage.chance(0.5);
    let key = !by_volume && stage.chance(0.3);
    if key {
        roots.push((kind, &namespace, &name));
    }
    let classes = ["config.secret_missing", "config.configmap_missing", "config.key_missing"];
    let fault = stage.fault(Scenario::MissingReference, at, true, &roots, &classes);
    let pod = stage.roll_out(at, Part(fault), workload);
    let era = stage.era;
    let until = at + stage.between(200.0, 700.0);
    if by_volume {
        let text = match era {
            Era::Old => format!("MountVolume.SetUp failed for volume \"files\" : {called}s \"{object}\" not found"),
            _ => format!("MountVolume.SetUp failed for volume \"files\" : {called} \"{object}\" not found"),
        };
        let (mut now, mut wait) = (at + 1.0, 0.5_f64);
        while now < until {
            stage.pod(now, Telling(fault), &pod, true, "FailedMount", &text);
            now += wait;
            wait = (wait * 2.0).min(122.0);
        }
        if era != Era::New {
            let text = match era {
                Era::Old => format!(
                    "Unable to mount volumes for pod \"{}_{namespace}({})\": timeout expired waiting for volumes to attach/mount for pod \"{namespace}\"/\"{}\". list of unattached/unmounted volumes=[files]",
                    pod.name, pod.uid, pod.name
                ),
                _ => "Unable to attach or mount volumes: unmounted volumes=[files], unattached volumes=[kube-api-access-8x4zq files]: timed out waiting for the condition".to_owned(),
            };
            stage.pod(at + 124.0, Telling(fault), &pod, true, "FailedMount", &text);
        }
        return;
    }
    let text = match (key, era) {
        (true, _) => format!("Error: couldn't find key password in {what} {namespace}/{object}"),
        (false, Era::Old) => format!("Error: {called}s \"{object}\" not found"),
        (false, _) => format!("Error: {called} \"{object}\" not found"),
    };
    let mut now = at + 2.0;
    while now < until {
        let image = format!("Container image \"{}\" already present on machine", pod.image);
        stage.container(now, Part(fault), &pod, false, "Pulled", &image);
        stage.container(now + 0.2, Telling(fault), &pod, true, "Failed", &text);
        if era == Era::Old {
            stage.pod(now + 0.3, Telling(fault), &pod, true, "FailedSync", "Error syncing pod");
        }
        now += stage.between(11.0, 15.0);
    }
}
