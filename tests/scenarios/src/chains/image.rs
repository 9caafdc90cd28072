//! Images that cannot be pulled.

use super::Scenario;
use crate::cluster::{Kind, Pod};
use crate::names::generated;
use crate::stage::Stage;
use crate::truth::Label::{Part, Telling};

/// The registry does not answer: every pull from it fails, of whatever workload.
pub(super) fn registry_outage(stage: &mut Stage, at: f64) {
    let host = format!("registry-{}.corp.example", generated(&mut stage.rng, 3));
    let classes =
        ["image.pull.dns", "image.pull.network", "image.pull.unavailable", "image.pull.tls", "image.pull.rate_limit"];
    let fault = stage.fault(Scenario::RegistryOutage, at, true, &[("Registry", "", &host)], &classes);
    let kind = stage.number(0, 4);
    for _ in 0..stage.number(3, 7) {
        let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
        let name = stage.cluster.workloads[workload].name.clone();
        stage.cluster.workloads[workload].image = format!("{host}/team/{name}:2.4");
        let now = at + stage.between(0.0, 240.0);
        // Some are rolled out, others replace a pod.
        let pod = if stage.chance(0.4) {
            stage.roll_out(now, Part(fault), workload)
        } else {
            let mut pod = stage.make(now, Part(fault), workload, 6);
            let node = stage.node().name;
            stage.place(now + 0.2, Part(fault), workload, &mut pod, &node);
            pod
        };
        let error = match kind {
            0 => format!(
                "rpc error: code = Unknown desc = failed to pull and unpack image \"{}\": failed to resolve reference: failed to do request: Head \"https://{host}/v2/team/{name}/manifests/2.4\": dial tcp: lookup {host} on 10.0.0.10:53: no such host",
                pod.image
            ),
            1 => format!(
                "rpc error: code = Unknown desc = failed to do request: Head \"https://{host}/v2/team/{name}/manifests/2.4\": dial tcp 10.4.4.4:443: i/o timeout"
            ),
            2 => format!(
                "rpc error: code = Unknown desc = unexpected status from HEAD request to https://{host}/v2/team/{name}/manifests/2.4: 503 Service Unavailable"
            ),
            _ => format!(
                "rpc error: code = Unknown desc = Error response from daemon: Get https://{host}/v2/: dial tcp 10.4.4.4:443: connect: connection refused"
            ),
        };
        let until = at + stage.between(400.0, 700.0);
        failing(stage, now + 1.0, until, fault, &pod, &error);
    }
}

/// One workload's image does not exist, or may not be pulled.
pub(super) fn bad_image(stage: &mut Stage, at: f64) {
    let workload = stage.workload(|workload| workload.kind == Kind::Deployment);
    let found = &stage.cluster.workloads[workload];
    let (namespace, name) = (found.namespace.clone(), found.name.clone());
    let image =
        found.image.rsplit_once(':').map_or_else(|| found.image.clone(), |(image, _)| format!("{image}:9.9-rc1"));
    let without_secret = stage.chance(0.25);
    let roots = if without_secret {
        vec![("Secret", namespace.as_str(), "regcred"), ("Deployment", namespace.as_str(), name.as_str())]
    } else {
        vec![("Deployment", namespace.as_str(), name.as_str())]
    };
    let fault = stage.fault(Scenario::BadImage, at, true, &roots, &["image.*"]);
    stage.cluster.workloads[workload].image = image.clone();
    let pod = stage.roll_out(at, Part(fault), workload);
    let error = if without_secret {
        format!(
            "rpc error: code = Unknown desc = failed to pull and unpack image \"{image}\": failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized"
        )
    } else {
        match stage.number(0, 3) {
            0 => format!(
                "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve image: {image}: not found"
            ),
            1 => format!("rpc error: code = Unknown desc = Error response from daemon: manifest for {image} not found"),
            _ => "rpc error: code = Unknown desc = Error response from daemon: manifest unknown: manifest unknown"
                .to_owned(),
        }
    };
    if without_secret {
        let text =
            "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.";
        for n in 0..4 {
            stage.pod(
                at + 1.0 + f64::from(n) * 60.0,
                Telling(fault),
                &pod,
                true,
                "FailedToRetrieveImagePullSecret",
                text,
            );
        }
    }
    let until = at + stage.between(300.0, 900.0);
    failing(stage, at + 1.0, until, fault, &pod, &error);
}

/// Pulls that fail, ever more slowly tried again.
fn failing(stage: &mut Stage, at: f64, until: f64, fault: usize, pod: &Pod, error: &str) {
    let (telling, part, era) = (Telling(fault), Part(fault), stage.era);
    let (mut now, mut wait) = (at, 10.0_f64);
    while now < until {
        let took = stage.between(0.3, 10.0);
        stage.container(now, part, pod, false, "Pulling", &era.pulling(&pod.image));
        stage.container(
            now + took,
            telling,
            pod,
            true,
            "Failed",
            &format!("Failed to pull image \"{}\": {error}", pod.image),
        );
        stage.container(now + took, telling, pod, true, "Failed", "Error: ErrImagePull");
        if era == crate::Era::Old {
            stage.pod(now + took, telling, pod, true, "FailedSync", "Error syncing pod");
        }
        let mut waited = 1.0;
        while waited < wait {
            let at = now + took + waited;
            stage.container(at, telling, pod, false, "BackOff", &format!("Back-off pulling image \"{}\"", pod.image));
            stage.container(at, telling, pod, true, "Failed", "Error: ImagePullBackOff");
            waited += 13.0;
        }
        now += took + wait;
        wait = (wait * 2.0).min(300.0);
    }
}
