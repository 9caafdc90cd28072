//! Silences: those that are in force or will be, and a form for a new one.

use epicenter_model::Silence;
use maud::{Markup, html};

use super::incident::{SPANS, severities};
use super::{Draft, Page, Part, incident_address, time};
use crate::visit::Visit;

/// The silences; `wrong` says why the last form was refused.
pub(crate) fn silences(visit: &Visit, by: &str, wrong: Option<&str>) -> Page {
    let (silences, clusters) = visit.console.board.look(|held| (visit.silences(held), visit.logs(held)));
    let now = visit.now();
    let body = html! {
        h1 { "Silences" }
        p.faint { "Nobody is told of incidents that a silence describes. They are kept, and shown here, all the same." }
        div #list {
            @if silences.is_empty() { div.calm { p { "There are none." } } }
            @else {
                table.silences {
                    thead { tr { th { "Incidents" } th { "From" } th { "Until" } th { "Why" } th { "By" } th { span.unseen { "End" } } } }
                    tbody {
                        @for silence in &silences {
                            tr {
                                td { (what(silence)) div.sub { span { (silence.cluster) } @if silence.starts_at > now { span { "planned" } } } }
                                td data-name="From" { (time(silence.starts_at)) }
                                td data-name="Until" { (time(silence.ends_at)) }
                                td data-name="Why" { (silence.why) }
                                td data-name="By" { (silence.by) }
                                td {
                                    @if visit.access.write { (end(silence, by)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if visit.access.write { (new(&clusters, by, wrong)) }
    };
    Draft { part: Part::Silences, title: "Silences".to_owned(), live: Some("/events".to_owned()), body }.page(visit)
}

/// A form that ends one.
fn end(silence: &Silence, by: &str) -> Markup {
    html! {
        form method="post" action="/silences" {
            input type="hidden" name="silence" value=(silence.id);
            input type="hidden" name="cluster" value=(silence.cluster);
            @if by.is_empty() { input name="by" required placeholder="your name" aria-label="Your name"; }
            @else { input type="hidden" name="by" value=(by); }
            button.quiet { "End it" }
        }
    }
}

/// A form for a new one.
fn new(clusters: &[String], by: &str, wrong: Option<&str>) -> Markup {
    html! {
        section.new aria-labelledby="new-title" {
            h2 #new-title { "New silence" }
            @if let Some(why) = wrong { p.wrong role="alert" { (why) } }
            form.grid method="post" action="/silences" {
                label { "Cluster" select name="cluster" { @for cluster in clusters { option { (cluster) } } } }
                label { "Namespace" input name="namespace" maxlength="253"; }
                label { "Class" input name="class" placeholder="node.*" maxlength="253"; }
                label { "Object" input name="object" placeholder="Deployment/checkout" maxlength="253"; }
                label { "Not more severe than"
                    select name="severity" { option value="" { "any" } @for it in severities() { option { (it.name()) } } }
                }
                label { "From (UTC)" input type="datetime-local" name="from"; }
                label { "For" select name="for" { @for (value, name) in SPANS { option value=(value) { (name) } } } }
                label { "Why" input name="why" maxlength="1000"; }
                label { "Your name" input name="by" required maxlength="253" autocomplete="username" value=(by); }
                div.buttons { button.main { "Silence" } }
            }
        }
    }
}

/// Of which incidents.
fn what(silence: &Silence) -> Markup {
    let it = &silence.matcher;
    let object = if it.name.is_empty() { it.kind.clone() } else { format!("{}/{}", it.kind, it.name) };
    let severity = it.severity.map_or(String::new(), |severity| format!("{severity} and below"));
    let parts = [("namespace", &it.namespace), ("class", &it.class), ("object", &object), ("severity", &severity)];
    let parts: Vec<String> =
        parts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name} {value}")).collect();
    html! {
        @if !it.incident.is_empty() { a href=(incident_address(&it.incident)) { (it.incident) } " " }
        @if parts.is_empty() && it.incident.is_empty() { "all of the cluster" }
        (parts.join(", "))
    }
}
