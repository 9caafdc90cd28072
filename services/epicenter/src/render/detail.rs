//! One incident, told.

use std::fmt::Write;

use epicenter_model::{FLEET, Incident, Novelty};

use super::{Paint, instant, span};

/// What people did to it and said of it.
fn said(incident: &Incident) -> impl Iterator<Item = String> + '_ {
    let because = |why: &str| if why.is_empty() { String::new() } else { format!(": {why}") };
    let looked_after = incident.acknowledged.iter();
    let looked_after =
        looked_after.map(move |it| format!("Acknowledged by {} at {}{}", it.by, instant(it.at), because(&it.text)));
    let silenced = incident.silenced.iter();
    let silenced = silenced.map(move |it| {
        format!("Silent until {} (silence {} by {}){}", instant(it.until), it.id, it.by, because(&it.why))
    });
    let notes = incident.notes.iter();
    let notes = notes.map(move |it| format!("{}  {} {}{}", instant(it.at), it.by, it.act, because(&it.text)));
    looked_after.chain(silenced).chain(notes)
}

/// The incidents that were there before: how many, and the newest; the explanation says more.
fn before(incident: &Incident) -> Option<String> {
    let known = &incident.recurrence;
    match (known.count, known.novelty) {
        (1.., _) => {
            let newest = known.previous.join(", ");
            let others = if known.count > known.previous.len() as i64 { ", …" } else { "" };
            Some(format!("Before: {} in 30 days ({newest}{others})", known.count))
        }
        (_, Novelty::Known) => None,
        (_, Novelty::Object) => Some("Before: none on this object".to_owned()),
        (_, Novelty::Cluster) => Some("Before: none in this cluster".to_owned()),
    }
}

/// An incident with its explanation, cause, impact and, when asked for, its members.
pub fn detail(incident: &Incident, members: bool, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let severity = paint.severity(incident.severity, &format!("● {}", incident.severity));
    let _ = writeln!(text, "{severity}  {}", paint.strong(&incident.title));
    let end = incident.resolved_at.unwrap_or(incident.last_event_at);
    let merged = incident.merged_into.as_ref().map_or_else(String::new, |into| format!(" into {into}"));
    let facts = format!(
        "{}  {}{merged}  {}  since {} ({})",
        incident.id,
        incident.state,
        incident.category,
        instant(incident.opened_at),
        span(end.millis_since(incident.opened_at)),
    );
    let _ = writeln!(text, "  {}", paint.faint(&facts));
    for sentence in &incident.explanation {
        let _ = writeln!(text, "  {sentence}");
    }
    let cause = &incident.cause;
    let seen = if cause.observed { "" } else { ", not observable" };
    let _ = writeln!(text, "  Cause: {} ({}{seen}), {:.0} % sure", cause.object, cause.class, cause.confidence * 100.0);
    for other in cause.candidates.iter().skip(1) {
        let _ = writeln!(text, "     or: {} ({}), {:.0} %", other.object, other.class, other.confidence * 100.0);
    }
    let impact = &incident.impact;
    let count = |n: i64, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
    let touched: Vec<String> =
        [count(impact.pods, "pod"), count(impact.workload_count, "workload"), count(impact.nodes, "node")]
            .into_iter()
            .flatten()
            .collect();
    if !touched.is_empty() {
        let places =
            if impact.namespaces.is_empty() { String::new() } else { format!(" in {}", impact.namespaces.join(", ")) };
        let _ = writeln!(text, "  Impact: {}{places}", touched.join(", "));
    }
    let mut reasons: Vec<_> = incident.events.by_reason.iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), reason.as_str()));
    let reasons: Vec<String> = reasons.iter().take(6).map(|(reason, count)| format!("{reason} {count}")).collect();
    let events = &incident.events;
    if incident.cluster != FLEET {
        let _ = writeln!(
            text,
            "  Events: {}, {} ({})",
            count(events.objects, "object").unwrap_or_else(|| "none".to_owned()),
            count(events.occurrences, "occurrence").unwrap_or_else(|| "none".to_owned()),
            reasons.join(", ")
        );
    } else if let Some(incidents) = count(events.objects, "incident") {
        let _ = writeln!(text, "  In the clusters: {incidents} ({})", reasons.join(", "));
    }
    if let Some(line) = before(incident) {
        let _ = writeln!(text, "  {line}");
    }
    for line in said(incident) {
        let _ = writeln!(text, "  {line}");
    }
    if members {
        for member in &incident.members {
            let object = &member.regarding;
            let because = member.because.as_ref().map_or_else(String::new, |because| {
                format!("  {} after {} ({:.0} %)", because.rule, span(because.lag_ms), because.score * 100.0)
            });
            let line = if incident.cluster == FLEET {
                format!("{} in cluster {}, {}{because}", member.name, object.name, member.reason)
            } else {
                format!(
                    "{:<8} {} {}/{} {} ×{}{because}",
                    member.role, member.reason, object.namespace, object.name, object.kind, member.occurrences
                )
            };
            let _ = writeln!(text, "    {}", paint.faint(&line));
        }
        if incident.truncated > 0 {
            let _ = writeln!(text, "    and {} more", incident.truncated);
        }
    }
    text
}
