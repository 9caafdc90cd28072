//! The task that keeps one cluster's `Incident` objects in step with the topic `incidents`.

use std::time::Duration;

use epicenter_bus::{Bus, Fault};
use epicenter_model::Codec;
use epicenter_runtime::{Backoff, Health, now};
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::follow::{Batch, follow};
use crate::writer::{Work, Writer};

/// How often to look at what is there.
const SWEEP: Duration = Duration::from_secs(60);
/// Between two attempts while the API server refuses, ms.
const RETRY_FIRST_MS: u64 = 500;
const RETRY_LONGEST_MS: u64 = 30_000;

/// How incidents are shown in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectsConfig {
    /// How long an incident that ended stays in the cluster, hours.
    pub retention_hours: i64,
    /// How many `Incident` objects there are at most.
    pub max_objects: usize,
    /// How many requests that write are made in a second, at most.
    pub writes_per_second: u32,
    /// To be raised when the log is begun anew: versions begin again then, and objects refuse to go back without it. With 0,
    /// `up` takes the time at which its log was begun, ms; give a larger one to a Kafka cluster that follows it.
    pub log_epoch: i64,
    /// The `reportingInstance` of Events, at most 128 bytes. Stable, such as the name of the Deployment.
    pub instance: String,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self {
            retention_hours: 24,
            max_objects: 500,
            writes_per_second: 20,
            log_epoch: 0,
            instance: "epicenter-sink".to_owned(),
        }
    }
}

impl ObjectsConfig {
    /// What is wrong with it: (key, what is wrong and how to mend it).
    pub fn problems(&self) -> Vec<(String, String)> {
        let checks = [
            ("retention_hours", self.retention_hours < 0, "must not be negative"),
            (
                "max_objects",
                !(1..=10_000).contains(&self.max_objects),
                "must be 1 to 10000: each takes up to 16 KiB of etcd",
            ),
            ("writes_per_second", !(1..=1000).contains(&self.writes_per_second), "must be 1 to 1000"),
            ("log_epoch", self.log_epoch < 0, "must not be negative"),
            ("instance", self.instance.is_empty() || self.instance.len() > 128, "must have 1 to 128 bytes"),
        ];
        checks
            .into_iter()
            .filter(|(_, wrong, _)| *wrong)
            .map(|(key, _, what)| (key.to_owned(), what.to_owned()))
            .collect()
    }
}

/// Shows the incidents of `cluster` as objects in the cluster that `client` reaches, and tells their transitions by
/// Events, until `token` is cancelled.
///
/// Follows the topic from its own committed position, and commits what the API server has taken. What is away for a
/// while (the API server, the custom resource, a permission) is reported to `health` as `objects/<cluster>` with how to
/// mend it, and tried again. An object that somebody deletes while its incident is open comes back with the incident's
/// next change, and with another `IncidentOpened`. Give it a client that does not retry by itself.
///
/// # Errors
/// [`Fault::Fatal`] from a log in a directory.
pub async fn run_objects(
    client: Client,
    bus: Bus,
    codec: Codec,
    cluster: String,
    config: ObjectsConfig,
    token: CancellationToken,
    health: Health,
) -> Result<(), Fault> {
    let (out, batches) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking({
        let (cluster, health) = (cluster.clone(), health.clone());
        move || follow(&bus, &codec, &cluster, &out, &health)
    });
    let part = format!("objects/{cluster}");
    let task = Task { writer: Writer::new(client, cluster, config), part, health };
    // Dropped when it is cancelled, and `batches` with it: the reader sees that and ends.
    let _ = token.run_until_cancelled_owned(task.run(batches)).await;
    reader.await.unwrap_or_else(|panic| {
        let mend = "A bug, please report it".to_owned();
        Err(Fault::Fatal { what: "reading incidents".to_owned(), why: panic.to_string(), mend })
    })
}

struct Task {
    writer: Writer,
    part: String,
    health: Health,
}

impl Task {
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = sweep.tick() => self.perform(&Work::Sweep).await,
                batch = batches.recv() => {
                    let Some(batch) = batch else { return };
                    for work in &batch.work {
                        self.perform(work).await;
                    }
                    // The reader has gone: it reads the same again when it comes back.
                    let _ = batch.done.send(());
                }
            }
        }
    }

    /// Does `work`, however long that takes.
    async fn perform(&mut self, work: &Work) {
        let mut backoff = Backoff::new(RETRY_FIRST_MS, RETRY_LONGEST_MS);
        while let Err(blocked) = self.writer.perform(work, now()).await {
            self.health.unwell(&self.part, blocked.why);
            tokio::time::sleep(backoff.next(blocked.retry_after)).await;
        }
        self.health.well(&self.part);
    }
}

/// What retention and the age of news are measured against: not the log's time, which stands still with the exporter.
#[cfg(test)]
mod tests;
