//! Metrics: which there are, and their values in Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;

/// A metric's contract with dashboards and alerts.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name, with the unit as suffix.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// One line.
    pub help: &'static str,
    /// Names of its labels. Never an object's name or uid: their values must stay few.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($id:ident: $kind:literal $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(#[doc = $help]
        pub const $id: Metric = Metric { name: $name, kind: $kind, help: $help, labels: &[$($label),*] };)+

        /// All metrics.
        pub const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD_INFO: "gauge" "epicenter_build_info" ["version"] "Always 1; the version is in the label.";
    CLUSTER_UP: "gauge" "epicenter_cluster_up" ["cluster"] "1 when the cluster's newest heartbeat says that every watch is connected; see also the time of that heartbeat.";
    LAST_HEARTBEAT: "gauge" "epicenter_cluster_last_heartbeat_timestamp_seconds" ["cluster"] "Log time of the cluster's newest heartbeat, seconds since the epoch.";
    RECORDS: "counter" "epicenter_records_total" ["cluster", "type"] "Records that exporters wrote to events.raw.";
    GAPS: "counter" "epicenter_watch_gaps_total" ["cluster"] "Stretches of history that the API server could not give any more.";
    DEAD_LETTERS: "counter" "epicenter_dead_letters_total" ["service"] "Records that a service could not process; they are in the dead-letter topic with the reason.";
    INCIDENTS: "counter" "epicenter_incident_transitions_total" ["cluster", "transition"] "Changes of incidents.";
    LAG: "gauge" "epicenter_lag_seconds" ["stage"] "Log time by which a stage's output is behind events.raw.";
}

/// The values of a process's metrics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    values: Arc<Mutex<BTreeMap<(&'static str, String), f64>>>,
}

impl Metrics {
    /// No values yet, but for [`BUILD_INFO`].
    pub fn new(version: &str) -> Self {
        let metrics = Self::default();
        metrics.set(&BUILD_INFO, &[version], 1.0);
        metrics
    }

    /// Adds to a counter. `labels` are the values of [`Metric::labels`], in their order.
    pub fn add(&self, metric: &Metric, labels: &[&str], by: f64) {
        *self.values.lock().entry((metric.name, rendered(metric, labels))).or_default() += by;
    }

    /// Sets a gauge.
    pub fn set(&self, metric: &Metric, labels: &[&str], value: f64) {
        self.values.lock().insert((metric.name, rendered(metric, labels)), value);
    }

    /// All values in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        let values = self.values.lock();
        let mut text = String::new();
        for metric in ALL {
            let rows = values.range((metric.name, String::new())..).take_while(|((name, _), _)| *name == metric.name);
            let mut rows = rows.peekable();
            if rows.peek().is_none() {
                continue;
            }
            let Metric { name, kind, help, .. } = metric;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for ((_, labels), value) in rows {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

fn rendered(metric: &Metric, values: &[&str]) -> String {
    debug_assert_eq!(metric.labels.len(), values.len(), "{} takes {:?}", metric.name, metric.labels);
    let escape = |value: &str| value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    let pairs: Vec<String> =
        metric.labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_values_in_prometheus_text() {
        let metrics = Metrics::new("1.0");
        metrics.add(&DEAD_LETTERS, &["enricher"], 2.0);
        metrics.add(&DEAD_LETTERS, &["enricher"], 1.0);
        metrics.set(&CLUSTER_UP, &["a\"b"], 1.0);
        let text = metrics.text();
        assert!(text.contains("# TYPE epicenter_dead_letters_total counter\n"), "{text}");
        assert!(text.contains("epicenter_dead_letters_total{service=\"enricher\"} 3\n"), "{text}");
        assert!(text.contains("epicenter_cluster_up{cluster=\"a\\\"b\"} 1\n"), "{text}");
        assert!(text.contains("epicenter_build_info{version=\"1.0\"} 1\n"), "{text}");
    }

    #[test]
    fn names_metrics_as_prometheus_wants_them() {
        for metric in ALL {
            assert!(metric.name.starts_with("epicenter_"), "{metric:?}");
            assert_eq!(metric.kind == "counter", metric.name.ends_with("_total"), "{metric:?}");
        }
    }
}
