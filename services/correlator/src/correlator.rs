//! The processor.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_bus::{Processor, ProcessorSpec, Put, Record, Reject, State, Step, Store, StoreId, topics};
use epicenter_correlate::{ClusterState, Effects, Rules, apply};
use epicenter_model::{Codec, EnrichedRecord, FLEET, FleetRecord, IncidentChange, RecordType, headers};

/// Entries of the engine's state; key: cluster, `\0`, the engine's key.
const STATE: StoreId = StoreId(0);
/// Silences, for all to read; key: cluster, `/`, id. The engine has its own in its state.
const SILENCES: StoreId = StoreId(1);

/// How the correlator is wired.
pub fn spec() -> ProcessorSpec {
    ProcessorSpec {
        name: "correlator".to_owned(),
        input: topics::EVENTS_ENRICHED.name,
        stores: vec![
            Store { topic: topics::CORRELATOR_STATE.name, public: false, packed: false },
            Store { topic: topics::SILENCES.name, public: true, packed: false },
        ],
        outputs: vec![topics::INCIDENT_CHANGES.name, topics::FLEET_SIGNALS.name],
    }
}

/// The correlator of one partition.
pub struct Correlator {
    codec: Codec,
    rules: Arc<Rules>,
    clusters: BTreeMap<String, ClusterState>,
    tell: Tell,
}

/// Hears of which cluster the engine could not remember what, and how much.
type Tell = Box<dyn Fn(&str, &'static str, u64) + Send>;

impl Correlator {
    /// A correlator that reads and writes by `codec`, and decides by `rules`.
    pub fn new(codec: Codec, rules: Arc<Rules>) -> Self {
        Self { codec, rules, clusters: BTreeMap::new(), tell: Box::new(|_, _, _| {}) }
    }

    /// Tells `tell` of what does not fit into the engine's bounds: the cluster, what (`objects`, `incidents`, `members`, `series`), and how
    /// many.
    #[must_use]
    pub fn telling(self, tell: impl Fn(&str, &'static str, u64) + Send + 'static) -> Self {
        Self { tell: Box::new(tell), ..self }
    }

    fn signal(&self, cluster: &str, record: &FleetRecord, step: &mut Step<'_>) {
        let payload = record.encode(&self.codec).expect("a signal fits its schema: tested");
        let headers = headers(record.record_type(), cluster, record.id(), record.at());
        step.emit(topics::FLEET_SIGNALS.name, cluster.to_owned(), payload, headers);
    }
}

/// Writes a change of an incident of `cluster`.
pub(crate) fn emit(codec: &Codec, cluster: &str, change: &IncidentChange, step: &mut Step<'_>) {
    // The engine has gone on already: a panic makes the kernel restore it, an error would not.
    let payload = codec.encode(change).expect("a change fits its schema: tested");
    let incident = &change.incident;
    let id = format!("{}/{}", incident.id, incident.version);
    let headers = headers(RecordType::IncidentChange, cluster, id, change.at);
    step.emit(topics::INCIDENT_CHANGES.name, [cluster, "/", &incident.id].concat(), payload, headers);
}

impl Processor for Correlator {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        let rows: Vec<_> = state.scan(STATE, b"").collect();
        self.clusters = restore(rows.iter().map(|(key, value)| (key.as_ref(), value.as_ref())))?;
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let payload = record.payload.as_deref();
        let payload = payload
            .ok_or_else(|| Reject("a record of events.enriched has no payload: its producer is broken".into()))?;
        let enriched = EnrichedRecord::decode(&self.codec, payload).map_err(Reject::because)?;
        let cluster = enriched.cluster();
        if cluster.is_empty() || cluster.contains('\0') {
            return Err(Reject(format!(
                "{cluster:?} is no name of a cluster: name it in the exporter's configuration"
            )));
        }
        if cluster == FLEET {
            return Err(Reject(format!(
                "`{FLEET}` stands for all clusters together: give this one another name in the exporter's configuration"
            )));
        }
        if !self.clusters.contains_key(cluster) {
            self.clusters.insert(cluster.to_owned(), ClusterState::new(cluster));
        }
        let state = self.clusters.get_mut(cluster).expect("it was inserted if it was missing");
        if let EnrichedRecord::Command(command) = &enriched
            && let Some(why) = state.refusal(command)
        {
            return Err(Reject(format!("command {} of {} ({}): {why}", command.id, command.by, command.action.name())));
        }
        let mut effects = Effects::default();
        let before = state.dropped();
        apply(&self.rules, state, &enriched, &mut effects);
        let now = state.dropped();
        for (what, more) in [
            ("objects", now.objects - before.objects),
            ("incidents", now.incidents - before.incidents),
            ("members", now.members - before.members),
            ("series", now.series - before.series),
        ] {
            if more > 0 {
                (self.tell)(cluster, what, more);
            }
        }
        effects.changes.iter().for_each(|change| emit(&self.codec, cluster, change, step));
        effects.signals.iter().for_each(|signal| self.signal(cluster, signal, step));
        for (id, silence) in effects.silences {
            let key = [cluster, "/", &id].concat();
            match silence {
                Some(silence) => {
                    let payload = self.codec.encode(&silence).expect("a silence fits its schema: tested");
                    step.put(SILENCES, key, payload);
                }
                None => step.delete(SILENCES, key),
            }
        }
        Ok(())
    }

    fn flush(&mut self, put: &mut Put<'_>) {
        for (cluster, state) in &mut self.clusters {
            state.flush(|key, value| put(STATE, [cluster.as_bytes(), b"\0", &key].concat(), value));
        }
    }

    fn codec(&self) -> Codec {
        self.codec.clone()
    }
}

/// Of how many clusters the entries of `correlator.state` are, all of which this version can read.
///
/// # Errors
/// What it cannot read, and what to do. Never retryable.
pub fn check_state<'e>(entries: impl Iterator<Item = (&'e [u8], &'e [u8])>) -> Result<usize, Reject> {
    restore(entries).map(|clusters| clusters.len())
}

fn restore<'e>(stored: impl Iterator<Item = (&'e [u8], &'e [u8])>) -> Result<BTreeMap<String, ClusterState>, Reject> {
    let mut entries: BTreeMap<String, Vec<(&[u8], &[u8])>> = BTreeMap::new();
    for (key, value) in stored {
        let (cluster, key) = split(key)?;
        entries.entry(cluster).or_default().push((key, value));
    }
    let restore = |(cluster, entries): (String, Vec<_>)| match ClusterState::restore(&cluster, entries) {
        Ok(state) => Ok((cluster, state)),
        Err(error) => Err(Reject(format!("{} of cluster {cluster}: {error}", topics::CORRELATOR_STATE.name))),
    };
    entries.into_iter().map(restore).collect()
}

/// Cluster and engine's key of an entry.
fn split(key: &[u8]) -> Result<(String, &[u8]), Reject> {
    let parse = || {
        let end = key.iter().position(|byte| *byte == 0)?;
        Some((std::str::from_utf8(&key[..end]).ok()?.to_owned(), &key[end + 1..]))
    };
    parse().ok_or_else(|| Reject(format!("correlator.state has a key that names no cluster: {}", key.escape_ascii())))
}
