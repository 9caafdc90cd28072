//! The list of incidents.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_bus::topics::INCIDENTS;
use epicenter_model::{Category, FLEET, Incident, Severity, Timestamp, span, thousands};
use maud::{Markup, html};

use super::{Draft, Page, Part, ago, count, incident_address, severity, state};
use crate::board::{Held, Shown, ended_at};
use crate::filter::{Filter, PAGE};
use crate::visit::Visit;

/// Names that a list of suggestions has at most.
const NAMES: usize = 200;

/// What one look at the board gives.
struct Look {
    rows: Vec<Incident>,
    found: usize,
    by_severity: BTreeMap<Severity, usize>,
    clusters: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    classes: BTreeSet<String>,
    is_read: bool,
}

/// The incidents that `filter` asks for.
pub(crate) fn incidents(visit: &Visit, filter: &Filter) -> Page {
    let now = visit.now();
    let look = visit.console.board.look(|held| look(visit, held, filter));
    let title = if filter.ended { "Incidents that are over" } else { "Open incidents" };
    let pages = look.found.div_ceil(PAGE).max(1);
    let body = html! {
        h1 { (title) }
        @if !look.is_read { p.notice role="status" { "Reading the incidents from the log; there may be more in a moment." } }
        div #counts { (counts(filter, &look.by_severity)) }
        (form(filter, &look))
        div #list {
            @if look.rows.is_empty() { (nothing(filter)) } @else { (table(&look.rows, now)) }
            @if pages > 1 { (pager(filter, pages, look.found)) }
        }
    };
    Draft { part: Part::Incidents, title: title.to_owned(), live: Some("/events".to_owned()), body }.page(visit)
}

fn look(visit: &Visit, held: &Held, filter: &Filter) -> Look {
    let own = &visit.access.namespaces;
    let mut look = Look {
        rows: Vec::new(),
        found: 0,
        by_severity: BTreeMap::new(),
        clusters: visit.clusters(held).map(|(name, _)| name.clone()).collect(),
        namespaces: BTreeSet::new(),
        classes: BTreeSet::new(),
        is_read: held.has_read(INCIDENTS.name),
    };
    let all: Box<dyn Iterator<Item = &Shown>> =
        if filter.ended { Box::new(visit.ended(held)) } else { Box::new(visit.open(held)) };
    for shown in all {
        let head = &shown.head;
        if !look.clusters.contains(&head.cluster) {
            look.clusters.insert(head.cluster.clone());
        }
        for namespace in head.impact.namespaces.iter().filter(|namespace| own.hold(namespace)) {
            if look.namespaces.len() < NAMES && !look.namespaces.contains(namespace) {
                look.namespaces.insert(namespace.clone());
            }
        }
        if look.classes.len() < NAMES && !look.classes.contains(&head.cause.class) {
            look.classes.insert(head.cause.class.clone());
        }
        let asks_of_others = !filter.namespace.is_empty() && !own.hold(&filter.namespace);
        if asks_of_others || !filter.fits_but_severity(shown) {
            continue;
        }
        *look.by_severity.entry(head.severity).or_default() += 1;
        if filter.severity.is_none_or(|severity| head.severity == severity) {
            if look.found / PAGE == filter.page {
                look.rows.extend(visit.access.show(head.clone()));
            }
            look.found += 1;
        }
    }
    look
}

/// How many there are of each severity, each a link to those.
fn counts(filter: &Filter, by_severity: &BTreeMap<Severity, usize>) -> Markup {
    let total: usize = by_severity.values().sum();
    let link = |severity: Option<Severity>| Filter { severity, page: 0, ..filter.clone() }.address();
    html! {
        ul.counts aria-label="By severity" {
            li { a href=(link(None)) aria-current=[filter.severity.is_none().then_some("true")] { b { (thousands(total as i64)) } " all" } }
            @for severity in Severity::ALL.iter().rev() {
                @let number = by_severity.get(severity).copied().unwrap_or_default();
                @let class = format!("of {}{}", severity.name(), if number == 0 { " none" } else { "" });
                li {
                    a class=(class) href=(link(Some(*severity)))
                        aria-current=[(filter.severity == Some(*severity)).then_some("true")] {
                        b { (thousands(number as i64)) } " " (severity.name())
                    }
                }
            }
        }
    }
}

fn form(filter: &Filter, look: &Look) -> Markup {
    let names = |id: &str, names: &BTreeSet<String>| {
        html! { datalist id=(id) { @for name in names { option value=(name) {} } } }
    };
    html! {
        form.filter method="get" action="/" role="search" aria-label="Filter incidents" {
            @if let Some(severity) = filter.severity { input type="hidden" name="severity" value=(severity.name()); }
            label.wide { "Text" input type="search" name="text" value=(filter.text) placeholder="title, id, object"; }
            label { "Cluster" input name="cluster" list="clusters" value=(filter.cluster); }
            label { "Namespace" input name="namespace" list="namespaces" value=(filter.namespace); }
            label { "Category"
                select name="category" {
                    option value="" { "any" }
                    @for category in Category::ALL {
                        option value=(category.name()) selected[filter.category == Some(*category)] { (category.name()) }
                    }
                }
            }
            label { "Class" input name="class" list="classes" value=(filter.class) placeholder="node.*"; }
            label { "State"
                select name="state" {
                    option value="" { "open" }
                    option value="ended" selected[filter.ended] { "over" }
                }
            }
            div.buttons {
                button.main { "Filter" }
                @if filter.asks() { a.button href=(Filter { ended: filter.ended, ..Filter::default() }.address()) { "Clear" } }
            }
            (names("clusters", &look.clusters)) (names("namespaces", &look.namespaces)) (names("classes", &look.classes))
        }
    }
}

fn nothing(filter: &Filter) -> Markup {
    html! {
        div.calm {
            @if filter.asks() {
                p { "No incident fits. " a href="/" { "Show all that are open" } "." }
            } @else if filter.ended {
                p { "No incident is over yet." }
            } @else {
                p.big { "Nothing is wrong." }
                p { "No incident is open. " a href="/?state=ended" { "Those that are over" } "." }
            }
        }
    }
}

fn table(rows: &[Incident], now: Timestamp) -> Markup {
    html! {
        table.incidents {
            thead { tr { th { "Severity" } th { "Incident" } th { "State" } th.number { "Opened" } th.number { "Lasted" } th { "Touches" } th.number { "Events" } } }
            tbody { @for incident in rows { (row(incident, now)) } }
        }
    }
}

/// An incident in a table.
pub(super) fn row(incident: &Incident, now: Timestamp) -> Markup {
    let impact = &incident.impact;
    let touches = [count(impact.pods, "pod"), count(impact.workload_count, "workload"), count(impact.nodes, "node")];
    let touches: Vec<String> = touches.into_iter().flatten().collect();
    let namespaces = impact.namespaces.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = impact.namespaces.len().saturating_sub(3);
    let is_open = incident.state == epicenter_model::IncidentState::Open;
    let until = if is_open { now } else { ended_at(incident) };
    html! {
        tr class=(incident.severity.name()) {
            td.pill { (severity(incident.severity)) }
            td.what {
                a.title href=(incident_address(&incident.id)) { (incident.title) }
                div.sub {
                    span { @if incident.cluster == FLEET { "all clusters" } @else { (incident.cluster) } }
                    @if !namespaces.is_empty() { span { (namespaces) @if more > 0 { " +" (more) } } }
                    code { (incident.cause.class) }
                    @if incident.recurrence.count > 0 { span.again title="It was there before" { "↻ " (incident.recurrence.count) "×" } }
                    @if let Some(by) = &incident.acknowledged { span { "taken by " (by.by) } }
                }
            }
            td { (state(incident)) }
            td.number data-name="Opened" { (ago(incident.opened_at, now)) }
            td.number data-name="Lasted" { (span(until.millis_since(incident.opened_at))) }
            td data-name="Touches" { (touches.join(", ")) }
            td.number data-name="Events" { (thousands(incident.events.occurrences)) }
        }
    }
}

fn pager(filter: &Filter, pages: usize, found: usize) -> Markup {
    let to = |page: usize| Filter { page, ..filter.clone() }.address();
    html! {
        nav.pager aria-label="Pages" {
            @if filter.page > 0 { a.button rel="prev" href=(to(filter.page - 1)) { "← Before" } }
            span { "Page " (filter.page + 1) " of " (pages) ", " (thousands(found as i64)) " incidents" }
            @if filter.page + 1 < pages { a.button rel="next" href=(to(filter.page + 1)) { "Next →" } }
        }
    }
}
