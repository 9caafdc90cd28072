//! Autoscalers, jobs, certificates.

use super::{Scenario, workload};
use crate::cluster::{Kind, Pod};
use crate::names::{generated, uid};
use crate::stage::{Object, Stage};
use crate::truth::Label::{Part, Telling};
use crate::wording::Era;

/// The metrics server fails, and all autoscalers are blind.
pub(super) fn metrics_server(stage: &mut Stage, at: f64) {
    let server = stage.system("metrics-server");
    let pod = stage.cluster.workloads[server].pods[0].clone();
    let roots = [
        ("Deployment", "kube-system", "metrics-server"),
        ("APIService", "", "v1beta1.metrics.k8s.io"),
        ("Pod", "kube-system", pod.name.as_str()),
    ];
    let classes = ["probe.*", "crash.*", "hpa.metrics_api_down"];
    let fault = stage.fault(Scenario::MetricsServer, at, true, &roots, &classes);
    let (telling, era) = (Telling(fault), stage.era);
    let text = "Readiness probe failed: HTTP probe failed with statuscode: 500";
    for n in 0..12 {
        stage.container(at + f64::from(n) * 10.0, telling, &pod, true, "Unhealthy", text);
    }
    if stage.chance(0.5) {
        let until = at + 500.0;
        workload::looping(stage, at + 30.0, until, fault, &pod);
    }
    let (metric, all) = match era {
        Era::Old => (
            "unable to get metrics for resource cpu: failed to get pod resource metrics: an error on the server (\"service unavailable\") has prevented the request from succeeding (get services http:heapster:)",
            "failed to get cpu utilization: unable to get metrics for resource cpu: failed to get pod resource metrics: an error on the server (\"service unavailable\") has prevented the request from succeeding (get services http:heapster:)",
        ),
        _ => (
            "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server is currently unable to handle the request (get pods.metrics.k8s.io)",
            "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server is currently unable to handle the request (get pods.metrics.k8s.io)",
        ),
    };
    for _ in 0..stage.number(2, 7) {
        let target = stage.workload(|workload| workload.kind == Kind::Deployment);
        let target = stage.cluster.workloads[target].clone();
        let about = Object::new("HorizontalPodAutoscaler", &target.namespace, &target.name).uid(&uid(&mut stage.rng));
        let begins = at + stage.between(15.0, 45.0);
        for n in 0..20 {
            let now = begins + f64::from(n) * 15.0;
            for (reason, message) in [("FailedGetResourceMetric", metric), ("FailedComputeMetricsReplicas", all)] {
                stage.say(now, telling, "horizontal-pod-autoscaler", about.clone(), true, reason, message);
            }
        }
    }
}

/// A job's pods fail until it is given up; often a cron job's, and then its next run too.
pub(super) fn job_fails(stage: &mut Stage, at: f64) {
    let cron = stage.chance(0.6);
    let namespace = stage.cluster.namespaces[0].clone();
    let name = format!("report{}", stage.cluster.workloads.len() + stage.faults.len());
    let number = 29_384_700 + stage.number(0, 90);
    let jobs: Vec<String> = match cron {
        true => (0..2).map(|run| format!("{name}-{}", number + run * 5)).collect(),
        false => vec![name.clone()],
    };
    let mut roots = vec![("CronJob", namespace.as_str(), name.as_str())];
    roots.extend(jobs.iter().map(|job| ("Job", namespace.as_str(), job.as_str())));
    let classes = ["crash.*", "job.*", "container.*", "config.*"];
    // Why a container ends no Event says, but that the job failed is one.
    let fault = stage.fault(Scenario::JobFails, at, true, &roots, &classes);
    let (telling, part) = (Telling(fault), Part(fault));
    let cron_job = Object::new("CronJob", &namespace, &name).uid(&uid(&mut stage.rng));
    for (run, job) in jobs.iter().enumerate() {
        let now = at + run as f64 * 300.0;
        let about = Object::new("Job", &namespace, job).uid(&uid(&mut stage.rng));
        if cron {
            stage.say(
                now,
                part,
                "cronjob-controller",
                cron_job.clone(),
                false,
                "SuccessfulCreate",
                &format!("Created job {job}"),
            );
        }
        for attempt in 0..3 {
            let begins = now + 0.2 + f64::from(attempt) * 40.0;
            let node = stage.node().name;
            let pod = Pod {
                namespace: namespace.clone(),
                name: format!("{job}-{}", generated(&mut stage.rng, 5)),
                uid: uid(&mut stage.rng),
                node: node.clone(),
                container: "main".to_owned(),
                image: "registry.example.com/report:1".to_owned(),
                claim: String::new(),
                volume: String::new(),
            };
            stage.say(
                begins,
                part,
                "job-controller",
                about.clone(),
                false,
                "SuccessfulCreate",
                &format!("Created pod: {}", pod.name),
            );
            let text = match stage.era {
                Era::Old => format!("Successfully assigned {} to {node}", pod.name),
                _ => format!("Successfully assigned {namespace}/{} to {node}", pod.name),
            };
            stage.scheduler(begins + 0.1, part, &pod, false, "Scheduled", &text);
            stage.run(begins + 1.0, part, &pod);
            if attempt == 2 {
                let text = stage.era.back_off(&pod);
                stage.container(begins + 4.0, telling, &pod, true, "BackOff", &text);
                stage.container(begins + 15.0, telling, &pod, true, "BackOff", &text);
            }
        }
        let text = if stage.era == Era::Old {
            "Job has reach the specified backoff limit"
        } else {
            "Job has reached the specified backoff limit"
        };
        stage.say(now + 110.0, telling, "job-controller", about, true, "BackoffLimitExceeded", text);
        if cron {
            let text = match stage.era {
                Era::Old => format!("Saw completed job: {job}"),
                _ => format!("Saw completed job: {job}, condition: Failed"),
            };
            let label = if stage.era == Era::Old { part } else { telling };
            stage.say(now + 111.0, label, "cronjob-controller", cron_job.clone(), false, "SawCompletedJob", &text);
        }
    }
}

/// A certificate is not issued, because its challenge fails.
pub(super) fn certificate(stage: &mut Stage, at: f64) {
    let namespace = stage.cluster.namespaces[0].clone();
    let name = format!("site{}-tls", stage.faults.len());
    let request = format!("{name}-1");
    let order = format!("{request}-{}", stage.number(1_000_000, 99_999_999));
    let challenge = format!("{order}-{}", stage.number(1_000_000, 99_999_999));
    let roots = [
        ("Challenge", namespace.as_str(), challenge.as_str()),
        ("Order", namespace.as_str(), order.as_str()),
        ("Certificate", namespace.as_str(), name.as_str()),
    ];
    let issuer = stage.chance(0.3);
    let roots = if issuer { vec![("ClusterIssuer", "", "letsencrypt")] } else { roots.to_vec() };
    let fault = stage.fault(Scenario::Certificate, at, true, &roots, &["cert.*"]);
    let (telling, part) = (Telling(fault), Part(fault));
    let about = |kind, name: &str, stage: &mut Stage| Object::new(kind, &namespace, name).uid(&uid(&mut stage.rng));
    let certificate = about("Certificate", &name, stage);
    let trigger = "cert-manager-certificates-trigger";
    stage.say(at, part, trigger, certificate.clone(), false, "Issuing", "Issuing certificate as Secret does not exist");
    let text = format!("Created new CertificateRequest resource \"{request}\"");
    stage.say(
        at + 1.0,
        part,
        "cert-manager-certificates-request-manager",
        certificate.clone(),
        false,
        "Requested",
        &text,
    );
    if issuer {
        let issuer = Object::new("ClusterIssuer", "", "letsencrypt").uid(&uid(&mut stage.rng));
        for n in 0..4 {
            stage.say(
                at - 60.0 + f64::from(n) * 60.0,
                telling,
                "cert-manager-clusterissuers",
                issuer.clone(),
                true,
                "ErrInitIssuer",
                "Error initializing issuer: Get \"https://acme.example/directory\": dial tcp: i/o timeout",
            );
        }
        let request = about("CertificateRequest", &request, stage);
        stage.say(
            at + 2.0,
            telling,
            "cert-manager-certificaterequests-issuer-acme",
            request,
            true,
            "IssuerNotReady",
            "Referenced issuer does not have a Ready status condition",
        );
        return;
    }
    let requested = about("CertificateRequest", &request, stage);
    let text = format!("Created Order resource {namespace}/{order}");
    stage.say(
        at + 2.0,
        part,
        "cert-manager-certificaterequests-issuer-acme",
        requested.clone(),
        false,
        "OrderCreated",
        &text,
    );
    let ordered = about("Order", &order, stage);
    let text = format!("Created Challenge resource \"{challenge}\" for domain \"www.example.com\"");
    stage.say(at + 3.0, part, "cert-manager-orders", ordered.clone(), false, "Created", &text);
    let challenged = about("Challenge", &challenge, stage);
    stage.say(
        at + 4.0,
        part,
        "cert-manager-challenges",
        challenged.clone(),
        false,
        "Started",
        "Challenge scheduled for processing",
    );
    for n in 0..5 {
        stage.say(
            at + 6.0 + f64::from(n) * 30.0,
            telling,
            "cert-manager-challenges",
            challenged.clone(),
            true,
            "PresentError",
            "Error presenting challenge: 403 Forbidden",
        );
    }
    stage.say(
        at + 200.0,
        telling,
        "cert-manager-certificaterequests-issuer-acme",
        requested,
        true,
        "OrderFailed",
        "Failed to wait for order resource to become ready: order is in \"errored\" state",
    );
    let text = "The certificate request has failed to complete and will be retried: Failed to wait for order resource to become ready";
    stage.say(at + 201.0, telling, "cert-manager-certificates-issuing", certificate, true, "Failed", text);
}
