//! `epicenter alerts check` and `alerts test`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use epicenter_alerts::{Desk, Notice, Receiver};
use epicenter_model::{IncidentChange, IncidentState, Timestamp, Transition};
use serde_json::json;

use super::replay::{texts, through, timeline};
use super::{block_on, print, show};
use crate::cli::Alerts;
use crate::engine::Engine;
use crate::pipeline::Heed;
use crate::settings::Settings;
use crate::view::View;

pub(super) fn run(settings: &Settings, what: Alerts) -> anyhow::Result<ExitCode> {
    match what {
        Alerts::Run => {}
        Alerts::Check { file } => {
            let alerts = crate::alerts::read(&file)?;
            let (receivers, rules) = (alerts.receivers.len(), alerts.rules.0.len());
            print(&format!("the file is right: {receivers} receiver(s), {rules} rule(s)\n"))?;
        }
        Alerts::Test { file, recordings, incident, output, cluster } => {
            let alerts = crate::alerts::read(&file)?;
            let changes = if recordings.is_empty() {
                present(settings)?
            } else {
                let texts = texts(&recordings)?;
                through(&Engine::configured(settings)?, timeline(&cluster, &texts)?, Heed::Changes)?.changes
            };
            let wanted = incident.unwrap_or_default();
            let changes: Vec<_> =
                changes.into_iter().filter(|change| change.incident.id.starts_with(&wanted)).collect();
            let mut told = Vec::new();
            for receiver in &alerts.receivers {
                let mut desk =
                    Desk::new(Arc::clone(&alerts.rules), &receiver.name, receiver.send_resolved, receiver.repeats());
                told.extend(notices(&mut desk, &changes).into_iter().map(|notice| (receiver, notice)));
            }
            told.sort_by(|(_, a), (_, b)| (a.at, &a.incident.id).cmp(&(b.at, &b.incident.id)));
            let rows: Vec<_> = told.iter().map(|(receiver, notice)| row(receiver, notice)).collect();
            let line = |(receiver, notice): &(&Arc<Receiver>, Notice)| {
                let (at, name, kind) = (notice.at, &receiver.name, notice.kind.name());
                format!("{at}  {name}  {kind}  {}  {}\n", notice.incident.id, notice.summary())
            };
            show(output, &rows, || match &told[..] {
                [] => "nobody would be told of anything\n".to_owned(),
                told => told.iter().map(line).collect(),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The incidents of this installation, as if all of each had been heard at once.
fn present(settings: &Settings) -> anyhow::Result<Vec<IncidentChange>> {
    let mut incidents = Vec::new();
    block_on(async {
        incidents = View::open(settings).await?.incidents().await?;
        Ok(ExitCode::SUCCESS)
    })?;
    let mut changes = Vec::new();
    for incident in incidents {
        let (at, backfill) = (incident.opened_at, incident.backfill);
        let change =
            |at, transition, incident| IncidentChange { at, transition, backfill, incident, ..Default::default() };
        let mut open = incident.clone();
        (open.state, open.version) = (IncidentState::Open, incident.version - 1);
        changes.push(change(at, Transition::Opened, open));
        if incident.state != IncidentState::Open {
            let end = incident.resolved_at.unwrap_or(incident.last_event_at);
            changes.push(change(end, Transition::Resolved, incident));
        }
    }
    changes.sort_by_key(|change| change.at);
    Ok(changes)
}

/// What would have been told, by the log's time.
fn notices(desk: &mut Desk, changes: &[IncidentChange]) -> Vec<Notice> {
    let mut told = Vec::new();
    let mut tell = |desk: &mut Desk, at: Timestamp| {
        while let Some(notice) = desk.next(None, at) {
            desk.done(&notice, at);
            told.push(notice);
        }
    };
    let mut now = None;
    for change in changes {
        // Notices that time alone brings come when they are due, to the second.
        step(now, change.at, |at| tell(desk, at));
        tell(desk, change.at);
        desk.take(change);
        tell(desk, change.at);
        now = Some(change.at);
    }
    // What is open at the end is told when its wait is over.
    step(now, now.unwrap_or_default().plus_millis(END.as_millis() as i64), |at| tell(desk, at));
    told
}

/// How much longer than its last change a log is looked at.
const END: Duration = Duration::from_secs(3600);

fn step(from: Option<Timestamp>, to: Timestamp, mut tell: impl FnMut(Timestamp)) {
    let Some(mut at) = from else { return };
    while at.plus_millis(1000) < to {
        at = at.plus_millis(1000);
        tell(at);
    }
}

fn row(receiver: &Receiver, notice: &Notice) -> serde_json::Value {
    let text = receiver.text(notice);
    json!({
        "at": notice.at,
        "receiver": receiver.name,
        "kind": receiver.kind(),
        "notice": notice.kind.name(),
        "key": notice.key(),
        "incident": notice.incident.id,
        "summary": notice.summary(),
        "body": serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)),
    })
}
