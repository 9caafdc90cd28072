//! Pods that may not be made.

use super::Scenario;
use crate::cluster::Kind;
use crate::names::generated;
use crate::stage::Stage;
use crate::truth::Label::{Part, Telling};
use crate::wording::Era;

/// A quota, a webhook that is down, or a policy refuses pods.
pub(super) fn refused(stage: &mut Stage, at: f64) {
    let kind = stage.number(0, 3);
    let count = if kind == 1 { stage.number(3, 6) } else { 1 };
    let workloads: Vec<usize> =
        (0..count).map(|_| stage.workload(|workload| workload.kind == Kind::Deployment)).collect();
    let first = stage.cluster.workloads[workloads[0]].clone();
    let webhook = "pods.policy.example.io";
    let (root, classes): ((&str, &str, &str), &[&'static str]) = match kind {
        0 => (("ResourceQuota", &first.namespace, "compute"), &["quota.exceeded"]),
        1 => (("Webhook", "", webhook), &["admission.webhook_down"]),
        _ => {
            (("Deployment", &first.namespace, &first.name), &["security.pod_security", "security.pod_security_policy"])
        }
    };
    let fault = stage.fault(Scenario::Refused, at, true, &[root], classes);
    let (telling, part, era) = (Telling(fault), Part(fault), stage.era);
    for workload in workloads {
        let found = stage.cluster.workloads[workload].clone();
        let now = at + stage.between(0.0, 60.0);
        stage.say(
            now,
            part,
            "deployment-controller",
            found.object(),
            false,
            "ScalingReplicaSet",
            &era.scaled(&found.set, 2, 5),
        );
        let (mut then, mut wait) = (now + 0.1, 0.2_f64);
        while then < now + 600.0 {
            let pod = format!("{}-{}", found.set, generated(&mut stage.rng, 5));
            let text = match (kind, era) {
                (0, _) => format!(
                    "Error creating: pods \"{pod}\" is forbidden: exceeded quota: compute, requested: limits.memory=1Gi, used: limits.memory=4Gi, limited: limits.memory=4Gi"
                ),
                (1, Era::Old) => format!(
                    "Error creating: Internal error occurred: failed calling admission webhook \"{webhook}\": Post https://policy.kube-system.svc:443/mutate?timeout=30s: dial tcp 10.96.7.7:443: getsockopt: connection refused"
                ),
                (1, _) => format!(
                    "Error creating: Internal error occurred: failed calling webhook \"{webhook}\": failed to call webhook: Post \"https://policy.kube-system.svc:443/mutate?timeout=10s\": context deadline exceeded"
                ),
                (_, Era::New) => format!(
                    "Error creating: pods \"{pod}\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"app\" must set securityContext.allowPrivilegeEscalation=false)"
                ),
                _ => format!(
                    "Error creating: pods \"{}-\" is forbidden: unable to validate against any pod security policy: [spec.containers[0].securityContext.privileged: Invalid value: true: Privileged containers are not allowed]",
                    found.set
                ),
            };
            stage.say(then, telling, "replicaset-controller", found.maker(), true, "FailedCreate", &text);
            then += wait;
            wait = (wait * 2.0).min(320.0);
        }
    }
}
