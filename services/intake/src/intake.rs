//! Writes into the logs of clusters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Emit, Fault, Source, topics};
use epicenter_model::{
    Act, Action, Codec, CodecError, Command, Event, FLEET, Incident, IncidentState, RawEvent, RawRecord, Timestamp,
    headers, partition_of,
};
use epicenter_runtime::now;
use parking_lot::Mutex;

use crate::clusters::{Cluster, Clusters};

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
    /// It is about something that there is not. Not retryable.
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
}

#[derive(Default)]
struct State {
    clusters: Clusters,
    sources: BTreeMap<u32, Source>,
}

impl Intake {
    /// An intake that writes to `bus` by `codec`.
    pub fn new(bus: Bus, codec: Codec) -> Self {
        Self { bus, codec, id: format!("intake.{}", name()), state: Arc::default() }
    }

    /// Writes a command into its cluster's log. What it does not say is filled in: the cluster (that of its incident, or the
    /// only one), an id, the time. Gives it as it was written. Blocks.
    ///
    /// Whether it can be carried out, the correlator decides when it comes to it; what cannot be goes to dead-letter.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub fn command(&self, mut command: Command) -> Result<Command, IntakeError> {
        if let Action::Incident { id, act } = &command.action {
            let incident = self.incident(id, &command.cluster)?;
            match act {
                Act::Acknowledge | Act::Resolve if incident.state != IncidentState::Open => {
                    return Err(IntakeError::Refused(format!(
                        "incident {id} is over already: it is {}",
                        incident.state
                    )));
                }
                Act::Unacknowledge if incident.acknowledged.is_none() => {
                    return Err(IntakeError::Refused(format!("incident {id} is not acknowledged")));
                }
                _ => command.cluster = incident.cluster,
            }
        }
        let mut state = self.state.lock();
        let (name, cluster) = self.cluster(&mut state, &command.cluster)?;
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
        self.write(&mut state, &written.cluster, vec![(RawRecord::Command(Box::new(command)), id)])?;
        Ok(written)
    }

    /// Writes events of applications into the log of `cluster`, wholly or not at all; an empty name is the only cluster that
    /// there is. Blocks.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub fn events(&self, cluster: &str, events: Vec<Event>) -> Result<(), IntakeError> {
        let mut state = self.state.lock();
        let (name, Cluster { uid, at }) = self.cluster(&mut state, cluster)?;
        let record = |event: Event| {
            let id = format!("0/{}/{}", event.uid, event.resource_version);
            let (cluster, cluster_uid) = (name.clone(), uid.clone());
            let raw = RawEvent { cluster, cluster_uid, at, epoch: 0, backfill: false, event };
            (RawRecord::Event(Box::new(raw)), id)
        };
        self.write(&mut state, &name, events.into_iter().map(record).collect())
    }

    fn cluster(&self, state: &mut State, name: &str) -> Result<(String, Cluster), IntakeError> {
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
            Some(cluster) => Ok((name, cluster)),
            None => Err(IntakeError::Unknown(format!("there is no cluster {name}: no exporter has ever read it"))),
        }
    }

    /// The incident of that id, in that cluster if one is named.
    fn incident(&self, incident: &str, cluster: &str) -> Result<Incident, IntakeError> {
        let table = self.bus.table(topics::INCIDENTS.name)?;
        let is_it = |key: &[u8]| {
            let key = std::str::from_utf8(key).ok().and_then(|key| key.rsplit_once('/'));
            key.is_some_and(|(of, id)| id == incident && (cluster.is_empty() || of == cluster))
        };
        match table.iter().find(|(key, _)| is_it(key)) {
            Some((_, document)) => Ok(self.codec.decode(document)?),
            None => Err(IntakeError::Unknown(format!(
                "there is no incident {incident}{}{cluster}: `epicenter incidents --all` lists them",
                if cluster.is_empty() { "" } else { " in cluster " }
            ))),
        }
    }

    fn write(&self, state: &mut State, cluster: &str, records: Vec<(RawRecord, String)>) -> Result<(), IntakeError> {
        let mut emits = Vec::new();
        for (record, id) in records {
            emits.push(Emit {
                topic: topics::EVENTS_RAW.name,
                timestamp: record.at().as_millis(),
                key: record.key().into(),
                payload: Some(record.encode(&self.codec)?.into()),
                headers: headers(record.record_type(), cluster, &id, record.at()),
            });
        }
        let partition = partition_of(cluster, self.bus.partitions());
        let began = Instant::now();
        loop {
            match self.commit(state, partition, &emits) {
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
            None => self.bus.source(&format!("{}.{partition}", self.id), partition, b"\0")?.0,
        };
        source.commit(emits, &[])?;
        state.sources.insert(partition, source);
        Ok(())
    }
}

/// A name that nothing else has.
fn name() -> String {
    let bytes: [u8; 10] = rand::random();
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}
