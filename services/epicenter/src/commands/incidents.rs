//! `epicenter incidents`, `show` and `events`.

use std::process::ExitCode;

use anyhow::bail;
use epicenter_model::{EnrichedEvent, Incident, IncidentState};

use super::{print, print_json, print_yaml};
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
        Listing::Yaml => print_yaml(&incidents)?,
        _ if incidents.is_empty() && all > 0 => print(&format!("none is open; --all shows {all} that are over\n"))?,
        _ if incidents.is_empty() => print("there are no incidents\n")?,
        Listing::Table => print(&render::incidents(&incidents, Columns::Narrow, Paint::detect()))?,
        Listing::Wide => print(&render::incidents(&incidents, Columns::Wide, Paint::detect()))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(settings: &Settings, id: &str, why: bool, output: Document) -> anyhow::Result<ExitCode> {
    let one = one(View::open(settings).await?.incidents_like(id).await?, id)?;
    let rules = crate::rules::configured(&settings.rules)?.causal;
    super::show(output, &one, || match why {
        true => render::explained(&one, &rules, Paint::detect()),
        false => render::detail(&one, true, Paint::detect()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The only one whose id begins with `id`, which may be without `epc-`.
pub(super) fn one(incidents: Vec<Incident>, id: &str) -> anyhow::Result<Incident> {
    let begins = |incident: &Incident, with: &str| incident.id.starts_with(with);
    let whole = if incidents.iter().any(|incident| begins(incident, id)) { id.to_owned() } else { format!("epc-{id}") };
    let mut found: Vec<Incident> = incidents.into_iter().filter(|incident| begins(incident, &whole)).collect();
    match (found.pop(), found.len()) {
        (None, _) => bail!("there is no incident {id}; `epicenter incidents --all` lists them"),
        (Some(one), 0) => Ok(one),
        (Some(_), others) => bail!("{} incidents begin with {id}; write more of the id", others + 1),
    }
}

pub(super) async fn events(settings: &Settings, limit: usize, output: Document) -> anyhow::Result<ExitCode> {
    let events = View::open(settings).await?.events(limit).await?;
    super::show(output, &events, || events.iter().map(|event| line(event, Paint::detect())).collect())?;
    Ok(ExitCode::SUCCESS)
}

fn line(event: &EnrichedEvent, paint: Paint) -> String {
    let severity = paint.severity(event.severity, &format!("{:<8}", event.severity));
    let note: String = event.event.note.lines().next().unwrap_or_default().chars().take(100).collect();
    format!(
        "{}  {severity}  {:<28}  {} {}  ×{}  {note}\n",
        render::instant(event.occurred_at),
        event.class,
        event.event.regarding,
        event.event.reason,
        event.occurrences,
    )
}
