//! The processor of all clusters together.

use std::sync::Arc;

use epicenter_bus::{Processor, ProcessorSpec, Put, Record, Reject, State, Step, Store, StoreId, topics};
use epicenter_correlate::{Effects, Fleet, FleetRules};
use epicenter_model::{Codec, FLEET, FleetRecord, Timestamp};

use crate::correlator::emit;

/// Entries of the fleet's state.
const STATE: StoreId = StoreId(0);

/// How the fleet processor is wired. Its name is that of its incidents' cluster: they go where that would live.
pub fn fleet_spec() -> ProcessorSpec {
    ProcessorSpec {
        name: FLEET.to_owned(),
        input: topics::FLEET_SIGNALS.name,
        stores: vec![Store { topic: topics::FLEET_STATE.name, public: false, packed: false }],
        outputs: vec![topics::INCIDENT_CHANGES.name],
    }
}

/// Finds what several clusters have in common, and clusters that are silent.
pub struct FleetCorrelator {
    codec: Codec,
    rules: Arc<FleetRules>,
    fleet: Fleet,
}

impl FleetCorrelator {
    /// A fleet correlator that reads and writes by `codec`, and decides by `rules`.
    pub fn new(codec: Codec, rules: Arc<FleetRules>) -> Self {
        Self { codec, rules, fleet: Fleet::default() }
    }
}

impl Processor for FleetCorrelator {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        let rows: Vec<_> = state.scan(STATE, b"").collect();
        let restored = Fleet::restore(rows.iter().map(|(key, value)| (key.as_ref(), value.as_ref())));
        self.fleet = restored.map_err(|error| Reject(format!("{}: {error}", topics::FLEET_STATE.name)))?;
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let payload = record.payload.as_deref();
        let payload =
            payload.ok_or_else(|| Reject("a record of fleet.signals has no payload: its producer is broken".into()))?;
        let signal = FleetRecord::decode(&self.codec, payload).map_err(Reject::because)?;
        if let FleetRecord::Command(command) = &signal
            && let Some(why) = self.fleet.refusal(command)
        {
            return Err(Reject(format!("command {} of {} ({}): {why}", command.id, command.by, command.action.name())));
        }
        let mut effects = Effects::default();
        self.fleet.apply(&self.rules, Timestamp::from_millis(record.timestamp), &signal, &mut effects);
        effects.changes.iter().for_each(|change| emit(&self.codec, FLEET, change, step));
        Ok(())
    }

    fn flush(&mut self, put: &mut Put<'_>) {
        self.fleet.flush(|key, value| put(STATE, key, value));
    }

    fn codec(&self) -> Codec {
        self.codec.clone()
    }
}
