//! Counts incidents as they are published.

use std::borrow::Cow;
use std::collections::BTreeMap;

use epicenter_bus::{Processor, Put, Record, Reject, State, Step, StoreId};
use epicenter_model::{Codec, Incident, IncidentChange, IncidentState, Severity};
use epicenter_runtime::Metrics;
use epicenter_runtime::metric::{INCIDENTS, OPEN_INCIDENTS};

/// The publisher's only store: the documents.
const DOCUMENTS: StoreId = StoreId(0);
const SEVERITIES: [Severity; 5] = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// A publisher of incidents whose documents are counted by the metrics.
pub struct Counted<P> {
    inner: P,
    codec: Codec,
    metrics: Metrics,
    /// The incidents that are open, by their key.
    open: BTreeMap<Vec<u8>, (String, Severity)>,
    /// How many those are, of each cluster that has had an incident.
    counts: BTreeMap<String, BTreeMap<Severity, usize>>,
}

impl<P> Counted<P> {
    /// Counts what `inner` publishes.
    pub fn new(inner: P, codec: Codec, metrics: Metrics) -> Self {
        Self { inner, codec, metrics, open: BTreeMap::new(), counts: BTreeMap::new() }
    }

    fn take(&mut self, key: &[u8], document: &[u8]) {
        let Ok(document) = self.codec.decode::<Incident>(document) else { return };
        let counts = self.counts.entry(document.cluster.clone()).or_default();
        if let Some((_, before)) = self.open.remove(key) {
            *counts.entry(before).or_default() -= 1;
        }
        if document.state == IncidentState::Open {
            *counts.entry(document.severity).or_default() += 1;
            self.open.insert(key.to_vec(), (document.cluster, document.severity));
        }
    }

    fn show(&self, cluster: &str) {
        let Some(counts) = self.counts.get(cluster) else { return };
        for severity in SEVERITIES {
            let open = counts.get(&severity).copied().unwrap_or_default();
            self.metrics.set(&OPEN_INCIDENTS, &[cluster, severity.name()], open as f64);
        }
    }

    fn forget(&mut self) {
        for cluster in std::mem::take(&mut self.counts).into_keys() {
            SEVERITIES.iter().for_each(|it| self.metrics.forget(&OPEN_INCIDENTS, &[&cluster, it.name()]));
        }
        self.open.clear();
    }
}

impl<P: Processor> Processor for Counted<P> {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.forget();
        self.inner.restore(state)?;
        state.scan(DOCUMENTS, b"").for_each(|(key, document)| self.take(&key, &document));
        self.counts.keys().for_each(|cluster| self.show(cluster));
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let before = step.get(DOCUMENTS, &record.key).map(Cow::into_owned);
        self.inner.process(record, step)?;
        let Some(document) = step.get(DOCUMENTS, &record.key) else { return Ok(()) };
        // A change that is not newer than the document has no effect.
        if before.as_deref() != Some(document.as_ref()) {
            self.take(&record.key, &document);
            let payload = record.payload.as_deref().unwrap_or_default();
            if let Ok(change) = self.codec.decode::<IncidentChange>(payload) {
                self.metrics.add(&INCIDENTS, &[&change.incident.cluster, change.transition.name()], 1.0);
                self.show(&change.incident.cluster);
            }
        }
        Ok(())
    }

    fn flush(&mut self, put: &mut Put<'_>) {
        self.inner.flush(put);
    }

    fn codec(&self) -> Codec {
        self.codec.clone()
    }
}

impl<P> Drop for Counted<P> {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use epicenter_bus::Driver;
    use epicenter_model::{Timestamp, Transition};
    use epicenter_sink::Publisher;

    use super::*;

    fn change(version: i64, transition: Transition, state: IncidentState, severity: Severity) -> Record {
        let incident =
            Incident { id: "i".into(), cluster: "c".into(), version, state, severity, ..Incident::default() };
        let change =
            IncidentChange { at: Timestamp::from_millis(1), transition, incident, ..IncidentChange::default() };
        let payload = Codec::single_object().encode(&change).unwrap();
        Record { key: "c/i".into(), payload: Some(payload.into()), ..Record::default() }
    }

    #[track_caller]
    fn shows(metrics: &Metrics, expected: &[&str]) {
        let text = metrics.text();
        let rows: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0")).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn counts_changes_once_and_what_is_open() {
        let (spec, metrics) = (epicenter_sink::spec(), Metrics::default());
        let codec = Codec::single_object;
        let counted = || Counted::new(Publisher::new(codec()), codec(), metrics.clone());
        let mut driver = Driver::new(&spec, counted());
        let opened = change(1, Transition::Opened, IncidentState::Open, Severity::Low);
        let worse = change(2, Transition::Updated, IncidentState::Open, Severity::High);
        for record in [&opened, &worse, &opened] {
            driver.feed(record).unwrap();
        }
        let transition = |name: &str, count: u64| {
            format!("epicenter_incident_transitions_total{{cluster=\"c\",transition=\"{name}\"}} {count}")
        };
        let (opened, updated, resolved) =
            (transition("opened", 1), transition("updated", 1), transition("resolved", 1));
        let open = "epicenter_incidents_open{cluster=\"c\",severity=\"high\"} 1";
        shows(&metrics, &[&opened, &updated, open]);

        let state = driver.state().clone();
        driver.feed(&change(3, Transition::Resolved, IncidentState::Resolved, Severity::High)).unwrap();
        shows(&metrics, &[&opened, &resolved, &updated]);
        drop(driver);
        assert!(!metrics.text().contains("epicenter_incidents_open"), "the next owner tells");

        let mut next = counted();
        next.restore(&state).unwrap();
        shows(&metrics, &[&opened, &resolved, &updated, open]);
    }
}
