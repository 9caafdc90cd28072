//! A report as HTML: a page that needs nothing else, no script, no other file; and what it shows, for the page of somebody else.

use epicenter_model::{Category, Timestamp, thousands};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{bars, calendar, share};
use super::markdown::{day, scope, took};
use super::{Recurring, Report, Share, Stretch, Sum, Workload};

const STYLE: &str = include_str!("report.css");

/// The report as a page.
pub fn html(report: &Report) -> String {
    let title = format!("Kubernetes incidents, {} to {}", day(report.from), day(report.to));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p.scope { (scope(report, str::to_owned)) }
                (sections(report, |_| None))
                footer { "From " (report.from) " to " (report.to) ", log time. Written by epicenter " (env!("CARGO_PKG_VERSION")) "." }
            }
        }
    };
    page.into_string()
}

/// All that a report shows, without a page around it; `open` is the address of the open incidents of a category, where there is one.
pub fn sections(report: &Report, open: impl Fn(Category) -> Option<String>) -> Markup {
    let category = |it: &Share<Category>| {
        let address = Some(it.name).filter(|_| it.sum.open > 0).and_then(&open);
        html! { @match address { Some(address) => a href=(address) { (it.name.name()) }, None => (it.name.name()) } }
    };
    let rows = |number: fn(&Stretch) -> i64, rows: &[Stretch]| {
        rows.iter().map(|row| (row.since, number(row))).collect::<Vec<(Timestamp, i64)>>()
    };
    let (unit, seconds, over_time) = (report.stretches.unit(), report.stretches.seconds, &report.stretches.rows);
    html! {
        (figures(&report.total))
        section.card {
            (bars(&format!("Incidents that opened, by {unit}"), seconds, &rows(|it| it.incidents, over_time)))
            (bars(&format!("Occurrences of Events, by {unit}"), seconds, &rows(|it| it.occurrences, over_time)))
        }
        section.card { (calendar("Incidents by day", &rows(|it| it.incidents, &report.calendar))) }
        div.halves {
            section { h2 { "By severity" } (shares("Severity", &report.severities, |it| html! { span class={ "severity " (it.name.name()) } { (it.name.name()) } })) }
            section { h2 { "By category" } (shares("Category", &report.categories, category)) }
        }
        section { h2 { "Top causes" } (shares("Class", &report.causes, |it| html! { code { (it.name) } })) }
        section { h2 { "What comes back" } (recurring(&report.recurring)) }
        section { h2 { "Noisiest workloads" } (workloads(&report.workloads)) }
    }
}

fn figures(total: &Sum) -> Markup {
    let Sum { incidents, open, events, occurrences, resolved_p50, resolved_p95 } = total;
    html! {
        dl.figures {
            @for (what, number) in [
                ("incidents", thousands(*incidents)), ("of them open", thousands(*open)), ("Events", thousands(*events)), ("occurrences", thousands(*occurrences)),
                ("resolved in, median", took(*resolved_p50)), ("resolved in, 95 %", took(*resolved_p95)),
            ] { div { dt { (what) } dd { (number) } } }
        }
    }
}

fn shares<T>(what: &str, shares: &[Share<T>], name: impl Fn(&Share<T>) -> Markup) -> Markup {
    let shares: Vec<_> = shares.iter().filter(|it| it.sum.incidents > 0).collect();
    let most = shares.iter().map(|it| it.sum.incidents).max().unwrap_or_default();
    html! {
        @if shares.is_empty() { p.faint { "None." } }
        @else {
            table.report {
                thead { tr { th { (what) } th.number { "Incidents" } th.number { "Open" } th.number { "Resolved in" } th.number { "95 %" } } }
                tbody {
                    @for it in shares {
                        @let sum = &it.sum;
                        tr { td { (name(it)) } (share(sum.incidents, most)) td.number data-name="Open" { (thousands(sum.open)) } td.number data-name="Resolved in" { (took(sum.resolved_p50)) } td.number data-name="95 %" { (took(sum.resolved_p95)) } }
                    }
                }
            }
        }
    }
}

fn recurring(recurring: &[Recurring]) -> Markup {
    let most = recurring.iter().map(|it| it.sum.incidents).max().unwrap_or_default();
    html! {
        @if recurring.is_empty() { p.faint { "Nothing came more than once." } }
        @else {
            table.report {
                thead { tr { th { "Cause" } th { "Class" } th.number { "Incidents" } th.number { "Open" } th.number { "Resolved in" } } }
                tbody {
                    @for Recurring { cluster, class, object, sum } in recurring {
                        tr { td { (object) div.sub { span { (cluster) } } } td data-name="Class" { code { (class) } } (share(sum.incidents, most)) td.number data-name="Open" { (thousands(sum.open)) } td.number data-name="Resolved in" { (took(sum.resolved_p50)) } }
                    }
                }
            }
        }
    }
}

fn workloads(workloads: &[Workload]) -> Markup {
    let most = workloads.iter().map(|it| it.occurrences).max().unwrap_or_default();
    html! {
        @if workloads.is_empty() { p.faint { "No Event was about a workload." } }
        @else {
            table.report {
                thead { tr { th { "Workload" } th { "Cluster" } th.number { "Occurrences" } th.number { "Events" } } }
                tbody {
                    @for Workload { cluster, namespace, name, events, occurrences } in workloads {
                        tr { td { (namespace) "/" (name) } td data-name="Cluster" { (cluster) } (share(*occurrences, most)) td.number data-name="Events" { (thousands(*events)) } }
                    }
                }
            }
        }
    }
}
