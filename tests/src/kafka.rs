//! A real Kafka broker: one node, KRaft, storage in a temporary directory.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{self, Process, Signal};
use crate::{cache, ports};

const READY: &str = "Kafka Server started";
const STARTED_IN: Duration = Duration::from_secs(90);

/// A broker. Dropping it kills it and removes its data.
pub struct Kafka {
    directory: TempDir,
    port: u16,
    starts: u32,
    process: Process,
}

impl Kafka {
    /// A new broker on a free port, without topics.
    pub fn start() -> Result<Self> {
        ports::retry(Self::start_once)
    }

    fn start_once() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("epicenter-kafka-").tempdir()?;
        let [port, controller] = ports::free()?;
        fs::write(directory.path().join("server.properties"), properties(directory.path(), port, controller))?;
        let mut format = java(&directory, "kafka.tools.StorageTool")?;
        format.args(["format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg", "--config"]);
        format.arg(directory.path().join("server.properties"));
        process::output(&mut format, STARTED_IN).context("formatting the broker's storage")?;
        let process = launch(&directory, 1)?;
        let mut kafka = Self { directory, port, starts: 1, process };
        kafka.wait_ready()?;
        Ok(kafka)
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal: `Stop` and `Cont` make it stand still and go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it, in order (`Term`) or at once (`Kill`), and starts it again on the same data and port.
    pub fn restart(&mut self, how: Signal) -> Result<()> {
        self.end(how)?;
        self.start_again()
    }

    /// Ends it, in order (`Term`) or at once (`Kill`).
    pub fn end(&mut self, how: Signal) -> Result<()> {
        self.process.signal(how)?;
        self.process.wait(Duration::from_secs(60)).map(drop)
    }

    /// Starts it again on the same data and port.
    pub fn start_again(&mut self) -> Result<()> {
        self.starts += 1;
        self.process = launch(&self.directory, self.starts)?;
        self.wait_ready()
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let port = self.port;
        self.process.until(STARTED_IN, |log| log.contains(READY) && ports::answers(port))
    }
}

fn java(directory: &TempDir, class: &str) -> Result<Command> {
    let lib = cache::server("kafka")?.join("*");
    let mut command = Command::new("java");
    command
        .args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(lib)
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-Dorg.slf4j.simpleLogger.log.kafka.server=info")
        .arg("-Dorg.slf4j.simpleLogger.log.org.apache.kafka.server=info")
        .current_dir(directory.path())
        .arg(class);
    Ok(command)
}

fn launch(directory: &TempDir, start: u32) -> Result<Process> {
    let log = directory.path().join(format!("broker-{start}.log"));
    let config = directory.path().join("server.properties");
    Process::spawn("kafka", java(directory, "kafka.Kafka")?.arg(config), &log)
}

fn properties(directory: &std::path::Path, port: u16, controller: u16) -> String {
    let data = directory.join("data");
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\nauto.create.topics.enable=false\nnum.network.threads=2\nnum.io.threads=4\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
         message.max.bytes=4194304\nlog.cleaner.dedupe.buffer.size=4194304\nlog.cleaner.backoff.ms=2000\n",
        data.display()
    )
}
