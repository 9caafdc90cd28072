//! Prints incidents as they form.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_bus::{Fault, Reader, Record, Stop};
use epicenter_model::{Codec, IncidentChange, Severity, Transition};

use super::print;
use crate::render::{Paint, instant};

const WAIT: Duration = Duration::from_millis(250);

/// Follows `incident.changes` until `stop`. Blocks.
pub(super) fn run(mut changes: Reader, stop: &Stop) -> Result<(), Fault> {
    let codec = Codec::single_object();
    let paint = Paint::detect();
    let mut shown = BTreeMap::new();
    while !stop.requested() {
        let Some(record) = next(&mut changes)? else { continue };
        let payload = record.payload.as_deref().unwrap_or_default();
        match codec.decode::<IncidentChange>(payload) {
            Ok(change) => {
                if let Some(line) = line(&change, &mut shown, paint)
                    && let Err(error) = print(&line)
                {
                    tracing::warn!(%error, "incidents are no longer printed");
                }
            }
            Err(error) => tracing::warn!(%error, offset = record.offset, "a change that cannot be read"),
        }
    }
    Ok(())
}

/// The next record; what passes counts as none.
fn next(changes: &mut Reader) -> Result<Option<Record>, Fault> {
    match changes.next(WAIT) {
        Err(Fault::Retry { what, why }) => {
            tracing::debug!(what, why, "reading again");
            Ok(None)
        }
        outcome => outcome,
    }
}

/// What a line said of an incident.
#[derive(PartialEq)]
pub(super) struct Shown {
    severity: Severity,
    title: String,
    acknowledged: bool,
    silent: bool,
}

/// The line for a change, if it says something new.
pub(super) fn line(change: &IncidentChange, shown: &mut BTreeMap<String, Shown>, paint: Paint) -> Option<String> {
    let incident = &change.incident;
    let (acknowledged, silent) = (incident.acknowledged.as_ref(), incident.silenced.as_ref());
    let face = Shown {
        severity: incident.severity,
        title: incident.title.clone(),
        acknowledged: acknowledged.is_some(),
        silent: silent.is_some(),
    };
    let before = match change.transition {
        Transition::Resolved | Transition::Merged => shown.remove(&incident.id),
        _ => shown.insert(incident.id.clone(), face),
    };
    if change.transition == Transition::Updated && before.as_ref() == shown.get(&incident.id) {
        return None;
    }
    let into = incident.merged_into.as_ref().map_or_else(String::new, |into| format!(" → {into}"));
    let by = acknowledged.map_or_else(String::new, |note| format!(" (acknowledged by {})", note.by));
    let hushed = silent.map_or_else(String::new, |it| format!(" (silent until {}, by {})", instant(it.until), it.by));
    let past = if change.backfill { " (was there before)" } else { "" };
    let severity = format!("{:<8}", incident.severity);
    let what = format!("{:<8}", change.transition);
    let quiet = matches!(change.transition, Transition::Resolved | Transition::Merged);
    Some(format!(
        "{}  {}  {}  {}  {}{into}{past}{by}{hushed}\n",
        paint.faint(&instant(change.at)),
        if quiet { paint.faint(&what) } else { paint.strong(&what) },
        if quiet { paint.faint(&severity) } else { paint.severity(incident.severity, &severity) },
        incident.id,
        incident.title,
    ))
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Incident, Note};

    use super::*;

    #[test]
    fn says_only_what_is_new() {
        let mut shown = BTreeMap::new();
        let mut says = |transition, title: &str, by: Option<&str>| {
            let acknowledged = by.map(|by| Note { by: by.into(), ..Note::default() });
            let incident = Incident { id: "epc-a".into(), title: title.into(), acknowledged, ..Incident::default() };
            let change = IncidentChange { transition, incident, ..IncidentChange::default() };
            line(&change, &mut shown, Paint::PLAIN).is_some()
        };
        assert!(says(Transition::Opened, "a", None));
        assert!(!says(Transition::Updated, "a", None));
        assert!(says(Transition::Updated, "b", None));
        assert!(says(Transition::Updated, "b", Some("anna")));
        assert!(!says(Transition::Updated, "b", Some("anna")));
        assert!(says(Transition::Updated, "b", None));
        assert!(says(Transition::Resolved, "b", None));
        assert!(says(Transition::Reopened, "b", None));
    }
}
