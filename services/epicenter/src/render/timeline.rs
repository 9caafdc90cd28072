//! One incident over time: a lane for each object, a mark for each of its Events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use epicenter_model::{EnrichedEvent, Incident, Timestamp};

use super::{Paint, instant, span};

/// The least width that is drawn in, columns.
const LEAST: usize = 60;
/// Columns for an object's name, and for its reasons, at most.
const NAME: usize = 36;
const REASONS: usize = 30;
/// Lanes, at most: those that begin first, and that of the root.
const LANES: usize = 40;

/// What an Event is in its incident: the most telling one last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Recovery,
    Change,
    Symptom,
    Cause,
    Root,
}

impl Mark {
    const ALL: [Self; 5] = [Self::Root, Self::Cause, Self::Symptom, Self::Change, Self::Recovery];

    fn of(role: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.name() == role)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cause => "cause",
            Self::Symptom => "symptom",
            Self::Change => "change",
            Self::Recovery => "recovery",
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Root => "◆",
            Self::Cause => "▲",
            Self::Symptom => "●",
            Self::Change => "○",
            Self::Recovery => "✓",
        }
    }
}

/// The Events of one object.
struct Lane<'e> {
    name: String,
    events: Vec<(Mark, &'e EnrichedEvent)>,
}

/// The incident with its `events`, `width` columns wide.
pub fn timeline(incident: &Incident, events: &[EnrichedEvent], width: usize, paint: Paint) -> String {
    let width = width.max(LEAST);
    let mut text = head(incident, paint);
    let lanes = lanes(incident, events);
    let times = events.iter().map(|event| event.occurred_at);
    let (Some(from), Some(to)) = (times.clone().min(), times.max()) else {
        text += "  No Events of it are kept; `epicenter show` tells what is known.\n";
        return text;
    };
    let to = incident.resolved_at.map_or(to, |end| end.max(to));
    let name = lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0).min(NAME).min(width / 3);
    let reasons = REASONS.min(width / 4);
    let track = width - name - reasons - 6;
    let column = |at: Timestamp| {
        let part = at.millis_since(from) as f64 / to.millis_since(from).max(1) as f64;
        ((part * (track - 1) as f64).round() as usize).min(track - 1)
    };
    let (begin, end) = (clock(from), clock(to));
    let gap = track.saturating_sub(begin.len() + end.len());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {:name$}  {}", "", paint.faint(&format!("{begin}{:gap$}{end}", "")));
    for lane in lanes.iter().take(LANES) {
        let drawn = draw(lane, track, column, paint);
        let reasons = shortened(&lane.reasons(), reasons);
        let label = format!("{:<name$}", shortened(&lane.name, name));
        let _ = writeln!(text, "{}", format!("  {label}  {drawn}  {}", paint.faint(&reasons)).trim_end());
    }
    let more = lanes.len().saturating_sub(LANES);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more objects");
    }
    let told: BTreeSet<&str> = events.iter().map(|event| event.event.uid.as_str()).collect();
    let untold = incident.events.objects - i64::try_from(told.len()).unwrap_or(i64::MAX);
    if untold > 0 {
        let _ = writeln!(text, "  and {untold} more Events");
    }
    let legend = Mark::ALL.map(|mark| format!("{} {}", mark.sign(), mark.name()));
    let _ = writeln!(text, "  {}", paint.faint(&legend.join("  ")));
    text
}

fn head(incident: &Incident, paint: Paint) -> String {
    let end = incident.resolved_at.unwrap_or(incident.last_event_at);
    let severity = paint.severity(incident.severity, &format!("● {}", incident.severity));
    let lasted = span(end.millis_since(incident.opened_at));
    let facts = format!("{}  {}  since {} ({lasted})", incident.id, incident.state, instant(incident.opened_at));
    format!("{severity}  {}\n  {}\n\n", paint.strong(&incident.title), paint.faint(&facts))
}

/// Those of the root first, then those that begin first.
fn lanes<'e>(incident: &Incident, events: &'e [EnrichedEvent]) -> Vec<Lane<'e>> {
    let roles: BTreeMap<&str, &str> =
        incident.members.iter().map(|member| (member.event_uid.as_str(), member.role.as_str())).collect();
    let mut by_object: BTreeMap<(&str, &str, &str), Vec<(Mark, &EnrichedEvent)>> = BTreeMap::new();
    for event in events {
        let object = &event.event.regarding;
        let is_root = object.full_name() == incident.cause.object.full_name() && event.class == incident.cause.class;
        // A document names 50 members; of others the catalogue says what they are.
        let mark = match roles.get(event.event.uid.as_str()).and_then(|role| Mark::of(role)) {
            Some(mark) => mark,
            None if is_root => Mark::Root,
            None => Mark::of(event.role.name()).unwrap_or(Mark::Symptom),
        };
        by_object.entry(object.full_name()).or_default().push((mark, event));
    }
    let mut lanes: Vec<_> = by_object
        .into_iter()
        .map(|((kind, namespace, name), mut events)| {
            events.sort_by_key(|(_, event)| event.occurred_at);
            let place = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
            Lane { name: format!("{kind} {place}{name}"), events }
        })
        .collect();
    let first = |lane: &Lane<'_>| lane.events.first().map(|(_, event)| event.occurred_at);
    let is_root = |lane: &Lane<'_>| lane.events.iter().any(|(mark, _)| *mark == Mark::Root);
    lanes.sort_by_key(|lane| (Reverse(is_root(lane)), first(lane), lane.name.clone()));
    lanes
}

impl Lane<'_> {
    /// `FailedMount ×9, Started`, the most frequent first.
    fn reasons(&self) -> String {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, event) in &self.events {
            *counts.entry(event.event.reason.as_str()).or_default() += event.occurrences;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        let told = counts.into_iter().map(|(reason, count)| match count {
            1 => reason.to_owned(),
            count => format!("{reason} ×{count}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// The marks of a lane, with a line from the first to the last.
fn draw(lane: &Lane<'_>, track: usize, column: impl Fn(Timestamp) -> usize, paint: Paint) -> String {
    let mut cells: BTreeMap<usize, (Mark, &EnrichedEvent)> = BTreeMap::new();
    for (mark, event) in &lane.events {
        let cell = cells.entry(column(event.occurred_at)).or_insert((*mark, event));
        if *mark > cell.0 {
            *cell = (*mark, event);
        }
    }
    let (first, last) = (cells.keys().next().copied(), cells.keys().next_back().copied());
    let cell = |at: usize| match cells.get(&at) {
        Some((mark, event)) => paint.severity(event.severity, mark.sign()),
        None if Some(at) > first && Some(at) < last => paint.faint("─"),
        None => " ".to_owned(),
    };
    (0..track).map(cell).collect()
}

/// The time of the day, UTC.
fn clock(at: Timestamp) -> String {
    instant(at).split(' ').nth(1).unwrap_or_default().to_owned()
}

fn shortened(text: &str, most: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.chars().count() {
        length if length <= most => text,
        _ => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Cause, Event, Member, ObjectRef, Role, Severity};

    use super::*;

    fn event(uid: &str, object: ObjectRef, reason: &str, seconds: i64, occurrences: i64) -> EnrichedEvent {
        EnrichedEvent {
            occurred_at: Timestamp::from_millis(seconds * 1000),
            occurrences,
            class: format!("class.{reason}"),
            role: if reason == "Started" { Role::Recovery } else { Role::Symptom },
            event: Event { uid: uid.into(), reason: reason.into(), regarding: object, ..Event::default() },
            ..EnrichedEvent::default()
        }
    }

    #[track_caller]
    fn check(width: usize, expected: &str) {
        let pod = |name: &str| ObjectRef::named("Pod", "shop", name);
        let node = ObjectRef::named("Node", "", "n1");
        let member = |uid: &str, role: &str| Member { event_uid: uid.into(), role: role.into(), ..Member::default() };
        let incident = Incident {
            id: "epc-abcdefghij".into(),
            severity: Severity::High,
            title: "Node n1 is not ready".into(),
            cause: Cause { class: "class.NodeNotReady".into(), object: node.clone(), ..Cause::default() },
            last_event_at: Timestamp::from_millis(100_000),
            members: vec![member("e1", "cause")],
            ..Incident::default()
        };
        let events = [
            event("e1", pod("web-1"), "Unhealthy", 0, 1),
            event("e2", node, "NodeNotReady", 10, 1),
            event("e3", pod("web-1"), "Unhealthy", 50, 8),
            event("e4", pod("web-1"), "Started", 100, 1),
            event("e5", pod("a-name-that-is-much-longer-than-any-column"), "Back\x1b[31mOff", 30, 1),
        ];
        assert_eq!(timeline(&incident, &events, width, Paint::PLAIN), expected);
    }

    #[test]
    fn draws_a_lane_for_each_object_that_of_the_root_first() {
        check(
            90,
            "\
● high  Node n1 is not ready
  epc-abcdefghij  open  since 1970-01-01 00:00:00Z (1m40s)

                                  00:00:00Z              00:01:40Z
  Node n1                            ◆                              NodeNotReady
  Pod shop/web-1                  ▲───────────────●──────────────✓  Unhealthy ×9, Started
  Pod shop/a-name-that-is-much-…           ●                        Back [31mOff
  ◆ root  ▲ cause  ● symptom  ○ change  ✓ recovery
",
        );
    }

    #[test]
    fn what_has_no_events_says_so() {
        let text = timeline(&Incident::default(), &[], 80, Paint::PLAIN);
        assert!(text.ends_with("No Events of it are kept; `epicenter show` tells what is known.\n"), "{text}");
    }
}
