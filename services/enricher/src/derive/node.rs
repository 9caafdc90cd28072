//! Nodes: their conditions, and whether pods may be placed on them.

use epicenter_model::{Condition, ObjectFacts};

use super::{Finding, condition, noted};

/// Condition, reason of the Event when it is bad, and when it is good again (kubernetes/api `core/v1/types.go`,
/// NodeConditionType).
const CONDITIONS: &[(&str, &str, &str)] = &[
    ("Ready", "NodeNotReady", "NodeReady"),
    ("MemoryPressure", "MemoryPressure", "NoMemoryPressure"),
    ("DiskPressure", "DiskPressure", "NoDiskPressure"),
    ("PIDPressure", "PIDPressure", "NoPIDPressure"),
    ("NetworkUnavailable", "NetworkUnavailable", "NetworkAvailable"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Bad,
    /// A node that has lost its kubelet says nothing about pressure.
    Untold,
}

pub(super) fn derive(old: Option<&ObjectFacts>, new: &ObjectFacts, listed: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (condition_type, bad, good) in CONDITIONS {
        let Some(now) = condition(new, condition_type) else { continue };
        let before = old.and_then(|old| condition(old, condition_type)).map(health);
        match (before, health(now)) {
            (None, Health::Bad) if old.is_none() && listed => findings.push(noted(bad, true, now, new)),
            // A node that has just joined is not ready yet: that is no fault.
            (None, _) => {}
            (Some(before), health) if before == health => {}
            (Some(_), Health::Bad) => findings.push(noted(bad, true, now, new)),
            (Some(_), Health::Good) => findings.push(noted(good, false, now, new)),
            (Some(_), Health::Untold) => {}
        }
    }
    findings.extend(cordoned(old, new, listed));
    findings
}

fn health(condition: &Condition) -> Health {
    let is_ready = condition.condition_type == "Ready";
    match condition.status.as_str() {
        "True" if is_ready => Health::Good,
        _ if is_ready => Health::Bad,
        "True" => Health::Bad,
        "False" => Health::Good,
        _ => Health::Untold,
    }
}

fn cordoned(old: Option<&ObjectFacts>, new: &ObjectFacts, listed: bool) -> Option<Finding> {
    let before = old.map_or(!(listed && new.unschedulable), |old| old.unschedulable == new.unschedulable);
    if before {
        return None;
    }
    let (reason, word) = if new.unschedulable { ("Cordoned", "unschedulable") } else { ("Uncordoned", "schedulable") };
    Some(Finding {
        reason: reason.to_owned(),
        note: format!("Node was marked {word}"),
        mark: new.resource_version.clone(),
        ..Finding::default()
    })
}
