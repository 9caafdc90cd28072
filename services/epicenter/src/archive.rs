//! Long memory, where it is built in.

use std::path::Path;

use epicenter_bus::Bus;
use epicenter_console::Past;
use epicenter_model::Codec;
use epicenter_runtime::{ArchiveConfig, Health, Metrics, Supervisor};

/// What a binary without it says when it is asked for.
#[cfg(not(feature = "archive"))]
pub const MISSING: &str = "this epicenter is built without the archive: use the image whose tag ends in -archive, or build it with \
                           `cargo build --release -p epicenter --features archive`";

/// Starts a thread for each table, at the location that is configured, else in `directory`.
#[cfg(feature = "archive")]
pub fn start(
    supervisor: &mut Supervisor,
    config: &ArchiveConfig,
    directory: Option<&Path>,
    bus: &Bus,
    codec: &Codec,
    health: &Health,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    use epicenter_model::{EnrichedEvent, IncidentChange};

    let context = epicenter_archive::Context {
        bus: bus.clone(),
        codec: codec.clone(),
        store: epicenter_archive::Store::open(config, directory)?,
        config: config.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let changes = context.clone();
    supervisor.thread("archive/events", move |stop| epicenter_archive::run::<EnrichedEvent>(&context, stop))?;
    supervisor.thread("archive/changes", move |stop| epicenter_archive::run::<IncidentChange>(&changes, stop))?;
    Ok(())
}

/// Without the archive built in: nothing, unless one is configured.
#[cfg(not(feature = "archive"))]
pub fn start(
    _: &mut Supervisor,
    config: &ArchiveConfig,
    _: Option<&Path>,
    _: &Bus,
    _: &Codec,
    _: &Health,
    _: &Metrics,
) -> anyhow::Result<()> {
    anyhow::ensure!(config.location.is_empty(), MISSING);
    Ok(())
}

/// The archive at the location that is configured, else in `directory`, to be asked.
#[cfg(feature = "archive")]
fn at(config: &ArchiveConfig, directory: Option<&Path>) -> anyhow::Result<epicenter_archive::ask::Archive> {
    let store = epicenter_archive::Store::open(config, directory)?;
    Ok(epicenter_archive::ask::Archive::new(store, &config.query)?)
}

/// The archive that the settings lead to, to be asked; with the log, when that can be opened here.
#[cfg(feature = "archive")]
pub fn open(
    settings: &crate::settings::Settings,
    log: Option<(Bus, Codec)>,
) -> anyhow::Result<epicenter_archive::ask::Archive> {
    let archive = at(&settings.archive, directory(settings)?.as_deref())?;
    Ok(match log {
        Some((bus, codec)) => archive.with_log(bus, codec, &settings.archive),
        None => archive,
    })
}

/// The same; with the log, unless another process has it open.
#[cfg(feature = "archive")]
pub async fn open_here(settings: &crate::settings::Settings) -> anyhow::Result<epicenter_archive::ask::Archive> {
    let log = match crate::view::View::open(settings).await {
        Ok(crate::view::View::Log(bus, codec)) => Some((bus, codec)),
        Ok(crate::view::View::Running { .. }) | Err(_) => None,
    };
    open(settings, log)
}

/// Where the archive is when nothing is configured: below the data directory, unless the log is on Kafka.
#[cfg(feature = "archive")]
pub fn directory(settings: &crate::settings::Settings) -> anyhow::Result<Option<std::path::PathBuf>> {
    if settings.bus.is_kafka() || !settings.archive.location.is_empty() {
        return Ok(None);
    }
    Ok(Some(crate::directory::DataDirectory::of(settings)?.archive()))
}

/// The archive to be asked, if there is one: at the location that is configured, else in `directory`; with what `bus` has that is
/// not archived yet.
#[cfg(feature = "archive")]
pub fn past(
    config: &ArchiveConfig,
    directory: Option<&Path>,
    bus: &Bus,
    codec: &Codec,
    metrics: &Metrics,
) -> anyhow::Result<Past> {
    if config.location.is_empty() && directory.is_none() {
        return Ok(None);
    }
    let archive = at(config, directory)?.with_log(bus.clone(), codec.clone(), config).with_metrics(metrics.clone());
    Ok(Some(std::sync::Arc::new(archive)))
}

/// Without the archive built in: none.
#[cfg(not(feature = "archive"))]
pub fn past(_: &ArchiveConfig, _: Option<&Path>, _: &Bus, _: &Codec, _: &Metrics) -> anyhow::Result<Past> {
    Ok(None)
}

/// What it answers below `/api/v1`.
#[cfg(feature = "archive")]
pub fn routes(past: &Past) -> axum::Router {
    past.clone().map(epicenter_archive::ask::routes).unwrap_or_default()
}

/// Without the archive built in: nothing.
#[cfg(not(feature = "archive"))]
pub fn routes(_: &Past) -> axum::Router {
    axum::Router::new()
}

/// Before the installation is moved: an archive that is configured must have all of it.
#[cfg(feature = "archive")]
pub fn moving(config: &ArchiveConfig, from: &Bus) -> anyhow::Result<()> {
    use epicenter_model::{EnrichedEvent, IncidentChange};

    let Some((store, runtime)) = moves(config)? else { return Ok(()) };
    epicenter_archive::whole::<EnrichedEvent>(&store, from, config.generation, runtime.handle())?;
    epicenter_archive::whole::<IncidentChange>(&store, from, config.generation, runtime.handle())?;
    Ok(())
}

/// Before what it is moved to is open: the archive goes on with `to`, under [`next_generation`]. Can be called again.
#[cfg(feature = "archive")]
pub fn moved(config: &ArchiveConfig, to: &Bus) -> anyhow::Result<()> {
    use epicenter_model::{EnrichedEvent, IncidentChange};

    let (Some((store, runtime)), Some(generation)) = (moves(config)?, next_generation(config)) else { return Ok(()) };
    epicenter_archive::moved::<EnrichedEvent>(&store, to, generation, runtime.handle())?;
    epicenter_archive::moved::<IncidentChange>(&store, to, generation, runtime.handle())?;
    Ok(())
}

/// The generation under which an archive that is configured goes on when the installation is moved.
pub fn next_generation(config: &ArchiveConfig) -> Option<u32> {
    (!config.location.is_empty()).then(|| config.generation.saturating_add(1))
}

/// The store of an archive that is configured, and a runtime for it.
#[cfg(feature = "archive")]
fn moves(config: &ArchiveConfig) -> anyhow::Result<Option<(epicenter_archive::Store, tokio::runtime::Runtime)>> {
    if config.location.is_empty() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(Some((epicenter_archive::Store::open(config, None)?, runtime)))
}

/// Without the archive built in: nothing, unless one is configured.
#[cfg(not(feature = "archive"))]
pub fn moving(config: &ArchiveConfig, _: &Bus) -> anyhow::Result<()> {
    anyhow::ensure!(config.location.is_empty(), MISSING);
    Ok(())
}

/// Without the archive built in: nothing.
#[cfg(not(feature = "archive"))]
pub fn moved(_: &ArchiveConfig, _: &Bus) -> anyhow::Result<()> {
    Ok(())
}
