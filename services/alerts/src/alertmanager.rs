//! Alertmanager's API: `POST /api/v2/alerts` (prometheus/alertmanager `api/v2/openapi.yaml`, `postableAlerts`).

use std::collections::BTreeMap;

use epicenter_model::Timestamp;
use serde_json::{Value, json};

use crate::notice::{Kind, Notice};

/// Alertmanager takes an alert for over that long after it was posted last, ms: several posts may be lost.
const ALIVE: i64 = 5 * 60 * 1000;

/// `notices` as alerts that fire until [`ALIVE`] after `now`, or have ended.
pub(crate) fn body(notices: &[&Notice], now: Timestamp) -> String {
    let mut alerts = Vec::new();
    for notice in notices {
        if let Some(before) = &notice.before {
            // To Alertmanager other labels are another alert: the former one ends.
            alerts.push(alert(notice, before, now));
        }
        let ends = match notice.kind {
            Kind::Resolved => notice.incident.resolved_at.unwrap_or(notice.at),
            Kind::Firing | Kind::Worse | Kind::Repeat => now.plus_millis(ALIVE),
        };
        alerts.push(alert(notice, &notice.labels, ends));
    }
    Value::from(alerts).to_string()
}

/// The alert that always fires.
pub(crate) fn watchdog(now: Timestamp, alive_ms: i64) -> String {
    json!([{
        "labels": {"alertname": "EpicenterWatchdog", "severity": "none"},
        "annotations": {"summary": "Epicenter works. When this alert ends, its pipeline stands still."},
        "endsAt": now.plus_millis(alive_ms).to_string(),
    }])
    .to_string()
}

fn alert(notice: &Notice, labels: &BTreeMap<String, String>, ends: Timestamp) -> Value {
    json!({
        "labels": labels,
        "annotations": {
            "summary": notice.incident.title,
            "description": notice.description(),
            "command": notice.command(),
        },
        "startsAt": notice.incident.opened_at.to_string(),
        // It must not end before it begins, whatever the clocks say.
        "endsAt": ends.max(notice.incident.opened_at.plus_millis(1)).to_string(),
    })
}
