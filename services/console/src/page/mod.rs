//! Pages: what all of them have.

mod before;
mod clusters;
mod events;
mod incident;
mod incidents;
mod lanes;
mod login;
mod reports;
mod silences;
mod tree;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use epicenter_model::{Incident, IncidentState, Severity, Timestamp, instant, span, thousands};
use maud::{DOCTYPE, Markup, html};

use crate::assets::address;
use crate::visit::Visit;

pub(crate) use before::past;
pub(crate) use clusters::clusters;
pub(crate) use events::search;
pub(crate) use incident::{Said, incident};
pub(crate) use incidents::incidents;
pub(crate) use login::{again, login};
pub(crate) use reports::reports;
pub(crate) use silences::silences;

/// A page that is made; its status, and its text.
pub(crate) struct Page(StatusCode, Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (self.0, Html(self.1.into_string())).into_response()
    }
}

/// The parts of the console.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Incidents,
    Search,
    Reports,
    Silences,
    Clusters,
}

const PARTS: [(Part, &str, &str); 5] = [
    (Part::Incidents, "/", "Incidents"),
    (Part::Search, "/search", "Events"),
    (Part::Reports, "/reports", "Reports"),
    (Part::Silences, "/silences", "Silences"),
    (Part::Clusters, "/clusters", "Clusters"),
];

/// What a page is made of.
struct Draft {
    part: Part,
    title: String,
    /// The address of the words about what it shows; `None` when it does not change by itself.
    live: Option<String>,
    body: Markup,
}

impl Draft {
    fn page(self, visit: &Visit) -> Page {
        let Self { part, title, live, body } = self;
        let open = visit.console.board.look(|held| visit.open_count(held));
        let nav = html! {
            nav aria-label="Console" {
                @for (it, to, name) in PARTS {
                    a href=(to) aria-current=[(it == part).then_some("page")] {
                        (name)
                        @if it == Part::Incidents { " " span.count #open-count { (open) } }
                    }
                }
            }
            @if let Some(live) = &live { span.live #live data-from=(live) role="status" hidden { "live" } }
            @if visit.has_token {
                form.out method="post" action="/logout" {
                    @if !visit.access.sees_all() { span.faint title="What is not theirs is not shown" { (visit.access.name) " " } }
                    button.quiet { "Log out" }
                }
            }
        };
        Page(StatusCode::OK, document(&title, nav, body))
    }
}

/// A whole page around `body`.
fn document(title: &str, nav: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Epicenter" }
                link rel="icon" type="image/svg+xml" href=(address("icon.svg"));
                link rel="stylesheet" href=(address("console.css"));
                script src=(address("console.js")) defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { (logo()) "Epicenter" }
                    (nav)
                }
                main #main tabindex="-1" { (body) }
                p.unseen #said role="status" aria-live="polite" {}
            }
        }
    }
}

fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            circle.ring cx="12" cy="12" r="10.5" {}
            circle.ring cx="12" cy="12" r="6.5" {}
            circle.dot cx="12" cy="12" r="3" {}
        }
    }
}

/// A page that says why there is no other.
pub(crate) fn refused(status: StatusCode, why: &str) -> Page {
    let title = status.canonical_reason().unwrap_or("Refused");
    let body = html! { section.notice { h1 { (title) } p { (why) } p { a href="/" { "To the incidents" } } } };
    Page(status, document(title, html! {}, body))
}

/// The same within the console.
fn trouble(visit: &Visit, part: Part, status: StatusCode, title: &str, why: &str) -> Page {
    let body = html! { h1 { (title) } section.notice role="alert" { p { (why) } } };
    let Page(_, markup) = Draft { part, title: title.to_owned(), live: None, body }.page(visit);
    Page(status, markup)
}

/// What the archive would be needed for, and how to turn it on.
fn without_past(what: &str) -> Markup {
    html! {
        section.notice {
            h2 { "There is no archive here" }
            p { (what) }
            p {
                "It is in the images of Epicenter, or built in by "
                code { "cargo install --path services/epicenter --features archive" }
                ". " code { "epicenter up" } " then archives below its data directory; on Kafka, "
                code { "epicenter archive run" } " does, and the console finds it by the same setting, "
                code { "archive.location" } "."
            }
        }
    }
}

/// A severity, as a word in its colour.
fn severity(severity: Severity) -> Markup {
    html! { span class={ "severity " (severity.name()) } { (severity.name()) } }
}

/// Where an incident is in its life, and what people made of that.
fn state(incident: &Incident) -> Markup {
    let (class, word) = match incident.state {
        IncidentState::Open if incident.silenced.is_some() => ("silent", "silent"),
        IncidentState::Open if incident.acknowledged.is_some() => ("acked", "acknowledged"),
        IncidentState::Open => ("open", "open"),
        IncidentState::Resolved => ("over", "resolved"),
        IncidentState::Merged => ("over", "merged"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// An instant, whole on hover and for machines.
fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (instant(at)) } }
}

/// How long ago something was.
fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(instant(at)) { (span(now.millis_since(at))) " ago" } }
}

/// The address of an incident's page.
pub(crate) fn incident_address(id: &str) -> String {
    format!("/incidents/{}", encoded(id))
}

/// A text as part of a path.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// `1 pod`, `2 pods`; nothing for none.
fn count(number: i64, what: &str) -> Option<String> {
    (number > 0).then(|| format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" }))
}

/// A text that has no room: its beginning and its end.
fn clipped(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let end = most / 3;
    let begin: String = text.chars().take(most - end - 1).collect();
    let rest: String = text.chars().skip(length - end).collect();
    format!("{begin}…{rest}")
}

/// `Kind namespace/name`.
fn object(kind: &str, namespace: &str, name: &str) -> String {
    epicenter_model::ObjectRef::named(kind, namespace, name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_and_encodes_names() {
        assert_eq!(clipped("checkout-7c9f6d-x2x8q", 12), "checkou…2x8q");
        assert_eq!(clipped("short", 12), "short");
        assert_eq!(encoded("epc-a/ü\r\n"), "epc-a%2F%C3%BC%0D%0A");
    }
}
