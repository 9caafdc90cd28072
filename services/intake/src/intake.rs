//! Writes into the logs of clusters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Emit, Fault, Source, topics};
use epicenter_model::{
    Act, Action, Codec, CodecError, Command, Event, FLEET, FleetRecord, IncidentState, Matcher, RawEvent, RawRecord,
    Silence, Timestamp, headers, partition_of,
};
use epicenter_runtime::metric::{APPLICATION_EVENTS, COMMANDS};
use epicenter_runtime::{Access, Metrics, now};
use parking_lot::Mutex;

use crate::clusters::{Cluster, Clusters};
use crate::incidents::{Incidents, Known};

/// A log that takes nothing for so long is away.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Why something was not written. Nothing of it is in the log then, but for [`IntakeError::Log`]: it may be, and the same
/// can be said again, with the same id, without effect.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It cannot be written as it is. Not retryable.
    #[error("{0}")]
    Refused(String),
    /// Who says it may not. Not retryable.
    #[error("{0}")]
    Forbidden(String),
    /// It is about something that there is not, or not for who says it. Not retryable.
    #[error("{0}")]
    Unknown(String),
    /// The log takes nothing now. Retryable.
    #[error("the log takes nothing now: {0}")]
    Log(#[from] Fault),
    /// It does not fit its schema, or has none yet. Not retryable.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Writes commands and events of applications into the logs of clusters. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    bus: Bus,
    codec: Codec,
    /// Of this process alone: nobody fences it, and it fences nobody. What is written twice has one id, and counts once.
    id: String,
    state: Arc<Mutex<State>>,
    /// Locked after the state, if that is.
    incidents: Arc<Mutex<Incidents>>,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    clusters: Clusters,
    sources: BTreeMap<u32, Source>,
}

impl Intake {
    /// An intake that writes to `bus` by `codec`.
    pub fn new(bus: Bus, codec: Codec) -> Self {
        let metrics = Metrics::default();
        let id = format!("intake.{}", name());
        Self { bus, codec, id, state: Arc::default(), incidents: Arc::default(), metrics }
    }

    /// The same, counted by `metrics`.
    pub fn counted(self, metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// Writes a command into its cluster's log. What it does not say is filled in: the cluster (that of its incident, or the
    /// only one), an id, the time. Gives it as it was written. Blocks.
    ///
    /// Whether it can be carried out, the correlator decides when it comes to it; what cannot be goes to dead-letter.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub fn command(&self, command: Command, access: &Access) -> Result<Command, IntakeError> {
        let action = command.action.name();
        let written = self.say(command, access);
        self.metrics.add(&COMMANDS, &[action, outcome(&written)], 1.0);
        written
    }

    fn say(&self, mut command: Command, access: &Access) -> Result<Command, IntakeError> {
        may_write(access)?;
        if let Some(id) = command.action.incident() {
            let incident = self.incident(id, &command.cluster, access)?;
            refuse(&command.action, &incident)?;
            command.cluster = incident.cluster;
        }
        match &command.action {
            Action::Merge { id, with } => {
                let other = self.incident(with, "", access)?;
                refuse(&command.action, &other)?;
                if other.cluster != command.cluster {
                    return Err(IntakeError::Refused(format!(
                        "incident {id} is of cluster {}, and {with} of cluster {}: only incidents of one cluster can be joined",
                        command.cluster, other.cluster
                    )));
                }
            }
            // What is not known yet may be in a moment: the silence waits for it.
            Action::Silence { matcher, .. } if !matcher.incident.is_empty() => {
                let known = self.known(&matcher.incident, &command.cluster)?.filter(|known| known.is_for(access));
                known.map_or(Ok(()), |known| refuse(&command.action, &known))?;
            }
            _ => {}
        }
        let mut state = self.state.lock();
        let fleet = command.cluster == FLEET && matches!(command.action, Action::Incident { .. });
        let (name, cluster) = match fleet {
            // Its time is that at which the log takes what is said.
            true => (FLEET.to_owned(), Cluster { uid: String::new(), at: now() }),
            false => self.cluster(&mut state, &command.cluster, access)?,
        };
        self.may_silence(&command.action, &name, access)?;
        (command.cluster, command.at) = (name, cluster.at);
        if command.given_at == Timestamp::default() {
            command.given_at = now();
        }
        if command.id.is_empty() {
            command.id = self::name();
        }
        if let Action::Silence { starts_at, ends_at, .. } = &mut command.action {
            if *ends_at <= command.at {
                return Err(IntakeError::Refused(format!(
                    "the silence would be over: it ends at {ends_at}, and the log of cluster {} is at {}",
                    command.cluster, command.at
                )));
            }
            if *starts_at == Timestamp::default() {
                *starts_at = command.at;
            }
        }
        let written = command.clone();
        let id = command.id.clone();
        if fleet {
            self.signal(&mut state, command)?;
        } else {
            self.write(&mut state, &written.cluster, vec![(RawRecord::Command(Box::new(command)), id)])?;
        }
        Ok(written)
    }

    /// Writes events of applications into the log of `cluster`, wholly or not at all; an empty name is the only cluster that
    /// there is. Blocks.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub fn events(&self, cluster: &str, events: Vec<Event>, access: &Access) -> Result<(), IntakeError> {
        let count = events.len();
        let written = self.tell(cluster, events, access);
        self.metrics.add(&APPLICATION_EVENTS, &[outcome(&written)], count as f64);
        written
    }

    fn tell(&self, cluster: &str, events: Vec<Event>, access: &Access) -> Result<(), IntakeError> {
        may_write(access)?;
        let mut state = self.state.lock();
        let (name, Cluster { uid, at }) = self.cluster(&mut state, cluster, access)?;
        if let Some(event) = events.iter().find(|event| !access.sees(&name, &event.regarding.namespace)) {
            let Access { name, .. } = access;
            return Err(IntakeError::Forbidden(format!(
                "the token of {name} is for events about objects of its namespaces, and not about {}",
                event.regarding
            )));
        }
        let record = |event: Event| {
            let id = format!("0/{}/{}", event.uid, event.resource_version);
            let (cluster, cluster_uid) = (name.clone(), uid.clone());
            let raw = RawEvent { cluster, cluster_uid, at, epoch: 0, backfill: false, event };
            (RawRecord::Event(Box::new(raw)), id)
        };
        self.write(&mut state, &name, events.into_iter().map(record).collect())
    }

    /// Whether a silence may be made, or ended.
    fn may_silence(&self, action: &Action, cluster: &str, access: &Access) -> Result<(), IntakeError> {
        let of = |matcher: &Matcher| match matcher.incident.as_str() {
            "" => Ok(access.sees_silence(cluster, matcher)),
            incident => self.incident(incident, cluster, access).map(|_| true),
        };
        match action {
            _ if access.sees_all() => Ok(()),
            Action::Silence { matcher, .. } if !of(matcher)? => Err(IntakeError::Forbidden(format!(
                "the token of {} is for silences of one incident, or of one of its namespaces: name it",
                access.name
            ))),
            Action::Unsilence { silence } => {
                let unknown = || {
                    let why = format!("cluster {cluster} has no silence {silence}: `epicenter silences` lists them");
                    IntakeError::Unknown(why)
                };
                let table = self.bus.table(topics::SILENCES.name)?;
                let row = table.get(format!("{cluster}/{silence}").as_bytes()).ok_or_else(unknown)?;
                of(&self.codec.decode::<Silence>(row)?.matcher)?.then_some(()).ok_or_else(unknown)
            }
            _ => Ok(()),
        }
    }

    fn cluster(&self, state: &mut State, name: &str, access: &Access) -> Result<(String, Cluster), IntakeError> {
        if name == FLEET {
            return Err(IntakeError::Refused(format!(
                "`{FLEET}` stands for all clusters together, and its incidents follow from theirs: name one of the clusters"
            )));
        }
        let name = match name {
            "" => state.clusters.only(&self.bus, &self.codec)?.ok_or_else(|| {
                IntakeError::Refused("`cluster` is missing, and there is not exactly one: name it".to_owned())
            })?,
            name => name.to_owned(),
        };
        match state.clusters.get(&name, &self.bus, &self.codec)? {
            Some(cluster) if access.clusters.hold(&name) => Ok((name, cluster)),
            _ => Err(IntakeError::Unknown(format!("there is no cluster {name}: no exporter has ever read it"))),
        }
    }

    /// The incident of that id, in that cluster if one is named.
    fn incident(&self, incident: &str, cluster: &str, access: &Access) -> Result<Known, IntakeError> {
        self.known(incident, cluster)?.filter(|known| known.is_for(access)).ok_or_else(|| {
            IntakeError::Unknown(format!(
                "there is no incident {incident}{}{cluster} that is open, or has ended lately: `epicenter incidents` lists them",
                if cluster.is_empty() { "" } else { " in cluster " }
            ))
        })
    }

    fn known(&self, incident: &str, cluster: &str) -> Result<Option<Known>, Fault> {
        self.incidents.lock().find(incident, cluster, &self.bus, &self.codec)
    }

    fn write(&self, state: &mut State, cluster: &str, records: Vec<(RawRecord, String)>) -> Result<(), IntakeError> {
        let mut emits = Vec::new();
        for (record, id) in records {
            emits.push(Emit {
                topic: topics::EVENTS_RAW.name,
                timestamp: record.at().as_millis(),
                key: record.key().into(),
                payload: Some(record.encode(&self.codec)?.into()),
                headers: headers(record.record_type(), cluster, id, record.at()),
            });
        }
        self.committed(state, cluster, partition_of(cluster, self.bus.partitions()), &emits)
    }

    /// Writes what is to be done to an incident of the fleet to where its processor reads.
    fn signal(&self, state: &mut State, command: Command) -> Result<(), IntakeError> {
        let record = FleetRecord::Command(Box::new(command));
        let emit = Emit {
            topic: topics::FLEET_SIGNALS.name,
            timestamp: record.at().as_millis(),
            key: FLEET.into(),
            payload: Some(record.encode(&self.codec)?.into()),
            headers: headers(record.record_type(), FLEET, record.id(), record.at()),
        };
        self.committed(state, FLEET, 0, &[emit])
    }

    fn committed(&self, state: &mut State, cluster: &str, partition: u32, emits: &[Emit]) -> Result<(), IntakeError> {
        let began = Instant::now();
        loop {
            match self.commit(state, partition, emits) {
                Ok(()) => return Ok(()),
                Err(fault @ Fault::Fatal { .. }) => return Err(fault.into()),
                Err(fault) if began.elapsed() > DEADLINE => return Err(fault.into()),
                Err(fault) => {
                    tracing::debug!(cluster, %fault, "writing again");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    fn commit(&self, state: &mut State, partition: u32, emits: &[Emit]) -> Result<(), Fault> {
        let mut source = match state.sources.remove(&partition) {
            Some(source) => source,
            // It keeps no position: what it writes has ids.
            None => self.bus.source_without_positions(&format!("{}.{partition}", self.id), partition)?,
        };
        source.commit(emits, &[])?;
        state.sources.insert(partition, source);
        Ok(())
    }
}

fn may_write(access: &Access) -> Result<(), IntakeError> {
    let why = || IntakeError::Forbidden(format!("the token of {} is for reading only", access.name));
    access.write.then_some(()).ok_or_else(why)
}

/// The outcome, as metrics name it.
fn outcome<T>(written: &Result<T, IntakeError>) -> &'static str {
    match written {
        Ok(_) => "written",
        Err(IntakeError::Refused(_) | IntakeError::Unknown(_) | IntakeError::Forbidden(_)) => "refused",
        Err(IntakeError::Log(_) | IntakeError::Codec(_)) => "failed",
    }
}

/// Refuses what cannot be done to the incident, as far as its document tells.
fn refuse(action: &Action, incident: &Known) -> Result<(), IntakeError> {
    refusal(action, incident).map_or(Ok(()), |why| Err(IntakeError::Refused(why)))
}

fn refusal(action: &Action, incident: &Known) -> Option<String> {
    let Known { id, cluster, state, is_acknowledged, .. } = incident;
    match action {
        Action::Merge { .. } | Action::Split { .. } | Action::Silence { .. } if cluster == FLEET => {
            Some(instead(action, incident))
        }
        Action::Merge { .. } | Action::Split { .. } | Action::Incident { act: Act::Acknowledge | Act::Resolve, .. }
            if *state != IncidentState::Open =>
        {
            Some(format!("incident {id} is over already: it is {state}"))
        }
        Action::Incident { act: Act::Unacknowledge, .. } if !is_acknowledged => {
            Some(format!("incident {id} is not acknowledged"))
        }
        _ => None,
    }
}

/// Why that is not for an incident of the fleet, and what is.
fn instead(action: &Action, Known { id, parts, .. }: &Known) -> String {
    let parts: Vec<_> = parts.iter().map(|(id, cluster)| format!("{id} in {cluster}")).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(", such as {}", parts.join(", ")) };
    let what = match action {
        Action::Silence { .. } => format!("acknowledge it (`epicenter ack {id}`), or silence"),
        _ => "join or part".to_owned(),
    };
    format!(
        "{} is not for incident {id}, which follows from those of several clusters: {what} the incidents that it is made of{parts}",
        action.name()
    )
}

/// A name that nothing else has.
fn name() -> String {
    let bytes: [u8; 10] = rand::random();
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}
