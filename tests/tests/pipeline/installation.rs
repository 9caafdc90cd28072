//! An installation on a real broker: its topics, and its services as processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, KafkaConfig, Record, Start};
use epicenter_tests::kafka::Kafka;
use epicenter_tests::kube::ControlPlane;
use epicenter_tests::process::{Process, program};
use tempfile::TempDir;

/// After that time without a heartbeat a member of a group counts as dead.
pub const SESSION: Duration = Duration::from_secs(3);
/// After that time an exporter's Lease can be taken.
pub const LEASE: Duration = Duration::from_secs(4);

pub struct Installation {
    pub kafka: Kafka,
    pub directory: TempDir,
    pub partitions: u32,
    pub prefix: String,
}

impl Installation {
    /// A broker with the topics, and a directory of clusters that is empty.
    pub fn new(partitions: u32) -> Self {
        let directory = tempfile::Builder::new().prefix("epicenter-installation-").tempdir().unwrap();
        fs::create_dir(directory.path().join("clusters")).unwrap();
        let installation =
            Self { kafka: Kafka::start().unwrap(), directory, partitions, prefix: "epicenter.".to_owned() };
        let created = installation.command(&["topics", "create"]).output().unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        installation
    }

    /// `epicenter` with the settings of this installation; exporters agree by a Lease.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("epicenter");
        command.args(arguments);
        command
    }

    fn program(&self, name: &str) -> Command {
        self.of_program(&program(name).unwrap())
    }

    /// A program with the settings of this installation.
    pub fn of_program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let millis = |time: Duration| time.as_millis().to_string();
        command.envs([
            ("EPICENTER_BUS__KAFKA__BOOTSTRAP", self.kafka.bootstrap()),
            ("EPICENTER_BUS__KAFKA__PARTITIONS", self.partitions.to_string()),
            ("EPICENTER_BUS__KAFKA__PREFIX", self.prefix.clone()),
            ("EPICENTER_BUS__KAFKA__SESSION_TIMEOUT_MS", millis(SESSION)),
            ("EPICENTER_BUS__KAFKA__HEARTBEAT_INTERVAL_MS", millis(SESSION / 6)),
            ("EPICENTER_CLUSTERS__POLL_MS", "200".to_owned()),
            ("EPICENTER_EXPORTER__LEASE__ENABLED", "true".to_owned()),
            ("EPICENTER_EXPORTER__LEASE__NAMESPACE", "default".to_owned()),
            ("EPICENTER_EXPORTER__LEASE__DURATION_S", LEASE.as_secs().to_string()),
            ("EPICENTER_EXPORTER__RETRY_LONGEST_MS", "2000".to_owned()),
        ]);
        command
    }

    /// Starts a service, with its log in `name`.log: an exporter of the clusters of the directory, a sink of all clusters.
    pub fn service(&self, name: &str, service: &str) -> Process {
        self.service_with(name, service, &[])
    }

    /// The same, with settings of its own.
    pub fn service_with(&self, name: &str, service: &str, settings: &[(&str, String)]) -> Process {
        let mut command = match service {
            "exporter" => self.program("epicenter-exporter"),
            "sink" => self.command(&["sink", "--role", "central"]),
            "alerts" => self.command(&["alerts", "run"]),
            service => self.command(&[service]),
        };
        if service == "exporter" {
            command.env("EPICENTER_CLUSTERS__DIRECTORY", self.directory.path().join("clusters"));
        }
        self.spawn(name, command.envs(settings.iter().cloned()))
    }

    /// Starts the sink that writes the objects of a cluster.
    pub fn member(&self, cluster: &str, plane: &ControlPlane) -> Process {
        let mut command = self.command(&["sink", "--role", "member", "--kubeconfig"]);
        command.arg(plane.kubeconfig()).env("EPICENTER_EXPORTER__CLUSTER", cluster);
        self.spawn(&format!("member-{cluster}"), &mut command)
    }

    /// Starts a process, with its log in `name`.log.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Process {
        Process::spawn(name, command, &self.directory.path().join(format!("{name}.log"))).unwrap()
    }

    /// Adds a cluster to those that exporters read.
    pub fn add(&self, name: &str, plane: &ControlPlane) {
        fs::copy(plane.kubeconfig(), self.cluster(name)).unwrap();
    }

    /// Takes it away.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.cluster(name)).unwrap();
    }

    fn cluster(&self, name: &str) -> PathBuf {
        self.directory.path().join("clusters").join(format!("{name}.yaml"))
    }

    /// Waits until each of those clusters has one of the exporters that watches its Events.
    pub fn until_watched(&self, exporters: &mut [Process], clusters: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(90);
        for cluster in clusters {
            let part = format!("\"{cluster}/events\"");
            let watches = |exporter: &Process| {
                exporter.output().lines().any(|line| line.contains("\"is well\"") && line.contains(&part))
            };
            while !exporters.iter().any(watches) {
                assert!(Instant::now() < deadline, "nobody watches {cluster}\n{}", exporters[0].tail());
                for exporter in &mut *exporters {
                    assert!(exporter.ended().unwrap().is_none(), "{}", exporter.tail());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// The log.
    pub fn bus(&self) -> Bus {
        let (partitions, prefix) = (self.partitions, self.prefix.clone());
        Bus::kafka(KafkaConfig { partitions, prefix, ..KafkaConfig::new(self.kafka.bootstrap()) }).unwrap()
    }

    /// Every committed record of a topic, by partition.
    pub fn read(&self, topic: &'static str) -> BTreeMap<u32, Vec<Record>> {
        let all: Vec<u32> = (0..self.partitions).collect();
        let mut reader = self.bus().reader(topic, &all, Start::Earliest).unwrap();
        let mut records: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
        while let Some(record) = reader.next(Duration::from_secs(2)).unwrap() {
            records.entry(record.partition).or_default().push(record);
        }
        records
    }
}
