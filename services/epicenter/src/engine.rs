//! The processors, with the built-in catalogue and rules.

use std::sync::Arc;

use epicenter_bus::{Bus, Fault, Stop};
use epicenter_catalog::Catalog;
use epicenter_correlate::{FleetRules, Rules};
use epicenter_correlator::{Correlator, FleetCorrelator};
use epicenter_enricher::Enricher;
use epicenter_model::Codec;
use epicenter_runtime::Metrics;
use epicenter_sink::Publisher;

use crate::counted::Counted;

/// What the processors are made with.
#[derive(Clone)]
pub struct Engine {
    /// Reads and writes all records.
    pub codec: Codec,
    /// The causal rules.
    pub rules: Arc<Rules>,
    /// The rules of all clusters together.
    pub fleet_rules: Arc<FleetRules>,
}

impl Engine {
    /// The engine with the catalogue and the rules of this version.
    pub fn builtin() -> Self {
        let classes = epicenter_correlator::classes(Catalog::builtin());
        let fleet_rules = Arc::new(FleetRules::builtin().clone());
        Self { codec: Codec::single_object(), rules: Arc::new(Rules::builtin(classes)), fleet_rules }
    }

    /// The same engine, by which a cluster counts as silent after so many seconds.
    pub fn silent_after(self, seconds: u32) -> Self {
        Self { fleet_rules: Arc::new(FleetRules::builtin().clone().silent_after(seconds.into())), ..self }
    }

    /// A new enricher.
    pub fn enricher(&self) -> Enricher {
        Enricher::new(self.codec.clone(), Catalog::builtin())
    }

    /// A new correlator.
    pub fn correlator(&self) -> Correlator {
        Correlator::new(self.codec.clone(), Arc::clone(&self.rules))
    }

    /// A new correlator of the fleet.
    pub fn fleet(&self) -> FleetCorrelator {
        FleetCorrelator::new(self.codec.clone(), Arc::clone(&self.fleet_rules))
    }

    /// A new publisher of incidents.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.codec.clone())
    }

    /// Runs the enricher until `stop`.
    pub fn run_enricher(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        bus.run(&epicenter_enricher::spec(), || self.enricher(), &metrics.observer(), stop)
    }

    /// Runs the correlator until `stop`.
    pub fn run_correlator(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        bus.run(&epicenter_correlator::spec(), || self.correlator(), &metrics.observer(), stop)
    }

    /// Runs the correlator of the fleet until `stop`.
    pub fn run_fleet(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        bus.run(&epicenter_correlator::fleet_spec(), || self.fleet(), &metrics.observer(), stop)
    }

    /// Runs the publisher until `stop`.
    pub fn run_publisher(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        let make = || Counted::new(self.publisher(), self.codec.clone(), metrics.clone());
        bus.run(&epicenter_sink::spec(), make, &metrics.observer(), stop)
    }
}
