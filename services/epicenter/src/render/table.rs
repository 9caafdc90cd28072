//! Incidents as a table, a line each.

use epicenter_model::{Incident, IncidentState};

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
    let mut head = vec!["ID", "SEVERITY", "STATE", "CATEGORY", "OPENED", "LASTED", "EVENTS", "PODS"];
    if columns == Columns::Wide {
        head.extend(["CLUSTER", "CAUSE", "OBJECT", "SURE"]);
    }
    head.push("TITLE");
    let rows: Vec<Vec<String>> = incidents.iter().map(|incident| row(incident, columns)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |cells: Vec<String>, paint_cell: &dyn Fn(usize, String) -> String| {
        let padded = cells.into_iter().enumerate().map(|(column, cell)| {
            let width = if column + 1 == head.len() { 0 } else { widths[column] };
            paint_cell(column, format!("{cell:<width$}"))
        });
        padded.collect::<Vec<_>>().join("  ") + "\n"
    };
    let mut text = line(head.iter().map(|cell| (*cell).to_owned()).collect(), &|_, cell| paint.strong(&cell));
    for (incident, cells) in incidents.iter().zip(rows) {
        text += &line(cells, &|column, cell| match column {
            1 => paint.severity(incident.severity, &cell),
            2 if incident.state != IncidentState::Open => paint.faint(&cell),
            _ => cell,
        });
    }
    text
}

fn row(incident: &Incident, columns: Columns) -> Vec<String> {
    let end = incident.resolved_at.unwrap_or(incident.last_event_at);
    let mut cells = vec![
        incident.id.clone(),
        incident.severity.to_string(),
        incident.state.to_string(),
        incident.category.to_string(),
        instant(incident.opened_at),
        span(end.millis_since(incident.opened_at)),
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
    use epicenter_model::{Severity, Timestamp};

    use super::*;

    #[test]
    fn lines_up() {
        let incident = Incident {
            id: "epc-abc".into(),
            severity: Severity::High,
            title: "Pod p cannot start".into(),
            opened_at: Timestamp::from_millis(0),
            last_event_at: Timestamp::from_millis(61_000),
            ..Incident::default()
        };
        let expected = "\
ID       SEVERITY  STATE  CATEGORY  OPENED                LASTED  EVENTS  PODS  TITLE
epc-abc  high      open   other     1970-01-01 00:00:00Z  1m1s    0       0     Pod p cannot start
";
        assert_eq!(incidents(&[incident], Columns::Narrow, Paint::PLAIN), expected);
    }
}
