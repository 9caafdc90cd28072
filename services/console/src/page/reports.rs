//! Reports: what days and weeks come to.

#[cfg(feature = "archive")]
use epicenter_model::instant;
use maud::html;

use super::{Draft, Page, Part, trouble, without_past};
use crate::past;
use crate::visit::Visit;

/// How far back one looks.
const SPANS: [(&str, &str); 5] =
    [("24h", "a day"), ("7d", "a week"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "a year")];
/// What can be asked beside that.
const KEYS: [(&str, &str); 2] = [("cluster", "Cluster"), ("namespace", "Namespace")];
const TITLE: &str = "Reports";

/// What the time that `query` asks for comes to.
pub(crate) async fn reports(visit: &Visit, query: Option<&str>) -> Page {
    let asked: Vec<(String, String)> = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(key, value)| {
            (key == "from" || KEYS.iter().any(|(known, _)| key == known)) && !value.trim().is_empty()
        })
        .map(|(key, value)| (key.into_owned(), value.trim().to_owned()))
        .collect();
    let of = |name: &str| asked.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let report = match past::report(visit, &asked).await {
        Ok(report) => report,
        Err(error) => return trouble(visit, Part::Reports, error.status, TITLE, &error.why),
    };
    let from = if of("from").is_empty() { "7d" } else { of("from") };
    let body = html! {
        h1 { (TITLE) }
        form.filter method="get" action="/reports" aria-label="What is reported" {
            label { "The last" select name="from" { @for (value, name) in SPANS { option value=(value) selected[from == value] { (name) } } } }
            @for (key, name) in KEYS { label { (name) input name=(key) value=(of(key)); } }
            div.buttons { button.main { "Show" } }
        }
        @match &report {
            Some(report) => (shown(report)),
            None => (without_past("Reports are made of what it keeps: incidents and Events over time, by category and severity, causes and workloads.")),
        }
    };
    Draft { part: Part::Reports, title: TITLE.to_owned(), live: None, body }.page(visit)
}

#[cfg(feature = "archive")]
fn shown(report: &past::Report) -> maud::Markup {
    html! {
        p.faint { "From " (instant(report.from)) " to " (instant(report.to)) ", as clusters tell the time." }
        (epicenter_archive::report::sections(report))
    }
}

/// Without the archive built in there is no report.
#[cfg(not(feature = "archive"))]
fn shown(report: &past::Report) -> maud::Markup {
    match *report {}
}
