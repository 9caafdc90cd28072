//! The search among Events: the newest, which are held in memory, or all that the archive has.

use std::sync::Arc;

use epicenter_model::{Category, Severity, Timestamp, thousands};
use maud::{Markup, html};
use serde_json::Value;

use super::incident::severities;
use super::{Draft, Page, Part, object, severity, time, trouble, without_past};
use crate::board::Heard;
use crate::past::{self, Row};
use crate::serve::Site;

/// Events of a page.
const PAGE: usize = 200;
/// What can be asked, by the names that the archive knows.
const KEYS: [(&str, &str, &str); 9] = [
    ("text", "Text", "in the message"),
    ("cluster", "Cluster", ""),
    ("namespace", "Namespace", ""),
    ("kind", "Kind", "Pod"),
    ("name", "Name", ""),
    ("reason", "Reason", "BackOff"),
    ("class", "Class", "node.not_ready"),
    ("from", "From", "7d, 12h, 2026-11-20"),
    ("to", "To", ""),
];

/// What is asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    fields: Vec<(String, String)>,
    in_archive: bool,
    cursor: Option<String>,
}

impl Asked {
    fn read(query: Option<&str>) -> Self {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let value = value.trim().to_owned();
            match &*key {
                _ if value.is_empty() => {}
                "where" => asked.in_archive = value == "archive",
                "cursor" => asked.cursor = Some(value),
                "severity" | "category" | "incident" => asked.fields.push((key.into_owned(), value)),
                key if KEYS.iter().any(|(known, ..)| *known == key) => asked.fields.push((key.to_owned(), value)),
                _ => {}
            }
        }
        asked
    }

    fn of(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether an Event that is held fits. Times are for the archive.
    fn fits(&self, event: &Heard) -> bool {
        let is = |name: &str, value: &str| {
            let wanted = self.of(name);
            wanted.is_empty() || wanted.split(',').any(|wanted| wanted == value)
        };
        is("cluster", &event.cluster)
            && is("namespace", &event.namespace)
            && is("kind", &event.kind)
            && is("name", &event.name)
            && is("reason", &event.reason)
            && is("class", &event.class)
            && is("severity", event.severity.name())
            && is("category", event.category)
            && (self.of("text").is_empty() || event.message.to_lowercase().contains(&self.of("text").to_lowercase()))
    }

    fn address(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("where", "archive").extend_pairs(&self.fields).append_pair("cursor", cursor);
        format!("/search?{}", query.finish())
    }
}

/// The Events that `query` asks for.
pub(crate) async fn search(site: &Site, query: Option<&str>) -> Page {
    let asked = Asked::read(query);
    let title = "Events";
    let is_there = past::is_there(&site.console.past);
    let found = if asked.in_archive && is_there {
        match past::events(&site.console.past, &asked.fields, asked.cursor.as_deref(), site.now()).await {
            Ok(found) => Some(found),
            Err(error) => return trouble(site, Part::Search, error.status, "The Events cannot be shown", &error.why),
        }
    } else {
        None
    };
    let incident = asked.of("incident");
    let body = html! {
        h1 { (title) }
        (form(&asked, is_there))
        @if !incident.is_empty() { p { "Of the incident " a href=(super::incident_address(incident)) { (incident) } } }
        div #list {
            @match &found {
                Some(found) => {
                    (table(found.rows.iter().map(archived)))
                    @if let Some(next) = &found.next { nav.pager aria-label="Pages" { a.button rel="next" href=(asked.address(next)) { "Older →" } } }
                },
                None if asked.in_archive => (without_past("Events beyond the newest ones are not kept here.")),
                None => (held(site, &asked)),
            }
        }
    };
    let live = found.is_none().then(|| "/events".to_owned());
    Draft { part: Part::Search, title: title.to_owned(), live, body }.page(site)
}

fn form(asked: &Asked, is_there: bool) -> Markup {
    html! {
        form.filter method="get" action="/search" role="search" aria-label="Search Events" {
            @for (key, name, hint) in KEYS {
                label.wide[key == "text"] { (name) input name=(key) type=(if key == "text" { "search" } else { "text" }) value=(asked.of(key)) placeholder=(hint); }
            }
            label { "Severity" select name="severity" { option value="" { "any" } @for it in severities() { option selected[asked.of("severity") == it.name()] { (it.name()) } } } }
            label { "Category" select name="category" { option value="" { "any" } @for it in Category::ALL { option selected[asked.of("category") == it.name()] { (it.name()) } } } }
            label { "Where"
                select name="where" {
                    option value="" { "newest, in memory" }
                    option value="archive" selected[asked.in_archive] { "archive" @if !is_there { " (there is none)" } }
                }
            }
            div.buttons { button.main { "Search" } a.button href="/search" { "Clear" } }
        }
    }
}

fn held(site: &Site, asked: &Asked) -> Markup {
    let (found, events) = site.console.board.look(|held| {
        let mut found = 0;
        let mut events: Vec<Arc<Heard>> = Vec::new();
        for event in held.events().filter(|event| asked.fits(event)) {
            found += 1;
            if events.len() < PAGE {
                events.push(Arc::clone(event));
            }
        }
        (found, events)
    });
    html! {
        p.faint { (thousands(found as i64)) " of the newest Events fit" @if found > PAGE { "; the newest " (PAGE) " are shown" } "." }
        (table(events.iter().map(|event| line(event))))
    }
}

/// An Event as it is shown.
struct Line {
    at: Option<Timestamp>,
    severity: Option<Severity>,
    cluster: String,
    object: String,
    reason: String,
    class: String,
    occurrences: i64,
    message: String,
}

fn line(event: &Heard) -> Line {
    Line {
        at: Some(event.occurred_at),
        severity: Some(event.severity),
        cluster: event.cluster.clone(),
        object: object(&event.kind, &event.namespace, &event.name),
        reason: event.reason.clone(),
        class: event.class.clone(),
        occurrences: event.occurrences,
        message: event.message.clone(),
    }
}

fn archived(row: &Row) -> Line {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // Columns of times are without their zone, which is UTC.
    let at = |name: &str| format!("{}Z", text(name).trim_end_matches('Z')).parse().ok();
    let message = if text("error").is_empty() { text("message") } else { text("error") };
    Line {
        at: at("occurred_at").or_else(|| at("time")),
        severity: Severity::ALL.iter().copied().find(|it| it.name() == text("severity")),
        cluster: text("cluster"),
        object: object(&text("kind"), &text("namespace"), &text("name")),
        reason: text("reason"),
        class: text("class"),
        occurrences: row.get("occurrences").and_then(Value::as_i64).unwrap_or(1),
        message,
    }
}

fn table(lines: impl Iterator<Item = Line>) -> Markup {
    let lines: Vec<Line> = lines.collect();
    if lines.is_empty() {
        return html! { div.calm { p { "No Event fits." } } };
    }
    html! {
        table.events {
            thead { tr { th { "When" } th { "Severity" } th { "About" } th { "Event" } th.number { "Times" } } }
            tbody {
                @for line in lines {
                    tr {
                        td.when { @if let Some(at) = line.at { (time(at)) } }
                        td { @if let Some(it) = line.severity { (severity(it)) } }
                        td { (line.object) div.sub { span { (line.cluster) } } }
                        td { b { (line.reason) } " " code { (line.class) } div.message { (line.message) } }
                        td.number data-name="Times" { (thousands(line.occurrences)) }
                    }
                }
            }
        }
    }
}
