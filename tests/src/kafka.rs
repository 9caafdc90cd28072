//! A real Kafka broker: one node, KRaft, storage in a temporary directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::certificates::{Authority, Certificate};
use crate::process::{self, Process, Signal};
use crate::{cache, ports};

const READY: &str = "Kafka Server started";
const STARTED_IN: Duration = Duration::from_secs(300);

/// A broker. Dropping it kills it and removes its data.
pub struct Kafka {
    directory: TempDir,
    ports: Ports,
    starts: u32,
    process: Process,
}

/// How a broker is guarded: nothing is allowed that was not granted, but on the port without TLS, where everything is.
pub struct Security<'s> {
    /// What it shows of itself.
    pub certificate: Certificate,
    /// Who signs the certificates of its clients.
    pub clients: &'s Authority,
    /// Its users by SCRAM-SHA-512, with their passwords.
    pub users: BTreeMap<&'s str, &'s str>,
}

/// A port of a guarded broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// TLS, for clients that show a certificate.
    MutualTls,
    /// TLS, for users with a password (SCRAM-SHA-512) or an unsigned token (OAUTHBEARER).
    Sasl,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    controller: u16,
    mutual: u16,
    sasl: u16,
}

impl Kafka {
    /// A new broker on a free port, without topics.
    pub fn start() -> Result<Self> {
        ports::retry(|| Self::start_once(None))
    }

    /// The same, guarded.
    pub fn guarded(security: &Security<'_>) -> Result<Self> {
        ports::retry(|| Self::start_once(Some(security)))
    }

    fn start_once(security: Option<&Security<'_>>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("epicenter-kafka-").tempdir()?;
        let [plain, controller, mutual, sasl] = ports::free()?;
        let ports = Ports { plain, controller, mutual, sasl };
        let mut properties = properties(directory.path(), ports, security.is_some());
        let mut format = java(&directory, "kafka.tools.StorageTool")?;
        format.args(["format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg", "--config"]);
        format.arg(directory.path().join("server.properties"));
        if let Some(security) = security {
            properties.push_str(&guards(directory.path(), security)?);
            for (name, password) in &security.users {
                format.arg("--add-scram").arg(format!("SCRAM-SHA-512=[name={name},password={password}]"));
            }
        }
        fs::write(directory.path().join("server.properties"), properties)?;
        process::output(&mut format, STARTED_IN).context("formatting the broker's storage")?;
        let process = launch(&directory, 1)?;
        let mut kafka = Self { directory, ports, starts: 1, process };
        kafka.wait_ready()?;
        Ok(kafka)
    }

    /// `host:port`, without TLS; everybody may do everything there.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// `host:port` of a guarded broker.
    pub fn guarded_bootstrap(&self, port: Port) -> String {
        let number = match port {
            Port::MutualTls => self.ports.mutual,
            Port::Sasl => self.ports.sasl,
        };
        format!("localhost:{number}")
    }

    /// Shows another certificate from the next start on.
    pub fn show(&self, certificate: &Certificate) -> Result<()> {
        Ok(fs::write(self.directory.path().join("broker.pem"), [&*certificate.key, &*certificate.pem].concat())?)
    }

    /// Runs one of Kafka's tools on it, by the name of its class.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut command = java(&self.directory, class)?;
        process::output(command.args(["--bootstrap-server", &self.bootstrap()]).args(arguments), STARTED_IN)
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
        let port = self.ports.plain;
        self.process.until(STARTED_IN, |log| log.contains(READY) && ports::answers(port))
    }
}

fn java(directory: &TempDir, class: &str) -> Result<Command> {
    let lib = format!("{}/*:{}/*", cache::server("kafka")?.display(), cache::server("kafka-tools")?.display());
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

fn properties(directory: &Path, ports: Ports, guarded: bool) -> String {
    let data = directory.join("data");
    let Ports { plain, controller, mutual, sasl } = ports;
    let more = |host: &str| {
        if guarded { format!(",MUTUAL://{host}:{mutual},SASL://{host}:{sasl}") } else { String::new() }
    };
    let (listening, advertised) = (more("127.0.0.1"), more("localhost"));
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}{listening}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{plain}{advertised}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MUTUAL:SSL,SASL:SASL_SSL\n\
         log.dirs={}\nauto.create.topics.enable=false\nnum.network.threads=2\nnum.io.threads=4\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\ngroup.consumer.min.session.timeout.ms=1000\n\
         group.consumer.session.timeout.ms=6000\ngroup.consumer.min.heartbeat.interval.ms=500\n\
         group.consumer.heartbeat.interval.ms=1000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
         message.max.bytes=4194304\nlog.cleaner.dedupe.buffer.size=4194304\nlog.cleaner.backoff.ms=2000\n",
        data.display()
    )
}

/// What guards a broker, as properties.
fn guards(directory: &Path, security: &Security<'_>) -> Result<String> {
    let Security { certificate, clients, .. } = security;
    fs::write(directory.join("broker.pem"), [&*certificate.key, &*certificate.pem].concat())?;
    fs::write(directory.join("clients.pem"), clients.pem())?;
    let mut properties = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\nallow.everyone.if.no.acl.found=false\n\
         ssl.keystore.type=PEM\nssl.truststore.type=PEM\nlistener.name.mutual.ssl.client.auth=required\n\
         ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/\n\
         listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER\n\
         listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule \
         required unsecuredLoginStringClaim_sub=\"broker\";\nlistener.name.sasl.oauthbearer.connections.max.reauth.ms=3600000\n"
        .to_owned();
    for (store, file) in [("keystore", "broker.pem"), ("truststore", "clients.pem")] {
        writeln!(properties, "ssl.{store}.location={}", directory.join(file).display())?;
    }
    Ok(properties)
}
