//! Why a pod cannot be scheduled: reads the histogram of predicates in a FailedScheduling message.
//!
//! `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint {k: v}. preemption: …` since Kubernetes
//! 1.9 (kubernetes/kubernetes `pkg/scheduler/framework/types.go`, `FitError`), and before that `No nodes are available
//! that match all of the predicates: Insufficient cpu (2), PodToleratesNodeTaints (3).` What stands there without a count
//! concerns every node.

use epicenter_model::{Entity, Event};

use crate::class::Classes;
use crate::entry::Meaning;
use crate::source::PredicateSource;
use crate::template;

/// The table of predicates, in tiers. The first tier that a message mentions decides: reasons that lie in the pod itself,
/// then what the cluster lacks, then the pod's own constraints. In a tier the class with most nodes wins, and of equal
/// ones that of the earlier row.
#[derive(Debug)]
pub(crate) struct Predicates {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    tier: usize,
    /// What the text begins with, and, if anything may stand between, what follows later.
    texts: Vec<(String, Option<String>)>,
    meaning: Meaning,
    entity: Option<String>,
}

/// A predicate and the number of nodes that it ruled out.
#[derive(Debug, PartialEq)]
struct Item<'a> {
    nodes: u64,
    text: &'a str,
}

impl Predicates {
    /// Reads the table; `None` when it is empty.
    pub fn parse(tiers: &[Vec<PredicateSource>], classes: &Classes) -> Result<Option<Self>, String> {
        let mut rows = Vec::new();
        for (tier, sources) in tiers.iter().enumerate() {
            for source in sources {
                let split = |text: &String| match text.split_once('*') {
                    Some((start, rest)) => (start.to_owned(), Some(rest.to_owned())),
                    None => (text.clone(), None),
                };
                let meaning = Meaning::of(&source.class, classes)?;
                let texts = source.text.as_slice().iter().map(split).collect();
                rows.push(Row { tier, texts, meaning, entity: source.entity.clone() });
            }
        }
        Ok((!rows.is_empty()).then_some(Self { rows }))
    }

    /// The class that the message's predicates come to; adds the objects that its rows name.
    pub fn dominant(&self, event: &Event, message: &str, entities: &mut Vec<Entity>) -> Option<&Meaning> {
        let mut found: Vec<(&Row, u64)> = Vec::new();
        for item in items(message) {
            let Some((row, named)) = self.rows.iter().find_map(|row| Some((row, row.find(item.text)?))) else {
                continue;
            };
            if let Some(kind) = &row.entity {
                template::add(entities, kind, &event.regarding.namespace, named);
            }
            match found.iter_mut().find(|(known, _)| known.tier == row.tier && known.meaning == row.meaning) {
                Some((_, nodes)) => *nodes = nodes.saturating_add(item.nodes),
                None => found.push((row, item.nodes)),
            }
        }
        let tier = found.iter().map(|(row, _)| row.tier).min()?;
        let most = found.iter().filter(|(row, _)| row.tier == tier).map(|(_, nodes)| *nodes).max()?;
        let tied = |row: &Row| {
            found.iter().any(|(other, nodes)| *nodes == most && other.tier == tier && other.meaning == row.meaning)
        };
        self.rows.iter().find(|row| row.tier == tier && tied(row)).map(|row| &row.meaning)
    }
}

impl Row {
    /// What stands at the `*` if `text` fits; empty when there is no `*`.
    fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.texts.iter().find_map(|(start, later)| {
            let rest = text.strip_prefix(start.as_str())?;
            match later {
                None => Some(""),
                Some(later) => rest.find(later.as_str()).map(|end| &rest[..end]),
            }
        })
    }
}

/// The predicates of a message.
fn items(message: &str) -> Vec<Item<'_>> {
    let (total, body) = match message.split_once(" are available") {
        Some((head, rest)) => {
            (head.rsplit_once('/').and_then(|(_, n)| number(n)), rest.split_once(": ").map_or("", |(_, body)| body))
        }
        None => (None, message),
    };
    let body = body.split_once(" preemption: ").map_or(body, |(filters, _)| filters);
    let everywhere = total.map_or(1, |(nodes, _)| nodes);
    let mut items = Vec::new();
    for sentence in body.split(". ") {
        for (index, piece) in sentence.trim_end_matches('.').split(", ").enumerate() {
            if let Some((nodes, text)) = number(piece) {
                items.push(Item { nodes, text });
            } else if let Some((text, count)) = piece.strip_suffix(')').and_then(|text| text.rsplit_once(" (")) {
                let nodes = number(count).map_or(everywhere, |(nodes, _)| nodes);
                items.push(Item { nodes, text });
            } else if index == 0 {
                items.push(Item { nodes: everywhere, text: piece });
            }
        }
    }
    items
}

/// A number and what follows it after a space.
fn number(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_histogram() {
        let check = |message: &str, expected: &[(u64, &str)]| {
            let expected: Vec<Item<'_>> = expected.iter().map(|(nodes, text)| Item { nodes: *nodes, text }).collect();
            assert_eq!(items(message), expected, "{message}");
        };
        check(
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 No x.",
            &[(1, "Insufficient cpu"), (2, "node(s) were unschedulable")],
        );
        check(
            "0/4 nodes are available: 1 node(s) had taint {a: b}, that the pod didn't tolerate, 3 Insufficient memory.",
            &[(1, "node(s) had taint {a: b}"), (3, "Insufficient memory")],
        );
        check(
            "No nodes are available that match all of the predicates: Insufficient cpu (3), PodToleratesNodeTaints (1).",
            &[(3, "Insufficient cpu"), (1, "PodToleratesNodeTaints")],
        );
        check(
            "0/7 nodes are available: persistentvolumeclaim \"a\" not found.",
            &[(7, "persistentvolumeclaim \"a\" not found")],
        );
        check(
            "pod has unbound PersistentVolumeClaims (repeated 3 times)",
            &[(1, "pod has unbound PersistentVolumeClaims")],
        );
        check("0/0 nodes are available", &[(0, "")]);
        check("", &[(1, "")]);
        check("é/é nodes are available: 99999999999999999999 é, 1 ü", &[(1, "99999999999999999999 é"), (1, "ü")]);
    }
}
