//! When what happened to which object: a lane for each, drawn.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::{Incident, Timestamp, instant, span};
use maud::{Markup, html};

use super::{clipped, object};
use crate::board::Heard;

/// Lanes at most.
const LANES: usize = 24;
/// The drawing, px: names on the left, time beside them.
const NAMES: i64 = 290;
const WIDE: i64 = 1_100;
const LANE: i64 = 26;
const HEAD: i64 = 30;
/// Characters that a name has room for.
const NAME: usize = 42;
/// Dots that are nearer to each other become one, px.
const NEAR: i64 = 5;
/// Between marks of time, s.
const STEPS: [i64; 17] =
    [1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000];
const MARKS: i64 = 8;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dot {
    pub at: Timestamp,
    pub object: String,
    pub reason: String,
    pub role: String,
    pub occurrences: i64,
    /// Its Event is not held any more: the time follows from that of its cause.
    pub is_inferred: bool,
}

/// What happened in an incident, as far as times are known: those of its Events that are `heard`, else by the lags of its causes.
pub(super) fn dots(incident: &Incident, heard: &[Arc<Heard>]) -> Vec<Dot> {
    let mut by_uid: BTreeMap<&str, Vec<&Arc<Heard>>> = BTreeMap::new();
    for event in heard {
        by_uid.entry(&event.uid).or_default().push(event);
    }
    let mut first: BTreeMap<&str, Timestamp> =
        by_uid.iter().filter_map(|(uid, events)| Some((*uid, events.iter().map(|it| it.occurred_at).min()?))).collect();
    if let Some(root) = incident.members.iter().find(|member| member.role == "root") {
        first.entry(&root.event_uid).or_insert(incident.opened_at);
    }
    // Causes may stand behind what they brought about.
    for _ in 0..incident.members.len() {
        let before = first.len();
        for member in &incident.members {
            if let Some(because) = &member.because
                && let Some(cause) = first.get(because.parent.as_str()).copied()
            {
                first.entry(&member.event_uid).or_insert(cause.plus_millis(because.lag_ms));
            }
        }
        if first.len() == before {
            break;
        }
    }
    let mut dots = Vec::new();
    for member in &incident.members {
        let it = &member.regarding;
        let dot = |at, occurrences, is_inferred| Dot {
            at,
            object: object(&it.kind, &it.namespace, &it.name),
            reason: member.reason.clone(),
            role: member.role.clone(),
            occurrences,
            is_inferred,
        };
        match (by_uid.get(member.event_uid.as_str()), first.get(member.event_uid.as_str())) {
            (Some(events), _) => {
                dots.extend(events.iter().map(|event| dot(event.occurred_at, event.occurrences, false)))
            }
            (None, Some(at)) => dots.push(dot(*at, member.occurrences, true)),
            (None, None) => {}
        }
    }
    dots.sort_by(|a, b| (a.at, &a.object).cmp(&(b.at, &b.object)));
    dots
}

/// Draws them; nothing for none.
pub(super) fn lanes(incident: &Incident, dots: &[Dot]) -> Markup {
    let (Some(first), Some(last)) = (dots.first(), dots.last()) else { return html! {} };
    let (from, to) = (first.at.min(incident.opened_at), last.at.max(incident.resolved_at.unwrap_or(last.at)));
    let length = to.millis_since(from).max(1_000);
    let x = |at: Timestamp| NAMES + 12 + at.millis_since(from).max(0) * (WIDE - NAMES - 40) / length;
    let cause = incident.cause.object.to_string();
    let mut by_object: Vec<(&str, Vec<&Dot>)> = Vec::new();
    for dot in dots {
        match by_object.iter_mut().find(|(object, _)| *object == dot.object) {
            Some((_, dots)) => dots.push(dot),
            None => by_object.push((&dot.object, vec![dot])),
        }
    }
    // The cause first, whatever was heard of first.
    by_object.sort_by_key(|(object, _)| *object != cause);
    let more = by_object.len().saturating_sub(LANES);
    by_object.truncate(LANES);
    let high = HEAD + LANE * by_object.len() as i64 + 6;
    let what = format!("Timeline: {} objects from {} to {}", by_object.len() + more, instant(from), instant(to));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Timeline by object" {
            svg.lanes viewBox={ "0 0 " (WIDE) " " (high) } width=(WIDE) height=(high) role="img" aria-label=(what) {
                @for (at, label) in marks(from, length) {
                    line.mark x1=(x(at)) x2=(x(at)) y1=(HEAD - 6) y2=(high) {}
                    text.mark x=(x(at)) y="16" text-anchor="middle" { (label) }
                }
                @for (number, (object, dots)) in (0..).zip(&by_object) {
                    @let y = HEAD + LANE * number + LANE / 2;
                    @if *object == cause { rect.cause x="0" y=(y - LANE / 2) width=(WIDE) height=(LANE) {} }
                    line.lane x1=(NAMES) x2=(WIDE) y1=(y) y2=(y) {}
                    text.name x="4" y=(y + 4) { title { (object) } (clipped(object, NAME)) }
                    (lane(y, dots, &x))
                }
                @if let Some(at) = incident.resolved_at { line.end x1=(x(at)) x2=(x(at)) y1=(HEAD - 6) y2=(high) { title { "resolved " (instant(at)) } } }
            }
        }
        @if more > 0 { p.faint { "and " (more) " more objects" } }
    }
}

/// The dots of a lane, those that are near each other as one.
fn lane(y: i64, dots: &[&Dot], x: &impl Fn(Timestamp) -> i64) -> Markup {
    let mut groups: Vec<(i64, Vec<&Dot>)> = Vec::new();
    for dot in dots {
        match groups.last_mut() {
            Some((at, group)) if x(dot.at) - *at < NEAR => group.push(dot),
            _ => groups.push((x(dot.at), vec![dot])),
        }
    }
    html! {
        @for (x, group) in groups {
            // The one that matters most gives its colour.
            @let role = ["root", "cause", "change", "symptom", "recovery"].into_iter().find(|role| group.iter().any(|dot| dot.role == *role));
            @let times: i64 = group.iter().map(|dot| dot.occurrences).sum();
            @let class = format!("dot {}{}", role.unwrap_or("symptom"), if group.iter().all(|dot| dot.is_inferred) { " inferred" } else { "" });
            circle class=(class) cx=(x) cy=(y) r=(radius(times)) { title { (told(&group)) } }
        }
    }
}

fn told(group: &[&Dot]) -> String {
    let one = |dot: &&Dot| {
        let times = if dot.occurrences > 1 { format!(" ×{}", dot.occurrences) } else { String::new() };
        format!("{} {}{times} ({})", instant(dot.at), dot.reason, dot.role)
    };
    let mut lines: Vec<String> = group.iter().take(8).map(one).collect();
    if group.len() > 8 {
        lines.push(format!("and {} more", group.len() - 8));
    }
    lines.join("\n")
}

/// More often is larger, up to a bound, px.
fn radius(times: i64) -> i64 {
    match times {
        ..=1 => 5,
        2..=9 => 6,
        10..=99 => 7,
        _ => 8,
    }
}

/// Marks of time, and what is written there.
fn marks(from: Timestamp, length: i64) -> Vec<(Timestamp, String)> {
    let step =
        STEPS.into_iter().find(|step| length / (step * 1_000) <= MARKS).unwrap_or(STEPS[STEPS.len() - 1]) * 1_000;
    let first = (from.as_millis().div_euclid(step) + 1) * step;
    let label = |at: Timestamp| {
        let text = instant(at);
        // `2026-11-23 11:07:24Z`.
        let part = match step {
            86_400_000.. => 5..10,
            21_600_000.. => 5..16,
            60_000.. => 11..16,
            _ => 11..19,
        };
        text.get(part).unwrap_or_default().to_owned()
    };
    let all = (0..=MARKS).map(|number| Timestamp::from_millis(first + number * step));
    let mut marks: Vec<_> = all.filter(|at| at.millis_since(from) <= length).map(|at| (at, label(at))).collect();
    if marks.is_empty() {
        marks.push((from, span(length)));
    }
    marks
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Because, Member};

    use super::*;

    fn member(uid: &str, role: &str, parent: Option<(&str, i64)>) -> Member {
        let because = |(parent, lag_ms): (&str, i64)| Because { parent: parent.into(), lag_ms, ..Because::default() };
        Member {
            event_uid: uid.into(),
            role: role.into(),
            occurrences: 1,
            because: parent.map(because),
            ..Member::default()
        }
    }

    #[test]
    fn times_are_those_of_events_else_they_follow_from_causes() {
        let at = Timestamp::from_millis;
        let members = vec![
            member("c", "symptom", Some(("b", 2_000))),
            member("b", "symptom", Some(("a", 1_000))),
            member("a", "root", None),
            member("x", "recovery", None),
        ];
        let incident = Incident { members, opened_at: at(10_000), ..Incident::default() };
        let times = |heard: &[Arc<Heard>]| -> Vec<_> {
            dots(&incident, heard).iter().map(|dot| (dot.at.as_millis(), dot.is_inferred)).collect()
        };
        assert_eq!(times(&[]), [(10_000, true), (11_000, true), (13_000, true)]);
        let heard = Heard { uid: "b".into(), occurred_at: at(12_500), occurrences: 3, ..Heard::default() };
        assert_eq!(times(&[Arc::new(heard)]), [(10_000, true), (12_500, false), (14_500, true)]);
    }

    #[test]
    fn marks_are_few_and_round() {
        let from: Timestamp = "2026-11-23T11:07:24Z".parse().unwrap();
        let labels =
            |seconds: i64| marks(from, seconds * 1_000).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(
            labels(40),
            ["11:07:25", "11:07:30", "11:07:35", "11:07:40", "11:07:45", "11:07:50", "11:07:55", "11:08:00"]
        );
        assert_eq!(labels(660), ["11:08", "11:10", "11:12", "11:14", "11:16", "11:18"]);
        assert_eq!(labels(86_400 * 3)[0], "11-23 12:00");
        assert!(STEPS.iter().all(|step| labels(step * 5).len() as i64 <= MARKS + 1));
    }
}
