//! The clusters: who is heard of, how far behind what is shown here is, and what history is missing.

use std::collections::BTreeMap;

use epicenter_model::{FLEET, Gap, GapReason, Timestamp, span};
use maud::{Markup, html};

use super::{Draft, Page, Part, ago, time};
use crate::board::Cluster;
use crate::visit::Visit;

/// An exporter tells of itself every 5 s; one of which nothing was heard for so long is away, ms.
const AWAY: i64 = 60_000;
/// The pipeline is behind when it has not taken what was read so long before, ms.
const BEHIND: i64 = 30_000;

/// The clusters, and how this process fares.
pub(crate) fn clusters(visit: &Visit) -> Page {
    let now = visit.now();
    let (clusters, gaps, mut open) = visit.console.board.look(|held| {
        let mut open: BTreeMap<String, usize> = BTreeMap::new();
        visit.open(held).for_each(|shown| *open.entry(shown.head.cluster.clone()).or_default() += 1);
        let clusters: BTreeMap<_, _> = visit.clusters(held).map(|(name, it)| (name.clone(), it.clone())).collect();
        let gaps: Vec<_> = held.gaps().filter(|gap| visit.access.clusters.hold(&gap.cluster)).cloned().collect();
        (clusters, gaps, open)
    });
    let of_fleet = open.remove(FLEET).unwrap_or_default();
    let body = html! {
        h1 { "Clusters" }
        div #list {
            @if clusters.is_empty() { div.calm { p { "No exporter has been heard of yet." } } }
            @else {
                table.clusters {
                    thead { tr { th { "Cluster" } th { "Health" } th.number { "Open" } th.number { "Read" } th.number { "Behind" } th { "Resources" } } }
                    tbody { @for (name, cluster) in &clusters { (row(name, cluster, open.get(name).copied().unwrap_or_default(), now)) } }
                }
            }
            @if of_fleet > 0 { p { a href="/?cluster=fleet" { (of_fleet) " incidents concern several clusters" } } }
        }
        section #gaps aria-labelledby="gaps-title" {
            h2 #gaps-title { "Missing history" }
            @if gaps.is_empty() { p.faint { "None that is known of: no API server has forgotten what was not read yet." } }
            @else { (table(&gaps)) }
        }
        @if visit.access.sees_all() { (process(visit)) }
    };
    Draft { part: Part::Clusters, title: "Clusters".to_owned(), live: Some("/events".to_owned()), body }.page(visit)
}

/// How this process fares.
fn process(visit: &Visit) -> Markup {
    html! {
        section #process aria-labelledby="process-title" {
            h2 #process-title { "This process" }
            ul.parts {
                @for (part, why) in visit.console.health.report() {
                    li { span class=(if why.is_none() { "state well" } else { "state bad" }) { (if why.is_none() { "well" } else { "not well" }) } " " code { (part) } @if let Some(why) = why { " " (why) } }
                }
            }
        }
    }
}

/// What is to be said of a cluster, and whether it is well.
fn health(cluster: &Cluster, now: Timestamp) -> (&'static str, &'static str) {
    let reached = cluster.reached().unwrap_or_default();
    let behind = cluster.heartbeat.map_or(0, |(at, _)| reached.millis_since(at));
    match cluster.heartbeat {
        _ if cluster.is_gone => ("over", "taken out"),
        _ if now.millis_since(reached) > AWAY => ("bad", "not heard of"),
        Some((_, false)) => ("bad", "a watch is down"),
        None => ("open", "not yet processed"),
        Some(_) if behind > BEHIND => ("bad", "behind"),
        Some(_) => ("well", "well"),
    }
}

fn row(name: &str, cluster: &Cluster, open: usize, now: Timestamp) -> Markup {
    let (class, word) = health(cluster, now);
    let reached = cluster.reached();
    let behind = cluster.heartbeat.zip(reached).map(|((at, _), reached)| span(reached.millis_since(at)));
    let lists = cluster.resources.values().filter(|it| !it.list_key.is_empty()).count();
    let query: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    html! {
        tr {
            td { b { (name) } }
            td { span class={ "state " (class) } { (word) } }
            td.number data-name="Open" { a href={ "/?cluster=" (query) } { (open) } }
            td.number data-name="Read" { @match reached { Some(at) => (ago(at, now)), None => "never" } }
            td.number data-name="Behind" { (behind.unwrap_or_else(|| "unknown".to_owned())) }
            td data-name="Resources" {
                details {
                    summary { (cluster.resources.len()) @if lists > 0 { ", " (lists) " being listed" } }
                    ul { @for (resource, position) in &cluster.resources { li { code { (resource) } " " (ago(position.at, now)) @if position.epoch > 0 { ", restored " (position.epoch) "×" } } } }
                }
            }
        }
    }
}

fn table(gaps: &[Gap]) -> Markup {
    html! {
        table.gaps {
            thead { tr { th { "Cluster" } th { "Resource" } th { "From" } th { "To" } th.number { "Lasted" } th { "Because" } } }
            tbody {
                @for gap in gaps {
                    tr {
                        td { b { (gap.cluster) } }
                        td data-name="Resource" { code { (gap.resource) } }
                        td data-name="From" { (time(gap.from)) }
                        td data-name="To" { (time(gap.to)) }
                        td.number data-name="Lasted" { (span(gap.to.millis_since(gap.from))) }
                        td data-name="Because" { (because(gap.reason)) }
                    }
                }
            }
        }
    }
}

fn because(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Expired => "the API server did not have that history any more",
        GapReason::ClosedEmpty => "the watch closed without a word, as some clouds do instead",
        GapReason::Restored => "etcd was restored from an older snapshot",
        GapReason::Lost => "the log lost its position",
        GapReason::Unknown => "for a reason that this version does not know",
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::WatchPosition;

    use super::*;

    #[test]
    fn says_who_is_away_and_who_is_behind() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let check = |read: i64, heartbeat: Option<(i64, bool)>, expected: &str| {
            let position = WatchPosition { at: at(read), ..WatchPosition::default() };
            let resources = [("events".to_owned(), position)].into();
            let heartbeat = heartbeat.map(|(seconds, healthy)| (at(seconds), healthy));
            let cluster = Cluster { resources, heartbeat, is_gone: false };
            assert_eq!(health(&cluster, at(1_000)).1, expected);
        };
        check(998, Some((995, true)), "well");
        check(900, Some((900, true)), "not heard of");
        check(998, Some((995, false)), "a watch is down");
        check(998, Some((900, true)), "behind");
        check(998, None, "not yet processed");
    }
}
