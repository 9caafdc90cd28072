//! `epicenter incidents`, `show` and `events`.

use std::process::ExitCode;

use anyhow::bail;
use epicenter_model::IncidentState;

use super::{print, print_json};
use crate::cli::{Document, Incidents, Listing};
use crate::render::{self, Columns, Paint};
use crate::settings::Settings;
use crate::view::View;

pub(super) async fn list(settings: &Settings, arguments: &Incidents) -> anyhow::Result<ExitCode> {
    let mut incidents = View::open(settings).await?.incidents().await?;
    let all = incidents.len();
    if !arguments.all {
        incidents.retain(|incident| incident.state == IncidentState::Open);
    }
    match arguments.output {
        Listing::Json => print_json(&incidents)?,
        _ if incidents.is_empty() && all > 0 => print(&format!("none is open; --all shows {all} that are over\n"))?,
        _ if incidents.is_empty() => print("there are no incidents\n")?,
        Listing::Table => print(&render::incidents(&incidents, Columns::Narrow, Paint::detect()))?,
        Listing::Wide => print(&render::incidents(&incidents, Columns::Wide, Paint::detect()))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(settings: &Settings, id: &str, why: bool, output: Document) -> anyhow::Result<ExitCode> {
    let incidents = View::open(settings).await?.incidents().await?;
    let named = |wanted: &str| incidents.iter().filter(|incident| incident.id.starts_with(wanted)).collect::<Vec<_>>();
    let found = match named(id) {
        found if found.is_empty() => named(&format!("epc-{id}")),
        found => found,
    };
    match found.as_slice() {
        [] => bail!("there is no incident {id}; `epicenter incidents --all` lists them"),
        [one] => match output {
            Document::Json => print_json(one)?,
            Document::Text if why => {
                let rules = crate::rules::configured(&settings.rules)?.causal;
                print(&render::explained(one, &rules, Paint::detect()))?;
            }
            Document::Text => print(&render::detail(one, true, Paint::detect()))?,
        },
        several => bail!("{} incidents begin with {id}; write more of the id", several.len()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn events(settings: &Settings, limit: usize, output: Document) -> anyhow::Result<ExitCode> {
    let events = View::open(settings).await?.events(limit).await?;
    if output == Document::Json {
        print_json(&events)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = Paint::detect();
    for event in &events {
        let severity = paint.severity(event.severity, &format!("{:<8}", event.severity));
        let note: String = event.event.note.lines().next().unwrap_or_default().chars().take(100).collect();
        print(&format!(
            "{}  {severity}  {:<28}  {} {}  ×{}  {note}\n",
            render::instant(event.occurred_at),
            event.class,
            event.event.regarding,
            event.event.reason,
            event.occurrences,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
