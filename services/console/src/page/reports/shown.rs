//! A report as a page.

use epicenter_archive::report::{Report, Share, Stretch, Sum};
use epicenter_model::{Timestamp, instant, span, thousands};
use maud::{Markup, html};

use super::super::chart::{bars, calendar, share};
use super::super::severity;

/// All of a report.
pub(super) fn shown(report: &Report) -> Markup {
    let Sum { incidents, open, events, occurrences, resolved_p50, resolved_p95 } = &report.total;
    let stretches = &report.stretches;
    let unit = stretches.unit();
    let rows = |number: fn(&Stretch) -> i64, rows: &[Stretch]| {
        rows.iter().map(|row| (row.since, number(row))).collect::<Vec<(Timestamp, i64)>>()
    };
    html! {
        p.faint { "From " (instant(report.from)) " to " (instant(report.to)) ", as clusters tell the time." }
        dl.figures {
            @for (what, number) in [
                ("incidents", thousands(*incidents)), ("of them open", thousands(*open)), ("Events", thousands(*events)), ("occurrences", thousands(*occurrences)),
                ("resolved in, median", took(*resolved_p50)), ("resolved in, 95 %", took(*resolved_p95)),
            ] { div { dt { (what) } dd { (number) } } }
        }
        section.card { (bars(&format!("Incidents that opened, by {unit}"), stretches.seconds, &rows(|it| it.incidents, &stretches.rows))) (bars(&format!("Occurrences of Events, by {unit}"), stretches.seconds, &rows(|it| it.occurrences, &stretches.rows))) }
        section.card { (calendar("Incidents by day", &rows(|it| it.incidents, &report.calendar))) }
        div.halves {
            section { h2 { "By severity" } (shares("Severity", &report.severities, |it| severity(*it))) }
            section { h2 { "By category" } (shares("Category", &report.categories, |it| html! { a href={ "/?category=" (it.name()) } { (it.name()) } })) }
        }
        section { h2 { "Top causes" } (shares("Class", &report.causes, |it| html! { code { (it) } })) }
        section {
            h2 { "What comes back" }
            @if report.recurring.is_empty() { p.faint { "Nothing came more than once." } }
            @else {
                table.report {
                    thead { tr { th { "Cause" } th { "Class" } th.number { "Incidents" } th.number { "Open" } th.number { "Resolved in" } } }
                    tbody {
                        @let most = report.recurring.iter().map(|it| it.sum.incidents).max().unwrap_or_default();
                        @for it in &report.recurring {
                            tr { td { (it.object) div.sub { span { (it.cluster) } } } td data-name="Class" { code { (it.class) } } (share(it.sum.incidents, most)) td.number data-name="Open" { (it.sum.open) } td.number data-name="Resolved in" { (took(it.sum.resolved_p50)) } }
                        }
                    }
                }
            }
        }
        section {
            h2 { "Noisiest workloads" }
            @if report.workloads.is_empty() { p.faint { "No Event was about a workload." } }
            @else {
                table.report {
                    thead { tr { th { "Workload" } th { "Cluster" } th.number { "Occurrences" } th.number { "Events" } } }
                    tbody {
                        @let most = report.workloads.iter().map(|it| it.occurrences).max().unwrap_or_default();
                        @for it in &report.workloads {
                            tr { td { (it.namespace) "/" (it.name) } td data-name="Cluster" { (it.cluster) } (share(it.occurrences, most)) td.number data-name="Events" { (thousands(it.events)) } }
                        }
                    }
                }
            }
        }
    }
}

fn shares<T>(what: &str, shares: &[Share<T>], name: impl Fn(&T) -> Markup) -> Markup {
    let shares: Vec<_> = shares.iter().filter(|it| it.sum.incidents > 0).collect();
    let most = shares.iter().map(|it| it.sum.incidents).max().unwrap_or_default();
    html! {
        @if shares.is_empty() { p.faint { "None." } }
        @else {
            table.report {
                thead { tr { th { (what) } th.number { "Incidents" } th.number { "Open" } th.number { "Resolved in" } th.number { "95 %" } } }
                tbody {
                    @for Share { name: it, sum } in shares {
                        tr { td { (name(it)) } (share(sum.incidents, most)) td.number data-name="Open" { (thousands(sum.open)) } td.number data-name="Resolved in" { (took(sum.resolved_p50)) } td.number data-name="95 %" { (took(sum.resolved_p95)) } }
                    }
                }
            }
        }
    }
}

/// A length of time in s.
fn took(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| span((seconds * 1e3) as i64))
}
