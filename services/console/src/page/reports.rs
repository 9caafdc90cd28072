//! Reports: what days and weeks come to.

#[cfg(feature = "archive")]
use epicenter_model::instant;
use maud::html;

use super::{Draft, Page, Part, trouble, without_past};
#[cfg(feature = "archive")]
use crate::filter::Filter;
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
    // The list of incidents is of one cluster, or of all.
    let one = |names: &[String]| match names {
        [] => Some(String::new()),
        [name] => Some(name.clone()),
        _ => None,
    };
    let open = |category| {
        let (cluster, namespace) = (one(&report.clusters)?, one(&report.namespaces)?);
        Some(Filter { cluster, namespace, category: Some(category), ..Filter::default() }.address())
    };
    html! {
        p.faint { "From " (instant(report.from)) " to " (instant(report.to)) ", as clusters tell the time." }
        (epicenter_archive::report::sections(report, open))
    }
}

/// Without the archive built in there is no report.
#[cfg(not(feature = "archive"))]
fn shown(report: &past::Report) -> maud::Markup {
    match *report {}
}

#[cfg(all(test, feature = "archive"))]
mod tests {
    use epicenter_archive::report::{Share, Sum};
    use epicenter_model::Category;

    use super::*;

    #[test]
    fn a_category_leads_to_what_is_open_of_it() {
        let category = |name, open| Share { name, sum: Sum { incidents: 3, open, ..Sum::default() } };
        let categories = vec![category(Category::Node, 1), category(Category::Image, 0)];
        let links = |clusters: &[&str]| {
            let clusters = clusters.iter().map(|name| (*name).to_owned()).collect();
            let report = past::Report { clusters, categories: categories.clone(), ..past::Report::default() };
            let page = shown(&report).into_string();
            page.split("href=\"").skip(1).map(|link| link.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(links(&[]), ["/?category=node"]);
        assert_eq!(links(&["a&b"]), ["/?cluster=a%26b&amp;category=node"]);
        assert_eq!(links(&["a", "b"]), [] as [String; 0]);
    }
}
