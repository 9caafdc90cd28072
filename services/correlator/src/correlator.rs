//! The processor.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_bus::{Processor, ProcessorSpec, Record, Reject, State, Step, Store, StoreId, topics};
use epicenter_correlate::{ClusterState, Effects, Rules, apply};
use epicenter_model::{Codec, EnrichedRecord, FLEET, FleetRecord, IncidentChange, RecordType, headers};

/// Entries of the engine's state; key: cluster, `\0`, the engine's key.
const STATE: StoreId = StoreId(0);

/// How the correlator is wired.
pub fn spec() -> ProcessorSpec {
    ProcessorSpec {
        name: "correlator".to_owned(),
        input: topics::EVENTS_ENRICHED.name,
        stores: vec![Store { topic: topics::CORRELATOR_STATE.name, public: false }],
        outputs: vec![topics::INCIDENT_CHANGES.name, topics::FLEET_SIGNALS.name],
    }
}

/// The correlator of one partition.
pub struct Correlator {
    codec: Codec,
    rules: Arc<Rules>,
    clusters: BTreeMap<String, ClusterState>,
}

impl Correlator {
    /// A correlator that reads and writes by `codec`, and decides by `rules`.
    pub fn new(codec: Codec, rules: Arc<Rules>) -> Self {
        Self { codec, rules, clusters: BTreeMap::new() }
    }

    fn signal(&self, cluster: &str, record: &FleetRecord, step: &mut Step<'_>) {
        let payload = record.encode(&self.codec).expect("a signal fits its schema: tested");
        let headers = headers(record.record_type(), cluster, &record.id(), record.at());
        step.emit(topics::FLEET_SIGNALS.name, cluster.to_owned(), payload, headers);
    }
}

/// Writes a change of an incident of `cluster`.
pub(crate) fn emit(codec: &Codec, cluster: &str, change: &IncidentChange, step: &mut Step<'_>) {
    // The engine has gone on already: a panic makes the kernel restore it, an error would not.
    let payload = codec.encode(change).expect("a change fits its schema: tested");
    let incident = &change.incident;
    let id = format!("{}/{}", incident.id, incident.version);
    let headers = headers(RecordType::IncidentChange, cluster, &id, change.at);
    step.emit(topics::INCIDENT_CHANGES.name, [cluster, "/", &incident.id].concat(), payload, headers);
}

impl Processor for Correlator {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        let mut entries: BTreeMap<String, Vec<(&[u8], &[u8])>> = BTreeMap::new();
        for (key, value) in state.scan(STATE, b"") {
            let (cluster, key) = split(key)?;
            entries.entry(cluster).or_default().push((key, value));
        }
        let restore = |(cluster, entries): (String, Vec<_>)| match ClusterState::restore(&cluster, entries) {
            Ok(state) => Ok((cluster, state)),
            Err(error) => Err(Reject(format!("correlator.state of cluster {cluster}: {error}"))),
        };
        self.clusters = entries.into_iter().map(restore).collect::<Result<_, _>>()?;
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
        let mut effects = Effects::default();
        apply(&self.rules, state, &enriched, &mut effects);
        for (key, value) in effects.puts {
            let key = [cluster.as_bytes(), b"\0", &key].concat();
            match value {
                Some(value) => step.put(STATE, key, value),
                None => step.delete(STATE, key),
            }
        }
        effects.changes.iter().for_each(|change| emit(&self.codec, cluster, change, step));
        effects.signals.iter().for_each(|signal| self.signal(cluster, signal, step));
        Ok(())
    }

    fn codec(&self) -> Codec {
        self.codec.clone()
    }
}

/// Cluster and engine's key of an entry.
fn split(key: &[u8]) -> Result<(String, &[u8]), Reject> {
    let parse = || {
        let end = key.iter().position(|byte| *byte == 0)?;
        Some((std::str::from_utf8(&key[..end]).ok()?.to_owned(), &key[end + 1..]))
    };
    parse().ok_or_else(|| Reject(format!("correlator.state has a key that names no cluster: {}", key.escape_ascii())))
}
