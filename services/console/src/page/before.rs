//! Whether an incident was there before: when, how often, where, how that ended, and what was like it.

use axum::http::StatusCode;
use epicenter_correlate::{day_and_minute, fingerprint};
use epicenter_model::{Act, FLEET, Incident, IncidentState, Note, Novelty, Recurrence, span};
use maud::{Markup, html};

use super::incident::{find, note};
use super::{Draft, Page, Part, incident_address, trouble, without_past};
use crate::board::{Held, ended_at};
use crate::past;
use crate::visit::Visit;

/// Incidents of before that a page lists without the archive, and with it.
const HELD: usize = 8;
const ARCHIVED: usize = 30;
/// What people said of one of them: so many are shown.
const SAID: usize = 3;
const TITLE: &str = "Its like in the archive";

/// What an incident has in common with another one: the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kinship {
    /// The same class, on the same workload or other object.
    Cause,
    /// The same class, on another object of its kind.
    Kind,
    /// The same class.
    Class,
}

impl Kinship {
    fn of(one: &Incident, other: &Incident) -> Option<Self> {
        let (its, others) = (&one.cause, &other.cause);
        if one.id == other.id || other.state == IncidentState::Merged {
            return None;
        }
        let is_known = one.cluster == other.cluster && one.recurrence.previous.contains(&other.id);
        if !is_known && its.class != others.class {
            return None;
        }
        let is_near = one.cluster == other.cluster && its.object.namespace == others.object.namespace;
        let is_same = is_near && fingerprint(&its.class, &its.object) == fingerprint(&others.class, &others.object);
        Some(match is_known || is_same {
            true => Self::Cause,
            false if its.object.kind == others.object.kind => Self::Kind,
            false => Self::Class,
        })
    }

    fn told(self) -> &'static str {
        match self {
            Self::Cause => "same cause",
            Self::Kind => "same kind of cause",
            Self::Class => "same class of cause",
        }
    }
}

/// The `most` of them that are closest to `incident`, of each kinship the newest.
fn closest<'i>(
    incident: &Incident,
    others: impl Iterator<Item = &'i Incident>,
    most: usize,
) -> Vec<(Kinship, Incident)> {
    let mut akin: Vec<_> = others.filter_map(|other| Some((Kinship::of(incident, other)?, other))).collect();
    akin.sort_by(|(a, one), (b, other)| (a, other.opened_at, &one.id).cmp(&(b, one.opened_at, &other.id)));
    akin.dedup_by(|(_, one), (_, other)| one.id == other.id);
    akin.into_iter().take(most).map(|(kinship, other)| (kinship, other.clone())).collect()
}

/// What is known without the archive, and where that is asked.
pub(super) fn before(visit: &Visit, incident: &Incident) -> Markup {
    let look = |held: &Held| {
        let heads = visit.ended(held).chain(visit.open(held)).map(|shown| &shown.head);
        closest(incident, heads, HELD)
    };
    let akin = visit.console.board.look(look);
    let is_listed = |id: &&String| !akin.iter().any(|(_, other)| other.id == **id);
    let gone: Vec<&String> = incident.recurrence.previous.iter().filter(is_listed).collect();
    let address = format!("{}/past", incident_address(&incident.id));
    html! {
        (recalled(&incident.recurrence))
        (list(incident, &akin))
        @if !gone.is_empty() { p { "Earlier ones: " @for id in gone { a href=(incident_address(id)) { (id) } " " } } }
        @if past::is_there(&visit.console.past) { p #past data-load=(address) { a href=(address) { "Look for its like in the archive" } } }
    }
}

/// What the engine has told of earlier incidents of the same cause.
fn recalled(recurrence: &Recurrence) -> Markup {
    let Recurrence { count, first_at, last_at, period_ms, hours, place, scaled_up, ended, novelty, .. } = recurrence;
    if last_at.is_none() && *count == 0 {
        let what = match novelty {
            Novelty::Cluster => "It is the first of its kind in its cluster.",
            Novelty::Object => "It is the first of its kind on this object.",
            Novelty::Known => "This cause has not been there before, as far as is known.",
        };
        return html! { p.faint { (what) } };
    }
    let of = |part: i64| (*count > 1).then(|| format!(", {part} of {count}"));
    html! {
        dl.facts {
            dt { "How often" }
            dd {
                @match count {
                    0 => "not in the 30 days before, but earlier",
                    1 => { b { "once" } " in the 30 days before, with the same cause" }
                    count => { b { (count) " times" } " in the 30 days before, with the same cause" }
                }
                @if let Some(period) = period_ms { ", about every " (span(*period)) }
            }
            dt { "When" }
            dd {
                @if let Some(last) = last_at { "last on " (day_and_minute(*last)) }
                @if let Some(first) = first_at.filter(|first| Some(*first) != *last_at) { ", first on " (day_and_minute(first)) }
                @if let Some(hours) = hours { p { "Mostly " b { (hours) } @if let Some(of) = of(hours.count) { (of) } } }
            }
            @if let Some(place) = place {
                dt { "Where" }
                dd { "on " b { (place.object) } @if let Some(of) = of(place.count) { (of) } }
            }
            @if *scaled_up > 0 {
                dt { "Traffic" }
                dd { "under load: soon after an autoscaler had added pods" @if let Some(of) = of(*scaled_up) { (of) } }
            }
            @if let Some(ended) = ended {
                dt { "Its end" }
                dd { @if *count > 1 { "the last one" } @else { "it" } " ended on " (day_and_minute(ended.at)) " after " b { (span(ended.lasted_ms)) } (ended.because()) }
            }
        }
    }
}

fn list(incident: &Incident, akin: &[(Kinship, Incident)]) -> Markup {
    html! { @if !akin.is_empty() { ul.like { @for (kinship, other) in akin { (like(incident, *kinship, other)) } } } }
}

/// An incident of before: when, for how long, and what was done about it.
fn like(incident: &Incident, kinship: Kinship, other: &Incident) -> Markup {
    let said: Vec<&Note> = other.notes.iter().rev().filter(|note| note.act != Act::Unacknowledge).take(SAID).collect();
    html! {
        li {
            a href=(incident_address(&other.id)) { (other.title) }
            p.faint {
                (kinship.told())
                @if other.cluster != incident.cluster && other.cluster != FLEET { " in cluster " (other.cluster) }
                ", " (day_and_minute(other.opened_at)) ", " (fate(other))
            }
            @for note in said { div.fix { (self::note(note)) } }
        }
    }
}

/// How it went on with it.
fn fate(incident: &Incident) -> String {
    if incident.state == IncidentState::Open {
        return "open".to_owned();
    }
    let lasted = span(ended_at(incident).millis_since(incident.opened_at));
    match incident.notes.iter().rfind(|note| matches!(note.act, Act::Resolve | Act::Wrong)) {
        Some(note) => format!("ended by {} after {lasted}", note.by),
        None => format!("over by itself after {lasted}"),
    }
}

/// The part of the page that comes from the archive: what was like it, long before.
pub(crate) async fn past(visit: &Visit, id: &str) -> Page {
    let incident = match find(visit, id).await {
        Ok(Some((incident, _))) => incident,
        Ok(None) => {
            let why = format!("There is no incident {id}.");
            return trouble(visit, Part::Incidents, StatusCode::NOT_FOUND, TITLE, &why);
        }
        Err(error) => return trouble(visit, Part::Incidents, error.status, TITLE, &error.why),
    };
    let found = if past::is_there(&visit.console.past) { Some(past::like(visit, &incident).await) } else { None };
    let body = html! {
        p.crumbs { a href="/" { "Incidents" } " / " a href=(incident_address(id)) { (id) } }
        h1 { (TITLE) }
        @match &found {
            None => (without_past("What was like it long before is not known here.")),
            Some(Err(error)) => p #past { (error.why) },
            Some(Ok(found)) => div #past { (archived(&incident, found)) },
        }
    };
    Draft { part: Part::Incidents, title: TITLE.to_owned(), live: None, body }.page(visit)
}

fn archived(incident: &Incident, found: &[Incident]) -> Markup {
    let akin = closest(incident, found.iter(), ARCHIVED);
    let same = akin.iter().filter(|(kinship, _)| *kinship == Kinship::Cause).count();
    html! {
        @if akin.is_empty() { p.faint { "The archive has none like it in a year." } }
        @else {
            p {
                "In the archive, of a year: " b { (same) @if same == ARCHIVED { " or more" } } " with the same cause"
                @if akin.len() > same { ", and others of class " code { (incident.cause.class) } }
            }
            (list(incident, &akin))
        }
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::ObjectRef;

    use super::*;

    fn incident(id: &str, class: &str, object: ObjectRef) -> Incident {
        let mut incident = Incident { id: id.into(), cluster: "c".into(), ..Incident::default() };
        (incident.cause.class, incident.cause.object) = (class.into(), object);
        incident
    }

    #[test]
    fn the_closest_come_first() {
        let pod = |name: &str| ObjectRef::named("Pod", "shop", name);
        let mut now = incident("now", "crash.oom", pod("web-7d9f6c5b8d-x2x9k"));
        now.recurrence.previous = vec!["known".into()];
        let others = [
            incident("class", "crash.oom", ObjectRef::named("Job", "shop", "web")),
            incident("kind", "crash.oom", pod("api-7d9f6c5b8d-bcdfg")),
            incident("other", "node.not_ready", ObjectRef::named("Node", "", "n1")),
            incident("same", "crash.oom", pod("web-5c6d7f8b9c-zzzzz")),
            incident("known", "crash.exit", pod("web-7d9f6c5b8d-x2x9k")),
            now.clone(),
            Incident { state: IncidentState::Merged, ..incident("merged", "crash.oom", pod("web-7d9f6c5b8d-zzzzz")) },
            Incident { cluster: "d".into(), ..incident("away", "crash.oom", pod("web-7d9f6c5b8d-x2x9k")) },
        ];
        let found = closest(&now, others.iter(), 10);
        let found: Vec<_> = found.iter().map(|(kinship, other)| (other.id.as_str(), *kinship)).collect();
        let (cause, kind, class) = (Kinship::Cause, Kinship::Kind, Kinship::Class);
        assert_eq!(found, [("known", cause), ("same", cause), ("away", kind), ("kind", kind), ("class", class)]);
        assert_eq!(closest(&now, others.iter(), 2).len(), 2);
    }
}
