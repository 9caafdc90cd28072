//! What the kernel tells of a processor, as metrics.

use std::time::{Duration, SystemTime};

use epicenter_bus::Progress;

use crate::metric::{BATCH, COMMIT, DEAD_LETTERS, LAG, LAG_RECORDS, LAST_COMMIT, LATENCY, PROCESSED, TAKEOVER};
use crate::{Metrics, Traces};

impl Metrics {
    /// An [`epicenter_bus::Observer`] that counts what it hears, and passes `traces` on.
    pub fn observer(&self, traces: &Traces) -> impl Fn(&str, u32, Progress) + Sync + use<> {
        let (metrics, traces) = (self.clone(), traces.clone());
        move |processor, partition, progress| match progress {
            Progress::Traced(traced) => traces.processed(processor, partition, &traced),
            progress => metrics.hear(processor, partition, progress, SystemTime::now()),
        }
    }

    fn hear(&self, processor: &str, partition: u32, progress: Progress, now: SystemTime) {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Clocks of several machines: what seems to lie ahead is new.
        let age = |millis: i64| now.saturating_sub(Duration::from_millis(millis.try_into().unwrap_or(0)));
        let whole = [processor];
        let owned = [processor, &partition.to_string()];
        match progress {
            Progress::TakenOver { took } => self.observe(&TAKEOVER, &whole, took),
            Progress::Committed { records, dead_letters, oldest, processing, commit } => {
                self.add(&PROCESSED, &whole, records as f64);
                if dead_letters > 0 {
                    self.add(&DEAD_LETTERS, &whole, dead_letters as f64);
                }
                self.observe(&LATENCY, &whole, age(oldest));
                self.observe(&BATCH, &whole, processing);
                self.observe(&COMMIT, &whole, commit);
                self.set(&LAST_COMMIT, &owned, now.as_secs_f64());
            }
            Progress::Behind { records, newest } => {
                self.set(&LAG_RECORDS, &owned, records as f64);
                if records == 0 {
                    self.set(&LAG, &owned, 0.0);
                } else if let Some(newest) = newest {
                    self.set(&LAG, &owned, age(newest).as_secs_f64());
                }
            }
            Progress::Traced(_) => {}
            Progress::GivenUp => [LAG_RECORDS, LAG, LAST_COMMIT].iter().for_each(|metric| self.forget(metric, &owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told: &[Progress], expected: &[&str]) {
        let metrics = Metrics::default();
        for progress in told {
            metrics.hear("sink", 3, *progress, SystemTime::UNIX_EPOCH + Duration::from_secs(10));
        }
        let text = metrics.text();
        let rows: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{")).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn counts_what_it_hears() {
        let millis = Duration::from_millis;
        let committed = Progress::Committed {
            records: 5,
            dead_letters: 1,
            oldest: 9_750,
            processing: millis(50),
            commit: millis(20),
        };
        let counted = [
            "epicenter_dead_letters_total{service=\"sink\"} 1",
            "epicenter_processed_records_total{processor=\"sink\"} 5",
            "epicenter_latency_seconds_sum{processor=\"sink\"} 0.25",
            "epicenter_latency_seconds_count{processor=\"sink\"} 1",
            "epicenter_batch_seconds_sum{processor=\"sink\"} 0.05",
            "epicenter_batch_seconds_count{processor=\"sink\"} 1",
            "epicenter_commit_seconds_sum{processor=\"sink\"} 0.02",
            "epicenter_commit_seconds_count{processor=\"sink\"} 1",
        ];
        let owned = "epicenter_last_commit_timestamp_seconds{processor=\"sink\",partition=\"3\"} 10";
        check(&[committed], &[&counted[..], &[owned]].concat());
        check(&[committed, Progress::GivenUp], &counted);
        check(
            &[Progress::TakenOver { took: millis(100) }],
            &[
                "epicenter_takeover_seconds_sum{processor=\"sink\"} 0.1",
                "epicenter_takeover_seconds_count{processor=\"sink\"} 1",
            ],
        );
    }

    #[test]
    fn is_late_only_when_something_is_left() {
        let records = |count: u64| format!("epicenter_lag_records{{processor=\"sink\",partition=\"3\"}} {count}");
        let seconds = |count: u64| format!("epicenter_lag_seconds{{processor=\"sink\",partition=\"3\"}} {count}");
        check(&[Progress::Behind { records: 0, newest: Some(1_000) }], &[&records(0), &seconds(0)]);
        check(&[Progress::Behind { records: 7, newest: Some(8_000) }], &[&records(7), &seconds(2)]);
        check(&[Progress::Behind { records: 7, newest: Some(12_000) }], &[&records(7), &seconds(0)]);
        check(&[Progress::Behind { records: 7, newest: None }], &[&records(7)]);
    }
}
