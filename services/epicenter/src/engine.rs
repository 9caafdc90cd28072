//! The processors, with the rules that are in force.

use std::sync::Arc;

use epicenter_bus::{Bus, Fault, Stop};
use epicenter_correlate::FleetRules;
use epicenter_correlator::{Correlator, FleetCorrelator};
use epicenter_enricher::Enricher;
use epicenter_model::Codec;
use epicenter_rules::RuleSet;
use epicenter_runtime::metric::{DROPPED, RULE_EVENTS, RULES};
use epicenter_runtime::{ConfigErrors, Metrics, Traces};
use epicenter_sink::Publisher;

use crate::counted::Counted;
use crate::rules;
use crate::settings::Settings;

/// What the processors are made with.
#[derive(Clone)]
pub struct Engine {
    /// Reads and writes all records.
    pub codec: Codec,
    /// What Events mean, and what causes what.
    pub rules: RuleSet,
    /// The rules of all clusters together.
    pub fleet_rules: Arc<FleetRules>,
    /// Who is told of the way of records.
    pub traces: Traces,
}

impl Engine {
    /// The engine with the catalogue and the rules of this version.
    pub fn builtin() -> Self {
        Self::with(RuleSet::builtin())
    }

    /// The engine with these rules.
    pub fn with(rules: RuleSet) -> Self {
        let fleet_rules = Arc::new(FleetRules::builtin().clone());
        Self { codec: Codec::single_object(), rules, fleet_rules, traces: Traces::default() }
    }

    /// The engine with the rules of this version, and what is configured.
    pub fn configured(settings: &Settings) -> Result<Self, ConfigErrors> {
        let engine = Self::with(rules::configured(&settings.rules)?);
        Ok(engine.silent_after(settings.fleet.silent_after_s))
    }

    /// The same engine, by which a cluster counts as silent after so many seconds.
    pub fn silent_after(self, seconds: u32) -> Self {
        Self { fleet_rules: Arc::new(FleetRules::builtin().clone().silent_after(seconds.into())), ..self }
    }

    /// A new enricher.
    pub fn enricher(&self) -> Enricher {
        Enricher::new(self.codec.clone(), Arc::clone(&self.rules.classifier))
    }

    /// A new correlator.
    pub fn correlator(&self) -> Correlator {
        Correlator::new(self.codec.clone(), Arc::clone(&self.rules.causal))
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
        metrics.set(&RULES, &[self.rules.causal.hash()], 1.0);
        let make = || {
            let metrics = metrics.clone();
            self.enricher().counted(move |rule, outcome| metrics.add(&RULE_EVENTS, &[rule, outcome], 1.0))
        };
        bus.run(&epicenter_enricher::spec(), make, &metrics.observer(&self.traces), stop)
    }

    /// Runs the correlator until `stop`.
    pub fn run_correlator(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        metrics.set(&RULES, &[self.rules.causal.hash()], 1.0);
        let make = || {
            let metrics = metrics.clone();
            self.correlator().telling(move |cluster, what, more| metrics.add(&DROPPED, &[cluster, what], more as f64))
        };
        bus.run(&epicenter_correlator::spec(), make, &metrics.observer(&self.traces), stop)
    }

    /// Runs the correlator of the fleet until `stop`.
    pub fn run_fleet(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        bus.run(&epicenter_correlator::fleet_spec(), || self.fleet(), &metrics.observer(&self.traces), stop)
    }

    /// Runs the publisher until `stop`.
    pub fn run_publisher(&self, bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
        let make = || Counted::new(self.publisher(), self.codec.clone(), metrics.clone());
        bus.run(&epicenter_sink::spec(), make, &metrics.observer(&self.traces), stop)
    }
}
