//! An incident in words.

use epicenter_model::{Impact, ObjectRef, Timestamp};

use crate::live::{Candidate, Live, Row};
use crate::rank::Ranked;
use crate::rules::Rules;

/// Most sentences.
const SENTENCES: usize = 5;

/// Title and sentences.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub title: String,
    pub sentences: Vec<String>,
}

/// What happened and when, what it explains, what it touches, and what to look at.
pub(crate) fn explain(rules: &Rules, live: &Live, ranked: &[Ranked], impact: &Impact) -> Text {
    let Some(best) = ranked.first() else { return Text::default() };
    let candidate = &live.head.candidates[best.index];
    let row = live.rows.get(&candidate.row);
    let info = rules.classes.get(&candidate.class);
    let common = candidate.common.as_ref().and_then(|id| rules.common.iter().find(|common| *common.rule.id == **id));
    let fill = |template: &str| fill(template, candidate, row, common.is_some());
    let (heart, what, command) = match (common, info) {
        (Some(common), _) => (fill(&common.rule.title), fill(&common.rule.why), fill(&common.rule.kubectl)),
        (None, Some(info)) => (fill(&info.title), fill(&info.explain), fill(&info.kubectl)),
        (None, None) => (format!("{} reports {}", candidate.object, candidate.class), String::new(), String::new()),
    };
    let mut sentences = Vec::with_capacity(SENTENCES);
    let begun = format!("It began at {}", clock(candidate.first));
    let trigger = candidate.trigger.and_then(|number| live.rows.get(&number));
    let begun = match trigger {
        Some(change) => format!("{begun}, {}.", after(change, candidate.first)),
        None => format!("{begun}."),
    };
    sentences.push(if what.is_empty() { begun } else { format!("{what} {begun}") });
    sentences.extend(spread(rules, live, candidate));
    if let Some(reach) = reach(impact) {
        sentences.push(format!("It touches {reach}."));
    }
    let hidden = &rules.class(&candidate.class).hidden;
    if candidate.trigger.is_none() && candidate.common.is_none() && !hidden.is_empty() {
        sentences.push(fill(hidden));
    } else if !best.observed && candidate.common.is_none() {
        sentences.push("The cause does not show in Events: this is the first thing that went wrong.".to_owned());
    }
    if !command.is_empty() {
        sentences.push(format!("Look at: {command}"));
    }
    let title = capital(&heart);
    let title = match scope(candidate, row, impact) {
        Some(scope) => format!("{title}: {scope}"),
        None => title,
    };
    Text { title, sentences }
}

/// What the root leads to, by the rule that was used most.
fn spread(rules: &Rules, live: &Live, candidate: &Candidate) -> Option<String> {
    let used = |id: &str| rules.causal.iter().find(|causal| causal.rule.id == id);
    let effects = live.head.rules.iter().filter_map(|(id, count)| Some((used(id)?, *count)));
    let caused = effects.filter(|(causal, _)| {
        causal.causes.contains(&candidate.class)
            && !(causal.rule.edge == causal.rule.of && causal.rule.edge == crate::edge::Edge::Object)
    });
    let (causal, count) = caused.max_by_key(|(causal, count)| (*count, std::cmp::Reverse(&causal.rule.id)))?;
    let events = if count == 1 { "1 Event".to_owned() } else { format!("{count} Events") };
    Some(format!("{} That explains {events}.", causal.rule.why))
}

/// `12 s after Deployment shop/web was changed`.
fn after(change: &Row, first: Timestamp) -> String {
    let seconds = (first.millis_since(change.last) / 1000).max(0);
    let what = ObjectRef::named(&change.kind, &change.object_namespace, &change.object_name);
    format!("{seconds} s after {what} changed ({}, {})", change.reason, clock(change.last))
}

/// `387 pods of 12 workloads in 3 namespaces, on 1 node`.
fn reach(impact: &Impact) -> Option<String> {
    let mut parts = Vec::new();
    if impact.pods > 0 {
        parts.push(plural(impact.pods, "pod"));
    }
    match (impact.workload_count, impact.workloads.first()) {
        (1, Some(workload)) => parts.push(format!("of {workload}")),
        (0, _) => {}
        (count, _) => parts.push(format!("of {}", plural(count, "workload"))),
    }
    if parts.is_empty() {
        return None;
    }
    if impact.namespaces.len() > 1 {
        parts.push(format!("in {} namespaces", impact.namespaces.len()));
    }
    Some(parts.join(" ").trim_start_matches("of ").to_owned())
}

/// The end of a title: how much is affected, when it is more than the object that the title names.
fn scope(candidate: &Candidate, row: Option<&Row>, impact: &Impact) -> Option<String> {
    let named =
        row.is_some_and(|row| *row.kind == *candidate.object.kind && *row.object_name == *candidate.object.name);
    match (impact.pods, impact.workload_count, impact.workloads.first()) {
        (0, ..) => None,
        (1, 0, _) => None,
        (pods, 0, _) => Some(format!("{} affected", plural(pods, "pod"))),
        (_, 1, Some(workload)) if named && *workload == candidate.object => None,
        (pods, 1, Some(workload)) => Some(format!("{} of {workload} affected", plural(pods, "pod"))),
        (pods, count, _) => Some(format!("{} of {} affected", plural(pods, "pod"), plural(count, "workload"))),
    }
}

pub(crate) fn plural(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `11:02:04 UTC` of an RFC 3339 instant.
pub(crate) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).map_or(text.clone(), |time| format!("{time} UTC"))
}

pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Replaces `{placeholders}` by what is known of the root; what is not known becomes `its` and the name.
fn fill(template: &str, candidate: &Candidate, row: Option<&Row>, common: bool) -> String {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            text.push('{');
            rest = after;
            continue;
        };
        match value(name, candidate, row, common) {
            Some(value) => text.push_str(&value),
            None if name == "namespace" => {
                let kept = text.trim_end_matches("-n ").trim_end().len();
                text.truncate(kept);
            }
            None => {
                // `image {image}` becomes `its image`.
                let doubled = text.len().checked_sub(name.len() + 1).filter(|at| {
                    text.get(*at..)
                        .is_some_and(|end| end[..name.len()].eq_ignore_ascii_case(name) && end.ends_with(' '))
                });
                text.truncate(doubled.unwrap_or(text.len()));
                text.extend(["its ", name]);
            }
        }
        rest = tail;
    }
    text.push_str(rest);
    text
}

fn value(name: &str, candidate: &Candidate, row: Option<&Row>, common: bool) -> Option<String> {
    let object = &candidate.object;
    let found = match (name, row.filter(|_| !common)) {
        ("kind", Some(row)) => row.kind.to_string(),
        ("namespace", Some(row)) => row.object_namespace.to_string(),
        ("name", Some(row)) => row.object_name.to_string(),
        ("kind", None) => object.kind.clone(),
        ("namespace", None) => object.namespace.clone(),
        ("name", None) => object.name.clone(),
        ("container", _) => row?.container.to_string(),
        ("workload", _) => match row?.workload.as_ref() {
            Some(workload) => workload.to_string(),
            None => ObjectRef::named(&row?.kind, &row?.object_namespace, &row?.object_name).to_string(),
        },
        ("node", _) if *row?.kind == *"Node" => row?.object_name.to_string(),
        ("node", _) if !row?.node.is_empty() => row?.node.to_string(),
        (other, _) => {
            let of_kind = |kind: &str| kind.eq_ignore_ascii_case(other);
            match row?.named.iter().find(|(kind, _)| of_kind(kind)) {
                Some((_, name)) => name.to_string(),
                None if of_kind(&object.kind) => object.name.clone(),
                None => String::new(),
            }
        }
    };
    (!found.is_empty()).then_some(found)
}
