//! Pods: how their containers ended, what they wait for, whether they are ready.

use epicenter_model::{ContainerFacts, ObjectFacts, Timestamp};

use super::{Finding, condition, mark, noted};

/// Reasons for which a container waits in vain (kubernetes/kubernetes `pkg/kubelet/container/sync_result.go`,
/// `pkg/kubelet/images/types.go`). Others (`ContainerCreating`, `PodInitializing`) are steps of a normal start.
const STUCK: &[&[&str]] = &[
    &["CrashLoopBackOff"],
    // An image that cannot be pulled alternates between the two.
    &["ErrImagePull", "ImagePullBackOff"],
    &["ErrImageNeverPull"],
    &["InvalidImageName"],
    &["ImageInspectError"],
    &["CreateContainerConfigError"],
    &["CreateContainerError"],
    &["RunContainerError"],
    &["PostStartHookError"],
];

/// Reasons for an end that tell more than that there was one.
const TELLING: &[&str] = &["OOMKilled", "Error", "StartError", "ContainerCannotRun"];

pub(super) fn derive(old: Option<&ObjectFacts>, new: &ObjectFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut newest_end = None;
    for container in &new.containers {
        let before = old.and_then(|old| old.containers.iter().find(|before| before.name == container.name));
        let end = ended(before, container, new);
        newest_end = newest_end.max(end.as_ref().and_then(|end| end.occurred));
        findings.extend(end);
        findings.extend(stuck(before, container));
    }
    findings.extend(failed(old, new));
    findings.extend(ready(old, new, newest_end));
    findings
}

fn ended(old: Option<&ContainerFacts>, new: &ContainerFacts, pod: &ObjectFacts) -> Option<Finding> {
    let killed = new.terminated == "OOMKilled";
    // A container of a pod that is being deleted is stopped, however it exits.
    if !killed && (pod.deleting_at.is_some() || new.exit_code.is_none_or(|code| code == 0)) {
        return None;
    }
    let end = |container: &ContainerFacts| (container.finished_at, container.terminated.clone(), container.exit_code);
    let again = |old: &ContainerFacts| new.finished_at.is_none() && old.restarts < new.restarts;
    if old.is_some_and(|old| end(old) == end(new) && !again(old)) {
        return None;
    }
    let code = new.exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    let name = &new.name;
    let note = match new.terminated.as_str() {
        "OOMKilled" => format!("Container {name} was killed: out of memory (exit code {code})"),
        "" => format!("Container {name} ended with exit code {code}"),
        reason => format!("Container {name} ended with exit code {code} ({reason})"),
    };
    // Nothing restarts it: its own log is the record.
    let note = if !killed && pod.phase == "Failed" { note + "; the pod has failed" } else { note };
    let reason = if TELLING.contains(&new.terminated.as_str()) { &new.terminated } else { "ContainerExited" };
    let mark = new.finished_at.map_or_else(|| format!("r{}", new.restarts), |at| at.as_micros().to_string());
    Some(Finding {
        reason: reason.to_owned(),
        note,
        warning: true,
        container: name.clone(),
        occurred: new.finished_at,
        mark,
    })
}

fn stuck(old: Option<&ContainerFacts>, new: &ContainerFacts) -> Option<Finding> {
    let group = STUCK.iter().find(|group| group.contains(&new.waiting.as_str()))?;
    if old.is_some_and(|old| group.contains(&old.waiting.as_str())) {
        return None;
    }
    let note = if new.waiting_message.is_empty() { &new.waiting } else { &new.waiting_message };
    Some(Finding {
        reason: new.waiting.clone(),
        note: note.clone(),
        warning: true,
        container: new.name.clone(),
        occurred: None,
        mark: format!("r{}", new.restarts),
    })
}

/// The kubelet or a controller gave the pod up. The reason stands in its status, the text in the condition that says so
/// (kubernetes/enhancements KEP-3329).
fn failed(old: Option<&ObjectFacts>, new: &ObjectFacts) -> Option<Finding> {
    let is_failed = |facts: &ObjectFacts| facts.phase == "Failed";
    if !is_failed(new) || new.reason.is_empty() || old.is_some_and(is_failed) {
        return None;
    }
    let disrupted = condition(new, "DisruptionTarget").filter(|condition| condition.status == "True");
    let note = disrupted.map(|condition| condition.message.clone()).filter(|message| !message.is_empty());
    let since = disrupted.and_then(|condition| condition.since);
    Some(Finding {
        reason: new.reason.clone(),
        note: note.unwrap_or_else(|| format!("Pod failed: {}", new.reason)),
        warning: true,
        container: String::new(),
        occurred: since,
        mark: mark(since, new),
    })
}

/// It became ready; or it is ready since an end of a container that is told only now, as of a pod that was not known.
fn ready(old: Option<&ObjectFacts>, new: &ObjectFacts, newest_end: Option<Timestamp>) -> Option<Finding> {
    let now = condition(new, "Ready").filter(|condition| condition.status == "True")?;
    let was_not = old.and_then(|old| condition(old, "Ready")).is_some_and(|before| before.status != "True");
    let again = newest_end.zip(now.since).is_some_and(|(end, since)| since >= end);
    (was_not || again).then(|| Finding { note: "Pod is ready".to_owned(), ..noted("Ready", false, now, new) })
}
