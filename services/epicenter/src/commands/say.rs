//! `epicenter ack`, `unack`, `note`, `resolve`, `wrong`, `merge`, `split`, `silence`, `unsilence` and `silences`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use epicenter_model::{Act, Action, Command, CommandError, Incident, Matcher, Severity, Silence, Timestamp};
use epicenter_runtime::now;
use tokio::time::Instant;

use super::{print, show};
use crate::cli::{self, Document, Said, Say};
use crate::render::{self, Paint};
use crate::settings::Settings;
use crate::view::View;

/// How long to wait until what was said is seen.
const DEADLINE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(settings: &Settings, what: Say) -> anyhow::Result<ExitCode> {
    let view = View::open(settings).await?;
    let command = command(&view, what).await?;
    let codec = settings.writer()?;
    let written = view.say(command, codec).await?;
    let done = done(&written);
    if matches!(view, View::Log(..)) && !settings.bus.is_kafka() {
        return print(&format!("written; {done} as soon as `epicenter up` runs again\n")).map(|()| ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + DEADLINE;
    while !is_seen(&view, &written).await? {
        ensure!(
            Instant::now() < deadline,
            "command {} is in the log of cluster {}, and was not carried out within {} s: it waits for the enricher and the \
             correlator, or it is in dead-letter with the reason",
            written.id,
            written.cluster,
            DEADLINE.as_secs()
        );
        tokio::time::sleep(LOOK).await;
    }
    print(&format!("{done}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What was typed, as a command.
async fn command(view: &View, what: Say) -> anyhow::Result<Command> {
    let (cluster, action, Said { message, by }) = match what {
        Say::Ack { id, said } => act(view, &id, Act::Acknowledge, said).await?,
        Say::Unack { id, said } => act(view, &id, Act::Unacknowledge, said).await?,
        Say::Note { id, text, by } => act(view, &id, Act::Note, Said { message: text, by }).await?,
        Say::Resolve { id, said } => act(view, &id, Act::Resolve, said).await?,
        Say::Wrong { id, said } => act(view, &id, Act::Wrong, said).await?,
        Say::Merge { id, with, said } => {
            let one = super::incidents::one(view.incidents_like(&id).await?, &id)?;
            let other = super::incidents::one(view.incidents_like(&with).await?, &with)?;
            ensure!(
                one.cluster == other.cluster,
                "{} is of cluster {}, and {} of {}: only incidents of one cluster can be one",
                one.id,
                one.cluster,
                other.id,
                other.cluster
            );
            (one.cluster, Action::Merge { id: one.id, with: other.id }, said)
        }
        Say::Split { id, object, said } => {
            let incident = super::incidents::one(view.incidents_like(&id).await?, &id)?;
            let objects = object.iter().map(|text| text.parse()).collect::<Result<_, CommandError>>()?;
            (incident.cluster, Action::Split { id: incident.id, objects }, said)
        }
        Say::Silence(arguments) => silence(view, arguments).await?,
        Say::Unsilence { id, said } => {
            let silences = view.silences().await?;
            let found: Vec<&Silence> = silences.iter().filter(|silence| silence.id.starts_with(&id)).collect();
            let one = match found[..] {
                [one] => one,
                [] => bail!("there is no silence {id}; `epicenter silences` lists them"),
                _ => bail!("{} silences begin with {id}; write more of the id", found.len()),
            };
            (one.cluster.clone(), Action::Unsilence { silence: one.id.clone() }, said)
        }
    };
    ensure!(!by.is_empty(), "say who you are: --by NAME, or set USER");
    let command =
        Command { cluster, at: Timestamp::default(), id: String::new(), by, given_at: now(), why: message, action };
    // What the log would refuse is refused here, with its own words.
    Ok(serde_json::from_value(serde_json::to_value(&command)?)?)
}

type Typed = (String, Action, Said);

async fn act(view: &View, id: &str, act: Act, said: Said) -> anyhow::Result<Typed> {
    let incident = super::incidents::one(view.incidents_like(id).await?, id)?;
    Ok((incident.cluster, Action::Incident { id: incident.id, act }, said))
}

async fn silence(view: &View, arguments: cli::Silence) -> anyhow::Result<Typed> {
    let cli::Silence { id, mut cluster, namespace, class, object, severity, all, from, until, duration, said } =
        arguments;
    let (kind, name) = object.split_once('/').unwrap_or((&object, ""));
    let named = |name: &String| {
        let names = Severity::ALL.iter().map(|severity| severity.name()).collect::<Vec<_>>().join(", ");
        let found = Severity::ALL.iter().find(|severity| severity.name() == name).copied();
        found.with_context(|| format!("{name} is no severity: there are {names}"))
    };
    let severity = severity.as_ref().map(named).transpose()?;
    let mut matcher =
        Matcher { incident: String::new(), namespace, class, kind: kind.to_owned(), name: name.to_owned(), severity };
    if let Some(id) = id {
        let incident = super::incidents::one(view.incidents_like(&id).await?, &id)?;
        (cluster, matcher.incident) = (incident.cluster, incident.id);
    }
    ensure!(
        all || matcher != Matcher::default(),
        "say of which incidents: an id, --namespace, --class, --object or --severity; --all for all of the cluster"
    );
    // Without one it begins at once, in log time.
    let starts_at: Timestamp = from.map(|from| from.parse()).transpose()?.unwrap_or_default();
    let ends_at = match (until, duration) {
        (Some(until), _) => until.parse()?,
        (None, duration) => {
            let text = duration.unwrap_or_default();
            let parsed: jiff::SignedDuration =
                text.parse().with_context(|| format!("{text} is no duration such as 30m or 2h"))?;
            let begins = if starts_at == Timestamp::default() { now() } else { starts_at };
            begins.plus_millis(i64::try_from(parsed.as_millis()).unwrap_or(i64::MAX))
        }
    };
    Ok((cluster, Action::Silence { matcher, starts_at, ends_at }, said))
}

async fn is_seen(view: &View, command: &Command) -> anyhow::Result<bool> {
    let listed = |silences: Vec<Silence>, id: &str| silences.iter().any(|silence| silence.id == id);
    Ok(match &command.action {
        // Of two that became one, the survivor has the note.
        Action::Incident { .. } | Action::Merge { .. } | Action::Split { .. } => {
            let said = |incident: &Incident| incident.notes.iter().any(|note| note.id == command.id);
            view.incidents().await?.iter().any(|incident| incident.cluster == command.cluster && said(incident))
        }
        Action::Silence { .. } => listed(view.silences().await?, &command.id),
        Action::Unsilence { silence } => !listed(view.silences().await?, silence),
    })
}

/// What is so then.
fn done(command: &Command) -> String {
    let by = &command.by;
    match &command.action {
        Action::Incident { id, act } => match act {
            Act::Acknowledge => format!("{id} is acknowledged by {by}"),
            Act::Unacknowledge => format!("{id} is not acknowledged any more"),
            Act::Note => format!("{id} has a note by {by}"),
            Act::Resolve => format!("{id} is resolved"),
            Act::Wrong => format!("{id} is resolved, and marked as wrong by {by}"),
            // They have actions of their own.
            Act::Merge | Act::Split => format!("{id} has a note by {by}"),
        },
        Action::Merge { id, with } => format!("{id} and {with} are one"),
        Action::Split { id, objects } => {
            let objects: Vec<_> = objects.iter().map(ToString::to_string).collect();
            format!("what {id} had of {} is an incident of its own", objects.join(", "))
        }
        Action::Silence { starts_at, ends_at, .. } => {
            format!(
                "silence {} holds from {} to {}",
                command.id,
                render::instant(*starts_at),
                render::instant(*ends_at)
            )
        }
        Action::Unsilence { silence } => format!("silence {silence} is over"),
    }
}

pub(super) async fn silences(settings: &Settings, output: Document) -> anyhow::Result<ExitCode> {
    let silences = View::open(settings).await?.silences().await?;
    show(output, &silences, || match &silences[..] {
        [] => "there are no silences\n".to_owned(),
        silences => render::silences(silences, Paint::detect()),
    })?;
    Ok(ExitCode::SUCCESS)
}
