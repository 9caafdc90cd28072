//! One cluster's state.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{
    Cause, EnrichedEvent, EnrichedRecord, Incident, IncidentChange, IncidentState, Member, MemberObject, Role,
    Severity, Timestamp, Transition, incident_id,
};
use serde::{Deserialize, Serialize};

use crate::{ENGINE, Effects, Rules};

const VERSION: u8 = 0;

/// One cluster's state.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    cluster: String,
    now: Timestamp,
    open: BTreeMap<String, Open>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Open {
    key: String,
    incident: Incident,
    emitted: Timestamp,
    pending: BTreeSet<String>,
    quiet_ms: i64,
}

/// Why a stored entry is no state. Never retryable.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Written by a version that this one does not know.
    #[error("state entry {key} has version {found}, this engine reads up to {VERSION}: upgrade it")]
    Version {
        /// The key in hex.
        key: String,
        /// The version byte.
        found: u8,
    },
    /// Cut off or damaged.
    #[error("state entry {key} is malformed: {problem}")]
    Malformed {
        /// The key in hex.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl ClusterState {
    /// The state of a cluster of which nothing is known.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ..Self::default() }
    }

    /// The state that was written as `entries`, in any order.
    pub fn restore<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        cluster: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, StateError> {
        let mut state = Self::new(cluster);
        for (key, value) in entries {
            let hex = || data_encoding::HEXLOWER.encode(key.as_ref());
            let malformed = |problem: String| StateError::Malformed { key: hex(), problem };
            let (version, body) = value.as_ref().split_first().ok_or_else(|| malformed("empty".to_owned()))?;
            if *version != VERSION {
                return Err(StateError::Version { key: hex(), found: *version });
            }
            match key.as_ref().first() {
                Some(b'i') => {
                    let open: Open = postcard::from_bytes(body).map_err(|e| malformed(e.to_string()))?;
                    state.open.insert(open.key.clone(), open);
                }
                _ => {
                    state.now =
                        Timestamp::from_micros(postcard::from_bytes(body).map_err(|e| malformed(e.to_string()))?)
                }
            }
        }
        Ok(state)
    }
}

/// Takes one record into account: changes `state`, and appends to `effects` what follows from it.
pub fn apply(rules: &Rules, state: &mut ClusterState, record: &EnrichedRecord, effects: &mut Effects) {
    state.now = state.now.max(record.at());
    effects.puts.push((b"h".to_vec(), Some(encode(&state.now.as_micros()))));
    let now = state.now;
    let mut touched = BTreeSet::new();
    for (key, open) in &mut state.open {
        if now.millis_since(open.incident.last_event_at) >= open.quiet_ms {
            open.incident.state = IncidentState::Resolved;
            open.incident.resolved_at = Some(now);
            open.emit(rules, now, Transition::Resolved, effects);
            touched.insert(key.clone());
        } else if !open.pending.is_empty() && now.millis_since(open.emitted) >= 1000 {
            open.emit(rules, now, Transition::Updated, effects);
            touched.insert(key.clone());
        }
    }
    if let EnrichedRecord::Event(event) = record
        && matches!(event.role, Role::Cause | Role::Symptom)
        && event.severity >= Severity::Low
        && !event.backfill
    {
        let object = event.context.workload().unwrap_or(&event.event.regarding);
        let key = object.to_string();
        touched.insert(key.clone());
        match state.open.get_mut(&key) {
            Some(open) => open.add(event, now),
            None => {
                let id = incident_id(&event.cluster_uid, &event.event.uid, event.event.total());
                let title = format!("{object}: {}", event.event.reason);
                let cause = Cause {
                    class: event.class.clone(),
                    object: object.clone(),
                    observed: true,
                    confidence: 0.5,
                    candidates: vec![],
                };
                let incident = Incident {
                    id,
                    cluster: state.cluster.clone(),
                    title,
                    cause,
                    category: event.category,
                    severity: event.severity,
                    opened_at: now,
                    explanation: vec![event.event.note.clone()],
                    ..Incident::default()
                };
                let quiet_ms = rules.classes.get(&event.class).map_or(600_000, |info| info.quiet_ms);
                let mut open = Open { key: key.clone(), incident, quiet_ms, ..Open::default() };
                open.add(event, now);
                open.emit(rules, now, Transition::Opened, effects);
                state.open.insert(key, open);
            }
        }
    }
    for key in touched {
        let open = &state.open[&key];
        let resolved = open.incident.state == IncidentState::Resolved;
        effects.puts.push(([b"i", key.as_bytes()].concat(), (!resolved).then(|| encode(open))));
        if resolved {
            state.open.remove(&key);
        }
    }
}

impl Open {
    fn add(&mut self, event: &EnrichedEvent, now: Timestamp) {
        let incident = &mut self.incident;
        incident.last_event_at = now;
        incident.events.occurrences += event.occurrences;
        self.pending.insert(event.event.uid.clone());
        if let Some(member) = incident.members.iter_mut().find(|member| member.event_uid == event.event.uid) {
            member.occurrences += event.occurrences;
            return;
        }
        incident.events.objects += 1;
        *incident.events.by_reason.entry(event.event.reason.clone()).or_default() += 1;
        let regarding = &event.event.regarding;
        incident.members.push(Member {
            event_uid: event.event.uid.clone(),
            namespace: event.event.namespace.clone(),
            name: event.event.name.clone(),
            reason: event.event.reason.clone(),
            regarding: MemberObject {
                kind: regarding.kind.clone(),
                namespace: regarding.namespace.clone(),
                name: regarding.name.clone(),
            },
            role: if incident.members.is_empty() { "root" } else { "symptom" }.to_owned(),
            occurrences: event.occurrences,
            because: None,
        });
    }

    fn emit(&mut self, rules: &Rules, now: Timestamp, transition: Transition, effects: &mut Effects) {
        self.incident.version += 1;
        let mut incident = self.incident.clone();
        incident.members.retain(|member| self.pending.contains(&member.event_uid));
        self.pending.clear();
        self.emitted = now;
        effects.changes.push(IncidentChange {
            at: now,
            transition,
            engine: ENGINE.to_owned(),
            rules: rules.hash().to_owned(),
            backfill: false,
            incident,
        });
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("a Vec takes any length, and every value here has a known one")
}
