//! `epicenter watch`: incidents as they form, of a running process or of a log on Kafka.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use epicenter_bus::topics::INCIDENT_CHANGES;
use epicenter_bus::{Bus, Fault, Reader, Start};
use epicenter_model::{Category, Codec, Incident, IncidentChange, IncidentState, Severity, Transition};

use super::print;
use super::ticker::{self, Shown};
use crate::cli::{Lines, Watch};
use crate::render::Paint;
use crate::settings::Settings;
use crate::view::View;

/// How often a running process is asked.
const POLL: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(250);

pub(super) async fn run(settings: &Settings, arguments: Watch) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new(&arguments)?;
    let view = View::open(settings).await?;
    match &view {
        View::Running { .. } => {
            let mut known = Known::default();
            loop {
                for change in known.take(view.incidents().await?) {
                    screen.tell(&change)?;
                }
                tokio::time::sleep(POLL).await;
            }
        }
        View::Log(bus @ Bus::Kafka(_), codec) => {
            let partitions: Vec<u32> = (0..bus.partitions()).collect();
            // From here on nothing is missed; what the table has already is not told twice.
            let changes = bus.reader(INCIDENT_CHANGES.name, &partitions, Start::Latest)?;
            let mut known = Known::default();
            for change in known.take(view.incidents().await?) {
                screen.tell(&change)?;
            }
            let codec = codec.clone();
            tokio::task::spawn_blocking(move || follow(changes, &codec, &mut known, &mut screen)).await?
        }
        View::Log(Bus::Local(_), _) => bail!("nothing is running: start `epicenter up`, and watch it then"),
    }
}

/// Tells what the log brings, until the process ends. Blocks.
fn follow(mut changes: Reader, codec: &Codec, known: &mut Known, screen: &mut Screen) -> anyhow::Result<ExitCode> {
    loop {
        let record = match changes.next(WAIT) {
            Ok(Some(record)) => record,
            Ok(None) | Err(Fault::Retry { .. }) => continue,
            Err(fault) => return Err(fault.into()),
        };
        let change: IncidentChange = codec
            .decode(record.payload.as_deref().unwrap_or_default())
            .with_context(|| format!("offset {} of {}", record.offset, INCIDENT_CHANGES.name))?;
        if known.is_new(&change.incident) {
            screen.tell(&change)?;
        }
    }
}

/// The versions that are known, by cluster and id.
#[derive(Default)]
struct Known {
    versions: BTreeMap<(String, String), (i64, IncidentState)>,
    /// What was over before anybody looked is not told.
    begun: bool,
}

impl Known {
    /// What has changed since it was asked last; at first, what is open.
    fn take(&mut self, incidents: Vec<Incident>) -> Vec<IncidentChange> {
        let begun = std::mem::replace(&mut self.begun, true);
        let mut changes = Vec::new();
        for incident in incidents {
            let before = self.versions.get(&key(&incident)).map(|(_, state)| *state);
            let open = incident.state == IncidentState::Open;
            if !self.is_new(&incident) || !begun && !open {
                continue;
            }
            let transition = match (incident.state, before) {
                (IncidentState::Resolved, _) => Transition::Resolved,
                (IncidentState::Merged, _) => Transition::Merged,
                (IncidentState::Open, None) => Transition::Opened,
                (IncidentState::Open, Some(IncidentState::Open)) => Transition::Updated,
                (IncidentState::Open, Some(_)) => Transition::Reopened,
            };
            let at = match transition {
                Transition::Opened => incident.opened_at,
                _ => incident.resolved_at.unwrap_or(incident.last_event_at),
            };
            let backfill = incident.backfill;
            changes.push(IncidentChange { at, transition, backfill, incident, ..IncidentChange::default() });
        }
        changes
    }

    fn is_new(&mut self, incident: &Incident) -> bool {
        let known = self.versions.entry(key(incident)).or_insert((0, incident.state));
        let is_new = incident.version > known.0;
        if is_new {
            *known = (incident.version, incident.state);
        }
        is_new
    }
}

fn key(incident: &Incident) -> (String, String) {
    (incident.cluster.clone(), incident.id.clone())
}

/// Shows what is wanted.
struct Screen {
    wanted: Wanted,
    output: Lines,
    shown: BTreeMap<String, Shown>,
    paint: Paint,
}

impl Screen {
    fn new(arguments: &Watch) -> anyhow::Result<Self> {
        let Watch { cluster, namespace, severity, category, output } = arguments;
        let severity = severity.as_deref().map(|name| named(name, Severity::ALL, Severity::name)).transpose()?;
        let categories =
            category.iter().map(|name| named(name, Category::ALL, Category::name)).collect::<Result<_, _>>()?;
        let wanted = Wanted {
            clusters: cluster.clone(),
            namespaces: namespace.clone(),
            severity: severity.unwrap_or(Severity::Info),
            categories,
        };
        Ok(Self { wanted, output: *output, shown: BTreeMap::new(), paint: Paint::detect() })
    }

    fn tell(&mut self, change: &IncidentChange) -> anyhow::Result<()> {
        if !self.wanted.holds(&change.incident) {
            return Ok(());
        }
        match self.output {
            Lines::Json => print(&(serde_json::to_string(change)? + "\n")),
            Lines::Text => match ticker::line(change, &mut self.shown, self.paint) {
                Some(line) => print(&line),
                None => Ok(()),
            },
        }
    }
}

/// Which incidents. An empty list asks nothing.
struct Wanted {
    clusters: Vec<String>,
    namespaces: Vec<String>,
    severity: Severity,
    categories: Vec<Category>,
}

impl Wanted {
    fn holds(&self, incident: &Incident) -> bool {
        let touches = |namespace: &String| incident.touches(namespace);
        (self.clusters.is_empty() || self.clusters.contains(&incident.cluster))
            && (self.namespaces.is_empty() || self.namespaces.iter().any(touches))
            && (self.categories.is_empty() || self.categories.contains(&incident.category))
            && incident.severity >= self.severity
    }
}

fn named<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> anyhow::Result<T> {
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.with_context(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        format!("{text} is none of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: &str, version: i64, state: IncidentState) -> Incident {
        Incident { id: id.into(), cluster: "c".into(), version, state, ..Incident::default() }
    }

    #[test]
    fn tells_what_is_new_since_it_looked_last() {
        let mut known = Known::default();
        let mut told = |incidents: Vec<Incident>| {
            let changes = known.take(incidents);
            changes.iter().map(|it| format!("{} {}", it.transition, it.incident.id)).collect::<Vec<_>>()
        };
        let (open, over, merged) = (IncidentState::Open, IncidentState::Resolved, IncidentState::Merged);
        assert_eq!(told(vec![incident("a", 3, open), incident("b", 2, over)]), ["opened a"]);
        assert_eq!(told(vec![incident("a", 3, open), incident("b", 2, over)]), [""; 0]);
        let next = vec![incident("a", 4, open), incident("b", 3, open), incident("d", 1, open)];
        assert_eq!(told(next), ["updated a", "reopened b", "opened d"]);
        assert_eq!(told(vec![incident("a", 5, over), incident("d", 2, merged)]), ["resolved a", "merged d"]);
    }

    #[test]
    fn shows_what_is_wanted() {
        let check = |wanted: Wanted, expected: bool| {
            let mut incident = Incident { severity: Severity::High, ..incident("a", 1, IncidentState::Open) };
            incident.impact.namespaces = vec!["shop".into()];
            assert_eq!(wanted.holds(&incident), expected);
        };
        let all = || Wanted { clusters: vec![], namespaces: vec![], severity: Severity::Info, categories: vec![] };
        check(all(), true);
        check(Wanted { clusters: vec!["c".into()], namespaces: vec!["web".into(), "shop".into()], ..all() }, true);
        check(Wanted { clusters: vec!["d".into()], ..all() }, false);
        check(Wanted { namespaces: vec!["web".into()], ..all() }, false);
        check(Wanted { severity: Severity::Critical, ..all() }, false);
        check(Wanted { categories: vec![Category::Node], ..all() }, false);
        assert!(named("loud", Severity::ALL, Severity::name).unwrap_err().to_string().contains("none of info, low"));
    }
}
