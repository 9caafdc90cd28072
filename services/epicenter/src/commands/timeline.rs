//! `epicenter timeline`.

use std::process::ExitCode;

use console::Term;
use epicenter_model::{EnrichedEvent, Incident};
use serde_json::json;

use super::show;
use crate::cli::Document;
use crate::render::{self, Paint};
use crate::settings::Settings;
use crate::view::View;

/// Columns, where there is no terminal.
const PLAIN: usize = 100;
/// Events that are looked through for an incident's, and drawn of it.
const EVENTS: usize = 10_000;

pub(super) async fn run(settings: &Settings, id: &str, output: Document) -> anyhow::Result<ExitCode> {
    let (incident, events) = found(settings, id).await?;
    let width = Term::stdout().size_checked().map_or(PLAIN, |(_, columns)| columns.into());
    show(output, &json!({"incident": incident, "events": events}), || {
        render::timeline(&incident, &events, width, Paint::detect())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The incident as it is now, else as the archive has it; its Events from the archive, else from the log.
async fn found(settings: &Settings, id: &str) -> anyhow::Result<(Incident, Vec<EnrichedEvent>)> {
    let live = async {
        let view = View::open(settings).await?;
        let incident = super::incidents::one(view.incidents_like(id).await?, id)?;
        anyhow::Ok((view, incident))
    };
    match live.await {
        Ok((view, incident)) => {
            if let Some((_, events)) = archived(settings, &incident.id).await? {
                return Ok((incident, events));
            }
            let mut events = view.events(EVENTS).await?;
            let is_member = |event: &EnrichedEvent| {
                event.cluster == incident.cluster
                    && incident.members.iter().any(|member| member.event_uid == event.event.uid)
            };
            events.retain(is_member);
            Ok((incident, events))
        }
        Err(error) => archived(settings, id).await?.ok_or(error),
    }
}

#[cfg(not(feature = "archive"))]
async fn archived(_: &Settings, _: &str) -> anyhow::Result<Option<(Incident, Vec<EnrichedEvent>)>> {
    Ok(None)
}

/// The only incident in the archive whose id begins so, with its Events; `None` when there is none, or no archive.
#[cfg(feature = "archive")]
async fn archived(settings: &Settings, id: &str) -> anyhow::Result<Option<(Incident, Vec<EnrichedEvent>)>> {
    use std::num::NonZeroU32;

    use epicenter_archive::ArchiveError;
    use epicenter_archive::ask::{Filter, Row};
    use epicenter_model::Timestamp;
    use serde_json::Value;

    const TWO: NonZeroU32 = NonZeroU32::new(2).expect("it is not 0");
    const MOST: NonZeroU32 = NonZeroU32::new(EVENTS as u32).expect("it is not 0");

    if settings.bus.is_kafka() && settings.archive.location.is_empty() {
        return Ok(None);
    }
    let archive = crate::archive::open_here(settings).await?;
    let id = if id.starts_with("epc-") { id.to_owned() } else { format!("epc-{id}") };
    let now = epicenter_runtime::now();
    let ever = Filter { from: Timestamp::default(), incident: vec![id.clone()], ..Filter::new(now) };
    let page = match archive.incidents(&ever, TWO, None).await {
        Err(ArchiveError::Absent { .. }) => return Ok(None),
        page => page?,
    };
    let record = |row: &Row| row.get("record").cloned().unwrap_or(Value::Null);
    let incident = match &page.rows[..] {
        [] => return Ok(None),
        [row] => serde_json::from_value::<Incident>(record(row)["incident"].take())?,
        _ => anyhow::bail!("several incidents begin with {id}; write more of the id"),
    };
    let its = Filter { incident: vec![incident.id.clone()], ..ever };
    let page = archive.events(&its, MOST, None).await?;
    let events: Vec<EnrichedEvent> =
        page.rows.iter().map(|row| serde_json::from_value(record(row))).collect::<Result<_, _>>()?;
    Ok((!events.is_empty()).then_some((incident, events)))
}
