//! The page of one incident.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::StatusCode;
use epicenter_model::{Act, FLEET, Incident, IncidentState, Note, Severity, Timestamp, span, thousands};
use maud::{Markup, html};

use super::before::before;
use super::lanes::{dots, lanes};
use super::tree::tree;
use super::{Draft, Page, Part, ago, count, incident_address, object, severity, state, time, trouble};
use crate::board::{Heard, ended_at};
use crate::past::{self, Trouble};
use crate::visit::Visit;

/// What became of what somebody just said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// It is done, or written and not yet carried out.
    pub notice: Option<&'static str>,
    /// Why it was refused, and what was typed.
    pub refused: Option<(StatusCode, String, String)>,
    /// Who is asked.
    pub by: String,
}

/// An incident that is shown.
struct Found {
    incident: Incident,
    /// The Events of it that are known.
    heard: Vec<Arc<Heard>>,
    /// Why more of them are not, where that is to be said.
    unheard: Option<String>,
    /// It is on the board; else it is as the archive has it.
    is_live: bool,
}

/// The incident of that id, on the board or else in the archive.
pub(super) async fn find(visit: &Visit, id: &str) -> Result<Option<(Incident, bool)>, Trouble> {
    match visit.incident(id).map_err(Trouble::new)? {
        Some(incident) => Ok(Some((incident, true))),
        None => Ok(past::incident(visit, id).await?.map(|incident| (incident, false))),
    }
}

async fn found(visit: &Visit, id: &str) -> Result<Option<Found>, Trouble> {
    let Some((incident, is_live)) = find(visit, id).await? else { return Ok(None) };
    let (heard, unheard) = match is_live {
        true => (heard(visit, &incident), None),
        // Without them times follow from causes.
        false => match past::heard(visit, &incident).await {
            Ok(heard) => (heard, None),
            Err(Trouble { why, .. }) => (Vec::new(), Some(why)),
        },
    };
    Ok(Some(Found { incident, heard, unheard, is_live }))
}

/// The page of the incident of that id.
pub(crate) async fn incident(visit: &Visit, id: &str, said: Said) -> Page {
    let Found { incident, heard, unheard, is_live } = match found(visit, id).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let why =
                format!("There is no incident {id} among those that are open or have ended lately, nor in an archive.");
            return trouble(visit, Part::Incidents, StatusCode::NOT_FOUND, "No such incident", &why);
        }
        Err(error) => {
            return trouble(visit, Part::Incidents, error.status, "The incident cannot be shown", &error.why);
        }
    };
    let now = visit.now();
    let status = said.refused.as_ref().map_or(StatusCode::OK, |(status, ..)| *status);
    let body = html! {
        article.incident {
            div #head { (head(&incident, now)) @if let Some(notice) = said.notice { p.done role="status" { (notice) } } }
            @if !is_live { p.notice { "Only the archive has it, with " (thousands(incident.members.len() as i64)) " of its Events." } }
            div.columns {
                div {
                    section #story aria-label="What happened" { (story(&incident)) }
                    section #before aria-labelledby="before-title" { h2 #before-title { "Before" } (before(visit, &incident)) }
                }
                aside {
                    @if is_live { (voice(visit, &incident, &said)) }
                    section #notes aria-labelledby="notes-title" { h2 #notes-title { "What people did" } (notes(&incident)) }
                }
            }
            section #why aria-labelledby="why-title" { h2 #why-title { "Why" } (why(visit, &incident)) }
            section #timeline aria-labelledby="timeline-title" {
                h2 #timeline-title { "Timeline" }
                @if let Some(unheard) = &unheard { p.faint { "Times follow from those of causes, since its Events cannot be read: " (unheard) } }
                (lanes(&incident, &dots(&incident, &heard)))
                (legend())
            }
            section #members aria-labelledby="members-title" { h2 #members-title { "Evidence" } (members(&incident, &heard)) }
        }
    };
    let live = is_live.then(|| format!("/events?incident={}", super::encoded(id)));
    let Page(_, page) = Draft { part: Part::Incidents, title: incident.title.clone(), live, body }.page(visit);
    Page(status, page)
}

/// The Events of an incident that are held.
fn heard(visit: &Visit, incident: &Incident) -> Vec<Arc<Heard>> {
    let uids: BTreeSet<&str> = incident.members.iter().map(|member| member.event_uid.as_str()).collect();
    let is_its = |event: &&Arc<Heard>| event.cluster == incident.cluster && uids.contains(event.uid.as_str());
    visit.console.board.look(|held| held.events().filter(is_its).cloned().collect())
}

fn head(incident: &Incident, now: Timestamp) -> Markup {
    let is_open = incident.state == IncidentState::Open;
    let until = if is_open { now } else { ended_at(incident) };
    html! {
        p.crumbs { a href="/" { "Incidents" } " / " code { (incident.id) } }
        h1 class={ "title " (incident.severity.name()) } { (incident.title) }
        p.facts {
            (severity(incident.severity)) (state(incident))
            span { (incident.category) }
            span { @if incident.cluster == FLEET { "all clusters" } @else { "cluster " b { (incident.cluster) } } }
            span { "since " (time(incident.opened_at)) }
            span { "for " b { (span(until.millis_since(incident.opened_at))) } }
            @if is_open { span { "last heard of " (ago(incident.last_event_at, now)) } }
            @if let Some(into) = &incident.merged_into { span { "is part of " a href=(incident_address(into)) { (into) } } }
            @if incident.backfill { span { "was there before Epicenter" } }
        }
    }
}

fn story(incident: &Incident) -> Markup {
    let cause = &incident.cause;
    let impact = &incident.impact;
    let touched = [count(impact.pods, "pod"), count(impact.workload_count, "workload"), count(impact.nodes, "node")];
    let touched: Vec<String> = touched.into_iter().flatten().collect();
    html! {
        div.told {
            @for sentence in &incident.explanation {
                @match sentence.strip_prefix("Look at: ") {
                    Some(command) => p.look { "Look at " code { (command) } },
                    None => p { (sentence) },
                }
            }
        }
        dl.facts {
            dt { "Cause" }
            dd {
                b { (cause.object) } " " code { (cause.class) }
                @if !cause.observed { " " span.faint { "inferred, no Event shows it" } }
                ul.candidates {
                    @for candidate in &cause.candidates {
                        li { (meter(candidate.confidence)) span { (candidate.object) " " code { (candidate.class) } } }
                    }
                }
            }
            dt { "Touches" }
            dd {
                @if touched.is_empty() { "nothing else that is known" } @else { (touched.join(", ")) }
                @if !impact.namespaces.is_empty() { " in " (impact.namespaces.join(", ")) }
                @if !impact.workloads.is_empty() {
                    details { summary { "Workloads" } ul { @for it in &impact.workloads { li { (it) } } } }
                }
            }
            dt { "Events" }
            dd {
                (thousands(incident.events.objects)) ", " (thousands(incident.events.occurrences)) " times: "
                (reasons(&incident.events.by_reason))
            }
        }
    }
}

/// A share from 0 to 1, drawn and said.
fn meter(share: f64) -> Markup {
    let percent = (share.clamp(0.0, 1.0) * 100.0).round();
    html! {
        svg.meter viewBox="0 0 100 8" width="60" height="8" preserveAspectRatio="none" aria-hidden="true" {
            rect.all width="100" height="8" rx="4" {}
            rect.share width=(percent) height="8" rx="4" {}
        }
        b.percent { (percent) " %" }
    }
}

fn reasons(by_reason: &BTreeMap<String, i64>) -> String {
    let mut reasons: Vec<_> = by_reason.iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), reason.as_str()));
    reasons.iter().take(8).map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

fn why(visit: &Visit, incident: &Incident) -> Markup {
    if incident.members.is_empty() {
        return html! { p.faint { "No Event of it is held here." } };
    }
    let used: BTreeSet<&str> =
        incident.members.iter().filter_map(|member| Some(member.because.as_ref()?.rule.as_str())).collect();
    let said: Vec<_> = used.into_iter().filter_map(|rule| Some((rule, visit.console.rules.why(rule)?))).collect();
    html! {
        (tree(incident))
        @if incident.truncated > 0 { p.faint { "and " (thousands(incident.truncated)) " more Events" } }
        @if !said.is_empty() { dl.rules { @for (rule, why) in said { dt { code { (rule) } } dd { (why) } } } }
    }
}

/// What can be done, as forms. Each is a command in the cluster's log, with who said it.
fn voice(visit: &Visit, incident: &Incident, said: &Said) -> Markup {
    if !visit.access.write {
        return html! { section.act { p.faint { "The token of " (visit.access.name) " is for reading only." } } };
    }
    let is_open = incident.state == IncidentState::Open;
    let typed = said.refused.as_ref().map_or("", |(_, _, typed)| typed);
    html! {
        section.act aria-labelledby="act-title" {
            h2 #act-title { "Act" }
            @if let Some((_, why, _)) = &said.refused { p.wrong role="alert" { (why) } }
            form method="post" action=(incident_address(&incident.id)) {
                input type="hidden" name="cluster" value=(incident.cluster);
                label { "Note, or why" textarea name="why" rows="2" maxlength="1000" { (typed) } }
                label { "Your name" input name="by" required maxlength="253" autocomplete="username" value=(said.by); }
                div.buttons {
                    @if incident.acknowledged.is_some() { (button(Act::Unacknowledge, "Let go", "")) }
                    @else if is_open { (button(Act::Acknowledge, "Acknowledge", "main")) }
                    (button(Act::Note, "Add note", ""))
                    @if is_open { (button(Act::Resolve, "Resolve", "")) }
                    (button(Act::Wrong, "Mark as wrong", "quiet"))
                }
                @if incident.cluster == FLEET {
                    p.faint { "It follows from the incidents of its clusters: silence, join or part those." }
                } @else {
                    div.buttons {
                        @match &incident.silenced {
                            Some(silence) => {
                                input type="hidden" name="silence" value=(silence.id);
                                button name="act" value="unsilence" { "End its silence" }
                            },
                            None => {
                                button name="act" value="silence" { "Silence" }
                                label.inline { "for" select name="for" { @for (value, name) in SPANS { option value=(value) { (name) } } } }
                            },
                        }
                    }
                }
            }
        }
    }
}

/// How long a silence may be told to hold.
pub(super) const SPANS: [(&str, &str); 6] =
    [("1h", "1 hour"), ("4h", "4 hours"), ("12h", "12 hours"), ("24h", "1 day"), ("72h", "3 days"), ("168h", "1 week")];

fn button(act: Act, name: &str, class: &str) -> Markup {
    html! { button name="act" value=(act.name()) class=[(!class.is_empty()).then_some(class)] { (name) } }
}

fn notes(incident: &Incident) -> Markup {
    html! {
        @if let Some(by) = &incident.acknowledged { p { b { (by.by) } " looks after it since " (time(by.at)) } }
        @if let Some(it) = &incident.silenced { p { "Silent until " (time(it.until)) ", by " b { (it.by) } @if !it.why.is_empty() { ": " (it.why) } } }
        @if incident.notes.is_empty() { p.faint { "Nobody has said anything of it." } }
        @else { ol.notes { @for note in incident.notes.iter().rev() { li { (self::note(note)) } } } }
    }
}

pub(super) fn note(note: &Note) -> Markup {
    let did = match note.act {
        Act::Acknowledge => "acknowledged it",
        Act::Unacknowledge => "let it go",
        Act::Note => "noted",
        Act::Resolve => "resolved it",
        Act::Wrong => "marked it as wrong",
        Act::Merge => "joined another with it",
        Act::Split => "parted it",
    };
    html! {
        p.faint { b { (note.by) } " " (did) " " (time(note.at)) }
        @if !note.text.is_empty() { p { (note.text) } }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend aria-label="Colours" {
            @for (role, what) in [("root", "root"), ("cause", "cause"), ("change", "change"), ("symptom", "symptom"), ("recovery", "recovery")] {
                li { svg.swatch viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" { circle class={ "dot " (role) } cx="5" cy="5" r="5" {} } (what) }
            }
            li { svg.swatch viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" { circle.dot.symptom.inferred cx="5" cy="5" r="4" {} } "time inferred from its cause" }
        }
    }
}

fn members(incident: &Incident, heard: &[Arc<Heard>]) -> Markup {
    let messages: BTreeMap<&str, &str> =
        heard.iter().map(|event| (event.uid.as_str(), event.message.as_str())).collect();
    html! {
        table.members {
            thead { tr { th { "Role" } th { "Event" } th { "About" } th.number { "Times" } th { "Because" } } }
            tbody {
                @for member in &incident.members {
                    @let it = &member.regarding;
                    tr {
                        td { span class={ "role " (member.role) } { (member.role) } }
                        td {
                            b { (member.reason) }
                            @if let Some(message) = messages.get(member.event_uid.as_str()) { div.message { (message) } }
                        }
                        td data-name="About" {
                            @if incident.cluster == FLEET { a href=(incident_address(&member.name)) { (member.name) } " in " (it.name) }
                            @else { (object(&it.kind, &it.namespace, &it.name)) }
                        }
                        td.number data-name="Times" { (thousands(member.occurrences)) }
                        td.faint data-name="Because" {
                            @if let Some(because) = &member.because {
                                code { (because.rule) } " " (span(because.lag_ms.abs())) @if because.lag_ms < 0 { " earlier" } @else { " later" } ", " (format!("{:.0} %", because.score * 100.0))
                            }
                        }
                    }
                }
            }
        }
        @if incident.truncated > 0 {
            p.faint { "and " (thousands(incident.truncated)) " more; " a href={ "/search?from=366d&incident=" (super::encoded(&incident.id)) } { "the archive has all" } }
        }
    }
}

/// The severities, the worst first.
pub(super) fn severities() -> impl Iterator<Item = Severity> {
    Severity::ALL.iter().rev().copied()
}
