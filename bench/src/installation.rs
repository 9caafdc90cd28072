//! An installation to be measured: a real broker, a real API server, and services that are processes of their own.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use epicenter_bus::{Bus, KafkaConfig};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::{Process, binary};
use tempfile::TempDir;

pub const CLUSTER: &str = "bench";
pub const PARTITIONS: u32 = 3;
const STARTED_IN: Duration = Duration::from_secs(60);

/// It runs until it is dropped. It needs the program `epicenter`, built as this one is.
pub struct Installation {
    running: Vec<Process>,
    pub plane: ControlPlane,
    kafka: Kafka,
    _logs: TempDir,
}

impl Installation {
    /// Starts an exporter, `processors` (commands with their arguments) and then `others`, all with the settings `more`. When it
    /// returns, the exporter watches Events and the processors have their partitions.
    pub fn start(processors: &[&[&str]], others: &[&[&str]], more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let logs = tempfile::tempdir()?;
        let kafka = Kafka::start()?;
        let plane = ControlPlane::start(Options::default())?;
        let command = |arguments: &[&str]| -> anyhow::Result<Command> {
            let mut command = Command::new(binary()?);
            command.args(arguments).env("EPICENTER_BUS__KAFKA__BOOTSTRAP", kafka.bootstrap());
            command.env("EPICENTER_BUS__KAFKA__PARTITIONS", PARTITIONS.to_string());
            command
                .env("EPICENTER_EXPORTER__CLUSTER", CLUSTER)
                .env("EPICENTER_CLUSTER__KUBECONFIG", plane.kubeconfig());
            command.envs(more.iter().copied());
            Ok(command)
        };
        let created = command(&["topics", "create"])?.output()?;
        ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let mut running = Vec::new();
        for (number, arguments) in [&["exporter"][..]].iter().chain(processors).chain(others).enumerate() {
            let log = logs.path().join(format!("{}-{number}.log", arguments[0]));
            running.push(Process::spawn(arguments[0], &mut command(arguments)?, &log)?);
        }
        let mut installation = Self { running, plane, kafka, _logs: logs };
        installation.until_well(0, "bench/events")?;
        for service in &mut installation.running[1..=processors.len()] {
            service.until(STARTED_IN, |log| log.matches("took partition over").count() == PARTITIONS as usize)?;
        }
        Ok(installation)
    }

    /// Waits until the service that was started as `number` (from 0, the exporter) has said that `part` of it is well.
    pub fn until_well(&mut self, number: usize, part: &str) -> anyhow::Result<()> {
        let is_well = |line: &str| line.contains("\"is well\"") && line.contains(part);
        self.running[number].until(STARTED_IN, |log| log.lines().any(is_well))?;
        Ok(())
    }

    /// Its topics.
    pub fn bus(&self) -> anyhow::Result<Bus> {
        Ok(Bus::kafka(KafkaConfig { partitions: PARTITIONS, ..KafkaConfig::new(self.kafka.bootstrap()) })?)
    }

    /// None of its services has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for service in &mut self.running {
            ensure!(service.ended()?.is_none(), "{}", service.tail());
        }
        Ok(())
    }
}
