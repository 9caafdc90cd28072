//! Where incidents and Events are read from, and commands written to: a running process, a Kafka cluster, or the log of a
//! stopped one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use epicenter_bus::topics::{EVENTS_ENRICHED, INCIDENTS, SILENCES};
use epicenter_bus::{Bus, Start};
use epicenter_intake::Intake;
use epicenter_model::{Codec, Command, EnrichedEvent, EnrichedRecord, Incident, Silence};
use epicenter_runtime::Access;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::directory::DataDirectory;
use crate::settings::Settings;

/// Where to read from.
pub enum View {
    /// A running process.
    Running {
        /// Its admin endpoint.
        address: SocketAddr,
        /// What `/api` asks for.
        token: Option<String>,
    },
    /// A log, and how it is read.
    Log(Bus, Codec),
}

const DEADLINE: Duration = Duration::from_secs(10);

impl View {
    /// The view that the settings lead to.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        if settings.bus.is_kafka() {
            return Ok(Self::Log(settings.bus.open(std::path::Path::new(""))?, settings.reader()?));
        }
        let directory = DataDirectory::of(settings)?;
        if let Some(address) = directory.address()
            && tokio::time::timeout(DEADLINE, tokio::net::TcpStream::connect(address)).await.is_ok_and(|c| c.is_ok())
        {
            let token = settings.admin.token.is_set().then(|| settings.admin.token.read()).transpose()?;
            return Ok(Self::Running { address, token });
        }
        if !directory.exists() {
            bail!(
                "nothing is running, and there is no log in {}: start `epicenter up`, or name its directory with --data-dir",
                directory.path().display()
            );
        }
        Ok(Self::Log(directory.open(settings)?, Codec::single_object()))
    }

    /// All incidents, the first that opened first.
    pub async fn incidents(&self) -> anyhow::Result<Vec<Incident>> {
        self.incidents_like("").await
    }

    /// Those whose id begins with `id`, which may be without `epc-`. Only they are decoded.
    pub async fn incidents_like(&self, id: &str) -> anyhow::Result<Vec<Incident>> {
        match self {
            Self::Running { address, token } => {
                let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("id", id).finish();
                get(*address, &format!("/api/incidents?{query}"), token.as_deref()).await
            }
            Self::Log(bus, codec) => {
                let (bus, codec, id) = (bus.clone(), codec.clone(), id.to_owned());
                tokio::task::spawn_blocking(move || incidents(&bus, &codec, &id)).await?
            }
        }
    }

    /// The silences that are in force, or will be, in order of their beginning.
    pub async fn silences(&self) -> anyhow::Result<Vec<Silence>> {
        match self {
            Self::Running { address, token } => get(*address, "/api/silences", token.as_deref()).await,
            Self::Log(bus, codec) => {
                let (bus, codec) = (bus.clone(), codec.clone());
                tokio::task::spawn_blocking(move || silences(&bus, &codec)).await?
            }
        }
    }

    /// Writes a command into its cluster's log, by `codec` when it is written here; gives it as it was written.
    pub async fn say(&self, command: Command, codec: Codec) -> anyhow::Result<Command> {
        match self {
            Self::Running { address, token } => {
                let body = serde_json::to_string(&command)?;
                ask(*address, "POST /api/v1/commands", token.as_deref(), &body).await
            }
            Self::Log(bus, _) => {
                let intake = Intake::new(bus.clone(), codec);
                Ok(tokio::task::spawn_blocking(move || intake.command(command, &Access::whole())).await??)
            }
        }
    }

    /// The newest `limit` Events, the oldest of them first.
    pub async fn events(&self, limit: usize) -> anyhow::Result<Vec<EnrichedEvent>> {
        match self {
            Self::Running { address, token } => {
                get(*address, &format!("/api/events?limit={limit}"), token.as_deref()).await
            }
            Self::Log(bus, codec) => {
                let (bus, codec) = (bus.clone(), codec.clone());
                tokio::task::spawn_blocking(move || events(&bus, &codec, limit, &|_| true)).await?
            }
        }
    }
}

/// The incidents of a log whose id begins with `id`, which may be without `epc-`; the first that opened first. Blocks.
pub fn incidents(bus: &Bus, codec: &Codec, id: &str) -> anyhow::Result<Vec<Incident>> {
    let wanted = |key: &[u8]| {
        let own = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        own.starts_with(id.as_bytes()) || own.strip_prefix(b"epc-").is_some_and(|own| own.starts_with(id.as_bytes()))
    };
    let mut incidents: Vec<Incident> = Vec::new();
    for value in bus.rows(INCIDENTS.name, &wanted)?.values() {
        incidents.push(codec.decode(value)?);
    }
    incidents.sort_by(|a, b| (a.opened_at, &a.cluster, &a.id).cmp(&(b.opened_at, &b.cluster, &b.id)));
    Ok(incidents)
}

/// The silences of a log, in order of their beginning. Blocks.
pub fn silences(bus: &Bus, codec: &Codec) -> anyhow::Result<Vec<Silence>> {
    let mut silences: Vec<Silence> = Vec::new();
    for value in bus.table(SILENCES.name)?.values() {
        silences.push(codec.decode(value)?);
    }
    silences.sort_by(|a, b| (a.starts_at, &a.cluster, &a.id).cmp(&(b.starts_at, &b.cluster, &b.id)));
    Ok(silences)
}

/// The newest `limit` Events of a log that `wanted` says are. Blocks.
pub fn events(
    bus: &Bus,
    codec: &Codec,
    limit: usize,
    wanted: &dyn Fn(&EnrichedEvent) -> bool,
) -> anyhow::Result<Vec<EnrichedEvent>> {
    let partitions: Vec<u32> = (0..bus.partitions()).collect();
    let mut reader = bus.reader(EVENTS_ENRICHED.name, &partitions, Start::Earliest)?;
    let mut newest = VecDeque::new();
    // A broker answers later than a directory.
    let wait = if matches!(bus, Bus::Local(_)) { Duration::ZERO } else { Duration::from_secs(2) };
    while let Some(record) = reader.next(wait)? {
        let payload = record.payload.as_deref().unwrap_or_default();
        if let Ok(EnrichedRecord::Event(event)) = EnrichedRecord::decode(codec, payload)
            && wanted(&event)
        {
            newest.push_back(*event);
            if newest.len() > limit {
                newest.pop_front();
            }
        }
    }
    Ok(newest.into())
}

async fn get<T: DeserializeOwned>(address: SocketAddr, path: &str, token: Option<&str>) -> anyhow::Result<T> {
    ask(address, &format!("GET {path}"), token, "").await
}

/// One request to the admin endpoint of a process on this machine: method and path, and a body of JSON.
async fn ask<T: DeserializeOwned>(
    address: SocketAddr,
    request: &str,
    token: Option<&str>,
    body: &str,
) -> anyhow::Result<T> {
    let answer = answer(address, request, token, body, DEADLINE).await?;
    serde_json::from_slice(&answer).with_context(|| format!("asking http://{address}: {request}"))
}

/// What the process answers whose admin endpoint is at `address`, as it comes: to a method and a path, and a body of JSON.
pub async fn answer(
    address: SocketAddr,
    request: &str,
    token: Option<&str>,
    body: &str,
    limit: Duration,
) -> anyhow::Result<Vec<u8>> {
    let what = || format!("asking http://{address}: {request}");
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let bearer = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let head = format!("content-type: application/json\r\ncontent-length: {}\r\n{bearer}", body.len());
        let request = format!("{request} HTTP/1.0\r\nhost: {address}\r\n{head}\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let mut answer = tokio::time::timeout(limit, exchange).await.with_context(what)?.with_context(what)?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").with_context(what)?;
    let body = answer.split_off(head + 4);
    let head = String::from_utf8_lossy(&answer);
    let status = head.lines().next().unwrap_or_default();
    if !matches!(status.split(' ').nth(1), Some("200" | "202")) {
        bail!("{}: {status}: {}", what(), String::from_utf8_lossy(&body).trim());
    }
    Ok(body)
}
