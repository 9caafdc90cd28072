//! The search among Events: in all that the archive and the log behind it have, or among the newest, which are held in memory.

use std::sync::Arc;

use axum::http::StatusCode;
use epicenter_model::{Category, instant, thousands};
use maud::{Markup, html};

use super::incident::severities;
use super::{Draft, Page, Part, object, severity, time, trouble, without_past};
use crate::board::Heard;
use crate::past::{self, Events, Trouble};
use crate::visit::Visit;

/// Events of a page.
const PAGE: usize = 200;
const TITLE: &str = "Events";
/// How far back one looks who does not say, by the archive's own word.
const SPAN: &str = "7d";
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
/// Of these only the archive knows.
const OF_ARCHIVE: [&str; 3] = ["from", "to", "incident"];

/// What is asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    fields: Vec<(String, String)>,
    /// Only among the newest, in memory; else wherever they are.
    newest: bool,
    cursor: Option<String>,
}

impl Asked {
    fn read(query: Option<&str>) -> Self {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let value = value.trim().to_owned();
            match &*key {
                _ if value.is_empty() => {}
                "where" => asked.newest = value == "newest",
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

    /// Whether an Event that is held fits, by what is known of it there.
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

    /// The address of what else is asked for the same.
    fn address(&self, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.fields).extend_pairs(more);
        format!("/search?{}", query.finish())
    }
}

/// The Events that `query` asks for.
pub(crate) async fn search(visit: &Visit, query: Option<&str>) -> Page {
    let asked = Asked::read(query);
    let is_there = past::is_there(&visit.console.past);
    let found = if is_there && !asked.newest {
        Some(past::events(visit, &asked.fields, asked.cursor.as_deref()).await)
    } else {
        None
    };
    if let Some(Err(Trouble { status: status @ StatusCode::BAD_REQUEST, why })) = &found {
        return trouble(visit, Part::Search, *status, "The Events cannot be shown", why);
    }
    let incident = asked.of("incident");
    let body = html! {
        h1 { (TITLE) }
        (form(&asked, is_there))
        @if !incident.is_empty() { p { "Of the incident " a href=(super::incident_address(incident)) { (incident) } } }
        div #list {
            @match &found {
                Some(Ok(found)) => (archived(visit, &asked, found)),
                Some(Err(error)) => {
                    p.notice role="alert" { "The archive does not answer, so only the newest are searched: " (error.why) }
                    (held(visit, &asked))
                }
                None => (held(visit, &asked)),
            }
        }
    };
    // What the archive has is asked for once: it is searched, and not looked up.
    let live = found.is_none().then(|| "/events".to_owned());
    Draft { part: Part::Search, title: TITLE.to_owned(), live, body }.page(visit)
}

fn form(asked: &Asked, is_there: bool) -> Markup {
    html! {
        form.filter method="get" action="/search" role="search" aria-label="Search Events" {
            @for (key, name, hint) in KEYS {
                label.wide[key == "text"] { (name) input name=(key) type=(if key == "text" { "search" } else { "text" }) value=(asked.of(key)) placeholder=(hint); }
            }
            label { "Severity" select name="severity" { option value="" { "any" } @for it in severities() { option selected[asked.of("severity") == it.name()] { (it.name()) } } } }
            label { "Category" select name="category" { option value="" { "any" } @for it in Category::ALL { option selected[asked.of("category") == it.name()] { (it.name()) } } } }
            @if is_there {
                label { "Where"
                    select name="where" {
                        option value="" { "archive and log" }
                        option value="newest" selected[asked.newest] { "newest, as they come" }
                    }
                }
            }
            div.buttons { button.main { "Search" } a.button href="/search" { "Clear" } }
        }
    }
}

/// What was found wherever it is.
fn archived(visit: &Visit, asked: &Asked, found: &Events) -> Markup {
    let from = if asked.of("from").is_empty() { SPAN } else { asked.of("from") };
    let newest = asked.address(&[("where", "newest")]);
    html! {
        p.faint {
            "Searched: the archive"
            @match &found.missing {
                None => " and what the log has since then, as one, from ",
                Some(missing) => { " (" (missing) "), from " }
            }
            (from) @if !from.contains('-') { " ago" }
            " until " @if asked.of("to").is_empty() { (instant(visit.now())) } @else { (asked.of("to")) }
            @if asked.cursor.is_some() { ", from there on" }
            ". " a href=(newest) { "Follow the newest as they come" } "."
        }
        (table(found.rows.iter()))
        @if let Some(next) = &found.next { nav.pager aria-label="Pages" { a.button rel="next" href=(asked.address(&[("cursor", next)])) { "Older →" } } }
    }
}

/// What is found among the newest.
fn held(visit: &Visit, asked: &Asked) -> Markup {
    let (found, since, events) = visit.console.board.look(|held| {
        let (mut found, mut since, mut events) = (0, None, Vec::<Arc<Heard>>::new());
        for event in visit.events(held) {
            since = Some(event.occurred_at);
            if asked.fits(event) {
                found += 1;
                if events.len() < PAGE {
                    events.push(Arc::clone(event));
                }
            }
        }
        (found, since, events)
    });
    let unheeded: Vec<&str> = OF_ARCHIVE.into_iter().filter(|key| !asked.of(key).is_empty()).collect();
    html! {
        p.faint {
            "Searched: the newest Events, which are held in memory"
            @if let Some(since) = since { ", since " (instant(since)) }
            ". " (thousands(found as i64)) " fit" @if found > PAGE { "; the newest " (PAGE) " are shown" } "."
        }
        @if !unheeded.is_empty() {
            p.notice { "Not heeded here: " (unheeded.join(", ")) ". Only the archive can tell." }
            @if !past::is_there(&visit.console.past) { (without_past("Events beyond the newest ones are not kept here.")) }
        }
        (table(events.iter().map(|event| &**event)))
    }
}

fn table<'e>(events: impl Iterator<Item = &'e Heard>) -> Markup {
    let mut events = events.peekable();
    if events.peek().is_none() {
        return html! { div.calm { p { "No Event fits." } } };
    }
    html! {
        table.events {
            thead { tr { th { "When" } th { "Severity" } th { "About" } th { "Event" } th.number { "Times" } } }
            tbody {
                @for event in events {
                    tr {
                        td.when { (time(event.occurred_at)) }
                        td { (severity(event.severity)) }
                        td { (object(&event.kind, &event.namespace, &event.name)) div.sub { span { (event.cluster) } } }
                        td { b { (event.reason) } " " code { (event.class) } div.message { (event.message) } }
                        td.number data-name="Times" { (thousands(event.occurrences)) }
                    }
                }
            }
        }
    }
}
