//! Workloads and jobs: whether they get where they should.

use epicenter_model::{Condition, ObjectFacts};

use super::{Finding, condition, noted};

/// Reasons of a failed Job that say why (kubernetes/api `batch/v1/types.go`).
const FAILURES: &[&str] =
    &["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedIndexes", "MaxFailedIndexesExceeded"];

pub(super) fn derive(old: Option<&ObjectFacts>, new: &ObjectFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(stuck) = stuck(new)
        && old.and_then(self::stuck).is_none()
    {
        findings.push(noted("ProgressDeadlineExceeded", true, stuck, new));
    }
    let Some(old) = old else { return findings };
    if !old.revision.is_empty() && !new.revision.is_empty() && old.revision != new.revision {
        findings.push(changed("RevisionChanged", format!("Revision {}", new.revision), new));
    }
    if let (Some(wanted), Some(ready)) = (new.replicas, new.ready_replicas)
        && is_full(new)
        && !is_full(old)
    {
        findings.push(changed("Available", format!("{ready} of {wanted} replicas are ready"), new));
    }
    findings
}

pub(super) fn derive_job(old: Option<&ObjectFacts>, new: &ObjectFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let turned = |condition_type: &str| {
        let is = |facts| condition(facts, condition_type).filter(|condition| condition.status == "True");
        is(new).filter(|_| old.is_none_or(|old| is(old).is_none()))
    };
    if let Some(failed) = turned("Failed") {
        let reason = if FAILURES.contains(&failed.reason.as_str()) { &failed.reason } else { "Failed" };
        findings.push(noted(reason, true, failed, new));
    }
    if let Some(complete) = turned("Complete") {
        findings.push(Finding { note: "Job completed".to_owned(), ..noted("Complete", false, complete, new) });
    }
    findings
}

/// The condition of a rollout that makes no progress.
fn stuck(facts: &ObjectFacts) -> Option<&Condition> {
    condition(facts, "Progressing").filter(|it| it.status == "False" && it.reason == "ProgressDeadlineExceeded")
}

/// It has all the replicas that it wants, and wants some.
fn is_full(facts: &ObjectFacts) -> bool {
    matches!((facts.replicas, facts.ready_replicas), (Some(wanted), Some(ready)) if wanted > 0 && ready >= wanted)
}

fn changed(reason: &str, note: String, facts: &ObjectFacts) -> Finding {
    Finding { reason: reason.to_owned(), note, mark: facts.resource_version.clone(), ..Finding::default() }
}
