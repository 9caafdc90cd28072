//! Metrics: which there are, and their values in Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A metric's contract with dashboards and alerts.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name, with the unit as suffix.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// One line.
    pub help: &'static str,
    /// Names of its labels. Never an object's name or uid: their values must stay few.
    pub labels: &'static [&'static str],
}

/// How the values of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, s, counted by [`BUCKETS`].
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric that only grows.
pub struct Counter(Metric);

/// A metric that goes up and down.
pub struct Gauge(Metric);

/// A metric of durations.
pub struct Histogram(Metric);

/// Upper bounds of every histogram's buckets, s: from a commit to a local disk to a backlog of five minutes.
pub const BUCKETS: [f64; 15] =
    [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(#[doc = $help]
        pub const $id: $kind =
            $kind(Metric { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] });)+

        /// All metrics.
        pub const ALL: &[Metric] = &[$($id.0),+];
    };
}

metrics! {
    BUILD_INFO: Gauge "epicenter_build_info" ["version"] "Always 1; the version is in the label.";
    PARTITIONS: Gauge "epicenter_partitions" [] "Partitions of each topic, as this process is configured.";
    CLUSTER_UP: Gauge "epicenter_cluster_up" ["cluster"] "1 when every watch of the cluster is connected and the log takes its records, else 0. Only from the exporter that reads it.";
    CLOCK: Gauge "epicenter_cluster_clock_ahead_seconds" ["cluster"] "How far the API server's clock is ahead of the exporter's, by its newest answer, to a second.";
    LAST_HEARTBEAT: Gauge "epicenter_cluster_last_heartbeat_timestamp_seconds" ["cluster"] "Log time of the cluster's newest heartbeat, seconds since the epoch.";
    RECORDS: Counter "epicenter_records_total" ["cluster", "type"] "Records that exporters wrote to events.raw.";
    GAPS: Counter "epicenter_watch_gaps_total" ["cluster"] "Stretches of history that the API server could not give any more.";
    WATCH_UP: Gauge "epicenter_watch_up" ["cluster", "resource"] "1 when the watch is connected.";
    WATCH_SEEN: Gauge "epicenter_watch_last_seen_timestamp_seconds" ["cluster", "resource"] "When the watch last brought something, or its API server was last found well, seconds since the epoch.";
    WATCH_RESTARTS: Counter "epicenter_watch_restarts_total" ["cluster", "reason"] "Ends of watches: closed, failed, expired, closed_empty, restored.";
    ACK_LAG: Gauge "epicenter_exporter_ack_lag_seconds" ["cluster"] "From the receipt of the oldest record of the newest commit to the log's acknowledgement.";
    SPOOL: Gauge "epicenter_exporter_spool_bytes" ["cluster"] "Bytes on disk that wait for the log; only with a spool.";
    SPOOL_LIMIT: Gauge "epicenter_exporter_spool_limit_bytes" ["cluster"] "Bytes at which the spool is full, and the watches are not read until the log takes more; only with a spool.";
    LIMITED: Counter "epicenter_api_limit_wait_seconds_total" ["cluster"] "Time that requests to the API server waited for the rate limit.";
    LEADER: Gauge "epicenter_exporter_leader" ["cluster"] "1 when this exporter holds the cluster's Lease; only with a Lease.";
    DEAD_LETTERS: Counter "epicenter_dead_letters_total" ["service"] "Records that a service could not process; they are in the dead-letter topic with the reason.";
    RULES: Gauge "epicenter_rules_info" ["hash"] "Always 1; the label names the rules in force, as `rules` in each change of an incident does. Enricher and correlator must have the same.";
    RULE_EVENTS: Counter "epicenter_rule_events_total" ["rule", "outcome"] "Events about which a rule of your own decided: set, keep or drop; or of which its condition could not be told: failed.";
    DROPPED: Counter "epicenter_engine_dropped_total" ["cluster", "what"] "What the engine of a cluster could not remember within its bounds: `objects` of which nothing was heard for the longest, `incidents` that were closed early, `members` that their incident only counts, `series` of Events that nobody counts.";
    PROCESSED: Counter "epicenter_processed_records_total" ["processor"] "Input records whose effects a processor committed.";
    LATENCY: Histogram "epicenter_latency_seconds" ["processor"] "From an exporter's receipt of a record until a processor committed what came of it, of the oldest record of each batch; of the processor `sink` it is the latency end to end, from the receipt of an Event to the incident's document. Clocks of both machines count.";
    BATCH: Histogram "epicenter_batch_seconds" ["processor"] "Reading and processing of a batch, from its first record on; their number is that of the batches.";
    COMMIT: Histogram "epicenter_commit_seconds" ["processor"] "Commit of a batch: its records, state and position, as one.";
    TAKEOVER: Histogram "epicenter_takeover_seconds" ["processor"] "Take-over of a partition, from the group's decision until it is read: its predecessor fenced, its state restored. Their number is that of the take-overs.";
    LAG_RECORDS: Gauge "epicenter_lag_records" ["processor", "partition"] "Offsets between a processor's position and the end of its input, told by the partition's owner; on Kafka each transaction takes one offset for its marker.";
    LAG: Gauge "epicenter_lag_seconds" ["processor", "partition"] "Age of the newest record that a processor has committed while there are newer ones, 0 when there are none; told by the partition's owner.";
    LAST_COMMIT: Gauge "epicenter_last_commit_timestamp_seconds" ["processor", "partition"] "When a partition's owner last committed, seconds since the epoch: it stands still with the heartbeats of clusters, or when the log cannot be written.";
    INCIDENTS: Counter "epicenter_incident_transitions_total" ["cluster", "transition"] "Changes of incidents.";
    OPEN_INCIDENTS: Gauge "epicenter_incidents_open" ["cluster", "severity"] "Incidents that are open, told by the owner of the cluster's partition.";
    ALERTS: Counter "epicenter_alerts_total" ["receiver", "kind", "outcome"] "Attempts to tell a receiver of an incident: sent, failed (it is tried again) or refused (it is in dead-letter); by kind of notice: firing, worse, repeat, resolved.";
    ALERTS_BEHIND: Gauge "epicenter_alerts_lag_seconds" ["receiver"] "Age of the change of an incident that a receiver is being told of, or that was read last; 0 when there is nothing to read.";
    ALERTS_OPEN: Gauge "epicenter_alerts_incidents" ["receiver"] "Incidents that a receiver knows of, or may be told of yet.";
    WATCHDOG: Counter "epicenter_alerts_watchdog_total" ["receiver", "outcome"] "Signs of life of the dead-man's switch: sent or failed; `heartbeat` is its URL.";
    COMMANDS: Counter "epicenter_commands_total" ["action", "outcome"] "What people said of incidents: written into the cluster's log, refused with the reason, or failed because the log took nothing; by what it was, such as acknowledge or silence.";
    APPLICATION_EVENTS: Counter "epicenter_application_events_total" ["outcome"] "Events of applications: written, refused or failed, likewise.";
    ARCHIVED: Counter "epicenter_archived_records_total" ["table", "outcome"] "Records that are in the archive: kept, or raw, with the reason why they could not be decoded.";
    ARCHIVE_COMMIT: Histogram "epicenter_archive_commit_seconds" ["table"] "Writing the files of a batch and committing them, to the archive's store.";
    ARCHIVE_FAILURES: Counter "epicenter_archive_failures_total" ["table"] "Attempts that the archive's store did not take; they are made again.";
    ARCHIVE_BEHIND: Gauge "epicenter_archive_lag_seconds" ["table"] "Age of the oldest record that is read and not yet in the archive, 0 when there is none.";
    ARCHIVE_LOST: Counter "epicenter_archive_lost_offsets_total" ["table"] "Offsets that the log deleted before the archive read them.";
    QUESTIONS: Histogram "epicenter_question_seconds" ["outcome"] "Answering a question to the archive, to its last row: answered, refused (it cannot be asked so, or it takes too much), failed, or left by who asked.";
    SPANS: Counter "epicenter_trace_spans_total" ["outcome"] "Spans that the collector of traces took (sent), or did not (lost).";
    API_REQUESTS: Counter "epicenter_api_requests_total" ["cluster", "verb", "code"] "Answers of the API server to the sink, by HTTP method and status; the code `none` stands for requests without an answer.";
}

/// The values of a process's metrics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    values: Arc<Mutex<BTreeMap<(&'static str, Labels), Value>>>,
}

/// Names and values of labels, escaped, such as `cluster="a",type="event"`.
type Labels = String;

#[derive(Clone, Copy, Debug)]
enum Value {
    Number(f64),
    /// How many were in each bucket, and above all of them; and the sum of all.
    Durations {
        counts: [u64; BUCKETS.len() + 1],
        sum: f64,
    },
}

impl Metrics {
    /// No values yet, but for [`BUILD_INFO`].
    pub fn new(version: &str) -> Self {
        let metrics = Self::default();
        metrics.set(&BUILD_INFO, &[version], 1.0);
        metrics
    }

    /// Adds to a counter. `labels` are the values of [`Metric::labels`], in their order.
    pub fn add(&self, Counter(metric): &Counter, labels: &[&str], by: f64) {
        self.change(metric, labels, Value::Number(0.0), |value| {
            if let Value::Number(number) = value {
                *number += by;
            }
        });
    }

    /// Sets a gauge.
    pub fn set(&self, Gauge(metric): &Gauge, labels: &[&str], value: f64) {
        self.values.lock().insert((metric.name, rendered(metric, labels)), Value::Number(value));
    }

    /// Removes a gauge's value: nobody knows it any more.
    pub fn forget(&self, Gauge(metric): &Gauge, labels: &[&str]) {
        self.values.lock().remove(&(metric.name, rendered(metric, labels)));
    }

    /// Counts a duration.
    pub fn observe(&self, Histogram(metric): &Histogram, labels: &[&str], duration: Duration) {
        let seconds = duration.as_secs_f64();
        let none = Value::Durations { counts: [0; BUCKETS.len() + 1], sum: 0.0 };
        self.change(metric, labels, none, |value| {
            if let Value::Durations { counts, sum } = value {
                counts[BUCKETS.partition_point(|bound| *bound < seconds)] += 1;
                *sum += seconds;
            }
        });
    }

    fn change(&self, metric: &Metric, labels: &[&str], none: Value, change: impl FnOnce(&mut Value)) {
        change(self.values.lock().entry((metric.name, rendered(metric, labels))).or_insert(none));
    }

    /// There is nothing any more whose `label` has that value.
    pub fn forget_all(&self, label: &str, value: &str) {
        let pair = pair(label, value);
        // A value cannot hold the pair: its quotes are escaped.
        self.values.lock().retain(|(_, labels), _| !labels.contains(&pair));
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
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            for ((_, labels), value) in rows {
                let _ = write_row(&mut text, name, labels, value);
            }
        }
        text
    }
}

fn write_row(text: &mut String, name: &str, labels: &str, value: &Value) -> std::fmt::Result {
    let braced = |labels: &str| if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    match value {
        Value::Number(number) => writeln!(text, "{name}{} {number}", braced(labels)),
        Value::Durations { counts, sum } => {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut below = 0;
            for (count, bound) in
                counts.iter().zip(BUCKETS.map(|bound| bound.to_string()).iter().chain([&"+Inf".into()]))
            {
                below += count;
                writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}")?;
            }
            let labels = braced(labels);
            writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {below}")
        }
    }
}

fn rendered(metric: &Metric, values: &[&str]) -> Labels {
    debug_assert_eq!(metric.labels.len(), values.len(), "{} takes {:?}", metric.name, metric.labels);
    let pairs: Vec<String> = metric.labels.iter().zip(values).map(|(label, value)| pair(label, value)).collect();
    pairs.join(",")
}

/// A reference of all metrics, in Markdown.
pub fn reference() -> String {
    let buckets = BUCKETS.map(|bound| bound.to_string()).join(", ");
    let mut text = format!(
        "# Metrics\n\n\
         What `/metrics` of the admin endpoint can show; written by `epicenter metrics`. A process shows those of the services \
         that it runs.\n\
         Every histogram is of durations in seconds, with the buckets {buckets}.\n\n\
         | metric | labels | type | what |\n|---|---|---|---|\n"
    );
    for Metric { name, kind, help, labels } in ALL {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{name}` | {labels} | {} | {help} |", kind.name());
    }
    text
}

fn pair(label: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{label}=\"{value}\"")
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
        metrics.set(&PARTITIONS, &[], 12.0);
        metrics.set(&LAG, &["sink", "0"], 3.0);
        metrics.forget(&LAG, &["sink", "0"]);
        let text = metrics.text();
        assert!(text.contains("# TYPE epicenter_dead_letters_total counter\n"), "{text}");
        assert!(text.contains("epicenter_dead_letters_total{service=\"enricher\"} 3\n"), "{text}");
        assert!(text.contains("epicenter_cluster_up{cluster=\"a\\\"b\"} 1\n"), "{text}");
        assert!(text.contains("epicenter_build_info{version=\"1.0\"} 1\n"), "{text}");
        assert!(text.contains("epicenter_partitions 12\n"), "{text}");
        assert!(!text.contains("epicenter_lag_seconds"), "{text}");
    }

    #[test]
    fn counts_durations_by_bucket() {
        let metrics = Metrics::default();
        for millis in [1, 5, 6, 400_000] {
            metrics.observe(&COMMIT, &["sink"], Duration::from_millis(millis));
        }
        let text = metrics.text();
        let row = |suffix: &str| {
            text.lines().find_map(|line| line.strip_prefix(&format!("epicenter_commit_seconds_{suffix} ")))
        };
        assert_eq!(row("bucket{processor=\"sink\",le=\"0.0025\"}"), Some("1"), "{text}");
        assert_eq!(row("bucket{processor=\"sink\",le=\"0.005\"}"), Some("2"), "a bound belongs to its bucket");
        assert_eq!(row("bucket{processor=\"sink\",le=\"0.01\"}"), Some("3"));
        assert_eq!(row("bucket{processor=\"sink\",le=\"300\"}"), Some("3"));
        assert_eq!(row("bucket{processor=\"sink\",le=\"+Inf\"}"), Some("4"));
        assert_eq!(row("sum{processor=\"sink\"}"), Some("400.012"));
        assert_eq!(row("count{processor=\"sink\"}"), Some("4"));
    }

    #[test]
    fn forgets_what_is_gone() {
        let metrics = Metrics::new("1.0");
        for cluster in ["a", "aa"] {
            metrics.set(&CLUSTER_UP, &[cluster], 1.0);
            metrics.set(&WATCH_UP, &[cluster, "pods"], 1.0);
        }
        metrics.forget(&WATCH_UP, &["aa", "pods"]);
        metrics.forget_all("cluster", "a");
        let text = metrics.text();
        assert!(text.contains("cluster_up{cluster=\"aa\"} 1\n") && !text.contains("cluster=\"a\""), "{text}");
        assert!(!text.contains("watch_up{"), "{text}");
    }

    #[test]
    fn names_metrics_as_prometheus_wants_them() {
        for metric in ALL {
            assert!(metric.name.starts_with("epicenter_"), "{metric:?}");
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{metric:?}");
            assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"), "{metric:?}");
        }
    }
}
