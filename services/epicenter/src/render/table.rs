//! Incidents, and rules, as a table, a line each.

use epicenter_correlate::Listed;
use epicenter_model::{Incident, IncidentState, Novelty, Silence};

use super::{Paint, instant, span};

/// How many columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// What fits on a terminal.
    Narrow,
    /// Cause, confidence and cluster too.
    Wide,
}

/// The table of `incidents`, in their order.
pub fn incidents(incidents: &[Incident], columns: Columns, paint: Paint) -> String {
    let mut head = vec!["ID", "SEVERITY", "STATE", "CATEGORY", "OPENED", "LASTED", "BEFORE", "EVENTS", "PODS"];
    if columns == Columns::Wide {
        head.extend(["CLUSTER", "CAUSE", "OBJECT", "SURE"]);
    }
    head.push("TITLE");
    let rows: Vec<Vec<String>> = incidents.iter().map(|incident| row(incident, columns)).collect();
    table(&head, &rows, paint, |row, column, cell| match column {
        1 => paint.severity(incidents[row].severity, cell),
        2 if incidents[row].state != IncidentState::Open => paint.faint(cell),
        _ => cell.to_owned(),
    })
}

/// The table of silences, in their order.
pub fn silences(silences: &[Silence], paint: Paint) -> String {
    let row = |silence: &Silence| {
        let it = &silence.matcher;
        let object = if it.name.is_empty() { it.kind.clone() } else { format!("{}/{}", it.kind, it.name) };
        let severity = it.severity.map(|severity| severity.to_string()).unwrap_or_default();
        let parts = [
            ("incident", &it.incident),
            ("namespace", &it.namespace),
            ("class", &it.class),
            ("object", &object),
            ("severity", &severity),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let what = if parts.is_empty() { "all".to_owned() } else { parts.join(" ") };
        let (from, until) = (instant(silence.starts_at), instant(silence.ends_at));
        vec![silence.id.clone(), silence.cluster.clone(), from, until, silence.by.clone(), what, silence.why.clone()]
    };
    let rows: Vec<Vec<String>> = silences.iter().map(row).collect();
    table(&["ID", "CLUSTER", "FROM", "UNTIL", "BY", "INCIDENTS", "WHY"], &rows, paint, |_, _, cell| cell.to_owned())
}

/// Where an incident is in its life, and what people made of that.
fn state(incident: &Incident) -> &'static str {
    match incident.state {
        IncidentState::Open if incident.silenced.is_some() => "silent",
        IncidentState::Open if incident.acknowledged.is_some() => "acked",
        state => state.name(),
    }
}

/// How often it was there in the 30 days before.
fn before(incident: &Incident) -> String {
    match (incident.recurrence.count, incident.recurrence.novelty) {
        (0, Novelty::Known) => "-".to_owned(),
        (0, _) => "first".to_owned(),
        (count, _) => format!("{count}×"),
    }
}

/// The table of rules and classes.
pub fn rules(listed: &[Listed], paint: Paint) -> String {
    let row = |it: &Listed| vec![it.section.to_owned(), it.name.clone(), it.from.clone(), it.says.clone()];
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    table(&["SECTION", "NAME", "FROM", "SAYS"], &rows, paint, |_, _, cell| cell.to_owned())
}

/// What rows of the archive add up to: objects of JSON with the members `columns`.
pub fn groups(columns: &[&str], rows: &[serde_json::Map<String, serde_json::Value>], paint: Paint) -> String {
    use serde_json::Value;

    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        Some(other) => other.to_string(),
    };
    let head: Vec<_> = columns.iter().map(|column| column.to_uppercase()).collect();
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(row.get(*column))).collect()).collect();
    table(&head, &rows, paint, |_, _, cell| cell.to_owned())
}

/// Rows under a head, each column as wide as it must be; `dye` gives row, column and padded cell their colour.
fn table(head: &[&str], rows: &[Vec<String>], paint: Paint, dye: impl Fn(usize, usize, &str) -> String) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |cells: &[&str], dye: &dyn Fn(usize, &str) -> String| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = if column + 1 == head.len() { 0 } else { widths[column] };
            dye(column, &format!("{cell:<width$}"))
        });
        padded.collect::<Vec<_>>().join("  ") + "\n"
    };
    let mut text = line(head, &|_, cell| paint.strong(cell));
    for (number, cells) in rows.iter().enumerate() {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        text += &line(&cells, &|column, cell| dye(number, column, cell));
    }
    text
}

fn row(incident: &Incident, columns: Columns) -> Vec<String> {
    let end = incident.resolved_at.unwrap_or(incident.last_event_at);
    let mut cells = vec![
        incident.id.clone(),
        incident.severity.to_string(),
        state(incident).to_owned(),
        incident.category.to_string(),
        instant(incident.opened_at),
        span(end.millis_since(incident.opened_at)),
        before(incident),
        incident.events.objects.to_string(),
        incident.impact.pods.to_string(),
    ];
    if columns == Columns::Wide {
        let sure = format!("{:.0}%", incident.cause.confidence * 100.0);
        cells.extend([incident.cluster.clone(), incident.cause.class.clone(), incident.cause.object.to_string(), sure]);
    }
    cells.push(incident.title.clone());
    cells
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Recurrence, Severity, Timestamp};

    use super::*;

    #[test]
    fn lines_up() {
        let incident = Incident {
            id: "epc-abc".into(),
            severity: Severity::High,
            title: "Pod p cannot start".into(),
            opened_at: Timestamp::from_millis(0),
            last_event_at: Timestamp::from_millis(61_000),
            recurrence: Recurrence { count: 4, ..Recurrence::default() },
            ..Incident::default()
        };
        let expected = "\
ID       SEVERITY  STATE  CATEGORY  OPENED                LASTED  BEFORE  EVENTS  PODS  TITLE
epc-abc  high      open   other     1970-01-01 00:00:00Z  1m1s    4×      0       0     Pod p cannot start
";
        assert_eq!(incidents(&[incident], Columns::Narrow, Paint::PLAIN), expected);
    }
}
