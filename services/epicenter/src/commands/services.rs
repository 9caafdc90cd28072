//! The services, each by itself: `epicenter exporter`, `enricher`, `correlator`, `fleet`, `sink`, `intake`, `console`, `alerts run`,
//! `archive run`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use epicenter_alerts::Alerts;
use epicenter_bus::{Bus, Fault, Stop};
use epicenter_exporter::{Claims, ExporterConfig, Fleet, Log, Origin};
use epicenter_intake::Intake;
use epicenter_model::Codec;
use epicenter_runtime::metric::PARTITIONS;
use epicenter_runtime::{Health, Metrics, Registry, Shutdown, Supervisor, Traces};
use epicenter_sink::InstallError;
use kube::Client;

use super::{api, print};
use crate::cli::Role;
use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::settings::Settings;

/// Drives a processor until the stop.
type Run = fn(&Engine, &Bus, &Metrics, &Stop) -> Result<(), Fault>;

/// The processors of the pipeline, in its order.
pub(super) const PROCESSORS: [(&str, Run); 4] = [
    ("enricher", Engine::run_enricher),
    ("correlator", Engine::run_correlator),
    ("fleet", Engine::run_fleet),
    ("sink", Engine::run_publisher),
];

/// Gives the cluster its name: what was typed, else what is configured, else its context's.
pub(super) fn name(settings: &mut Settings, typed: Option<String>, context: &str) {
    let configured = Some(settings.exporter.cluster.clone()).filter(|name| !name.is_empty());
    let from_context = || context.replace(|c: char| c == '/' || c.is_whitespace() || c.is_control(), "_");
    settings.exporter.cluster = typed.or(configured).unwrap_or_else(from_context);
}

/// A client for the cluster's Incident objects, when they are wanted and can be had; installs their definition.
pub(super) async fn objects(
    settings: &Settings,
    cluster: &Cluster,
    metrics: &Metrics,
    off: bool,
) -> anyhow::Result<Option<Client>> {
    if off {
        return Ok(None);
    }
    let client = cluster.asking(&settings.exporter.cluster, metrics)?;
    match epicenter_sink::install_crd(&client).await {
        Ok(()) => Ok(Some(client)),
        Err(error @ InstallError::Forbidden { .. }) => {
            // It may be there already: then objects can be written without the right to define them.
            tracing::warn!(cluster = settings.exporter.cluster, %error, "the definition of Incident objects is not installed");
            Ok(Some(client))
        }
        Err(error) => {
            eprintln!("epicenter: {error}; going on without Incident objects");
            Ok(None)
        }
    }
}

/// Starts the exporter of a cluster; gives its health.
pub(super) fn export(
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
    config: ExporterConfig,
    cluster: &Cluster,
    log: Log,
    health: &Health,
    metrics: &Metrics,
) -> anyhow::Result<epicenter_exporter::Health> {
    let health = epicenter_exporter::Health::new(&config.cluster, health.clone(), metrics.clone());
    let reported = health.clone();
    let run =
        epicenter_exporter::run(config, cluster.client()?, log, Claims::default(), health, shutdown.token().clone());
    supervisor.task("exporter", run);
    Ok(reported)
}

/// Where an exporter writes to.
pub(super) fn log(bus: Bus, codec: Codec, traces: Traces) -> Log {
    Log { bus, codec, clock: epicenter_runtime::system_clock(), traces }
}

/// A service's process, without its service.
struct Frame {
    bus: Bus,
    codec: Codec,
    traces: Traces,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
    supervisor: Supervisor,
}

impl Frame {
    async fn new(service: &str, settings: &Settings) -> anyhow::Result<Self> {
        Self::with(service, settings, |_, _, _| Ok(Router::new())).await
    }

    /// A process whose admin endpoint has more routes.
    async fn with(
        service: &str,
        settings: &Settings,
        more: impl FnOnce(&Bus, &Codec, &Metrics) -> anyhow::Result<Router>,
    ) -> anyhow::Result<Self> {
        ensure!(
            settings.bus.is_kafka(),
            "a service by itself works on Kafka: set bus.kafka.bootstrap (EPICENTER_BUS__KAFKA__BOOTSTRAP), or run \
             `epicenter up`, which has all services and needs no broker"
        );
        let bus = settings.bus.open(std::path::Path::new(""))?;
        let (health, metrics) = (Health::new(), Metrics::new(env!("CARGO_PKG_VERSION")));
        metrics.set(&PARTITIONS, &[], f64::from(bus.partitions()));
        let shutdown = Shutdown::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let registry = settings.registry(health.clone())?;
        let reader = registry.as_ref().map_or_else(Codec::single_object, |registry| registry.reader());
        let routes = api::routes(bus.clone(), reader.clone()).merge(more(&bus, &reader, &metrics)?);
        let admin = epicenter_runtime::serve(&settings.admin, health.clone(), metrics.clone(), routes).await?;
        tracing::info!(address = %admin.address(), "admin endpoint");
        supervisor.task("admin", admin.run(shutdown.token().clone()));
        let codec = match registry {
            Some(registry) if settings.registry.write => {
                writer(registry, &settings.bus.kafka.prefix, &shutdown).await?
            }
            _ => reader,
        };
        let traces = Traces::open(&settings.traces, &format!("epicenter-{service}"), &metrics)?;
        supervisor.task("log", epicenter_runtime::watch_log(bus.clone(), health.clone(), shutdown.token().clone()));
        Ok(Self { bus, codec, traces, health, metrics, shutdown, supervisor })
    }

    fn log(&self) -> Log {
        log(self.bus.clone(), self.codec.clone(), self.traces.clone())
    }

    fn processor(&mut self, engine: Engine, (name, run): (&'static str, Run)) -> anyhow::Result<()> {
        let engine = Engine { codec: self.codec.clone(), traces: self.traces.clone(), ..engine };
        let bus = self.bus.clone();
        let (health, metrics) = (self.health.clone(), self.metrics.clone());
        self.supervisor.thread(name, move |stop| {
            health.well(name);
            let outcome = run(&engine, &bus, &metrics, stop);
            if let Err(fault) = &outcome {
                health.unwell(name, fault.to_string());
            }
            outcome
        })?;
        Ok(())
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        self.supervisor.run().await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A codec that writes the registry's ids, as soon as those can be had.
async fn writer(registry: Arc<Registry>, prefix: &str, shutdown: &Shutdown) -> anyhow::Result<Codec> {
    let (prefix, stop) = (prefix.to_owned(), shutdown.stop().clone());
    let mut waiting = tokio::task::spawn_blocking(move || registry.wait_for_writer(&prefix, &stop));
    tokio::select! {
        codec = &mut waiting => Ok(codec??),
        signal = shutdown.on_signal() => {
            signal?;
            Ok(waiting.await??)
        }
    }
}

pub(super) async fn exporter(mut settings: Settings) -> anyhow::Result<ExitCode> {
    if settings.clusters.is_set() {
        return exporters(settings).await;
    }
    let cluster = Cluster::open(&settings.cluster).await?;
    name(&mut settings, None, &cluster.context);
    let mut frame = Frame::new("exporter", &settings).await?;
    let log = frame.log();
    let Frame { health, metrics, shutdown, supervisor, .. } = &mut frame;
    export(supervisor, shutdown, settings.exporter, &cluster, log, health, metrics)?;
    frame.run().await
}

/// Where the clusters of an exporter of many come from.
pub(super) async fn origins(settings: &Settings) -> anyhow::Result<Vec<Origin>> {
    let mut origins: Vec<Origin> = settings.clusters.directory.iter().cloned().map(Origin::Directory).collect();
    if settings.clusters.secrets {
        let home = Cluster::open(&settings.cluster).await?;
        origins.push(Origin::Secrets(Box::new(kube::Api::default_namespaced(home.asking("", &Metrics::default())?))));
    }
    Ok(origins)
}

/// The exporters of many clusters.
async fn exporters(settings: Settings) -> anyhow::Result<ExitCode> {
    let origins = origins(&settings).await?;
    let mut frame = Frame::new("exporter", &settings).await?;
    let fleet = Fleet {
        exporter: settings.exporter,
        origins,
        poll: Duration::from_millis(settings.clusters.poll_ms),
        log: frame.log(),
        parts: frame.health.clone(),
        metrics: frame.metrics.clone(),
    };
    frame.supervisor.task("exporter", fleet.run(frame.shutdown.token().clone()));
    frame.run().await
}

pub(super) async fn enricher(settings: Settings) -> anyhow::Result<ExitCode> {
    let engine = Engine::configured(&settings)?;
    let mut frame = Frame::new("enricher", &settings).await?;
    frame.processor(engine, PROCESSORS[0])?;
    frame.run().await
}

pub(super) async fn correlator(settings: Settings) -> anyhow::Result<ExitCode> {
    let engine = Engine::configured(&settings)?;
    let mut frame = Frame::new("correlator", &settings).await?;
    frame.processor(engine, PROCESSORS[1])?;
    frame.run().await
}

pub(super) async fn fleet(settings: Settings) -> anyhow::Result<ExitCode> {
    let engine = Engine::configured(&settings)?;
    let mut frame = Frame::new("fleet", &settings).await?;
    frame.processor(engine, PROCESSORS[2])?;
    frame.run().await
}

/// Starts a thread for each receiver of alerts, and one for the dead-man's switch.
pub(super) fn tell(
    supervisor: &mut Supervisor,
    alerts: Alerts,
    bus: &Bus,
    codec: &Codec,
    health: &Health,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let context = epicenter_alerts::Context {
        bus: bus.clone(),
        codec: codec.clone(),
        alerts: Arc::new(alerts),
        metrics: metrics.clone(),
        health: health.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    for receiver in &context.alerts.receivers {
        let (context, receiver) = (context.clone(), Arc::clone(receiver));
        supervisor.thread(&format!("alerts/{}", receiver.name), move |stop| {
            epicenter_alerts::run(&context, &receiver, stop)
        })?;
    }
    if let Some(watchdog) = context.alerts.watchdog.clone() {
        let context = context.clone();
        supervisor.thread("watchdog", move |stop| epicenter_alerts::watch(&context, &watchdog, stop))?;
    }
    Ok(())
}

pub(super) async fn alerts(settings: Settings) -> anyhow::Result<ExitCode> {
    let alerts = crate::alerts::configured(&settings.alerts)?;
    let alerts =
        alerts.context("nobody is to be told: name a file of alerts in alerts.file (EPICENTER_ALERTS__FILE)")?;
    let mut frame = Frame::new("alerts", &settings).await?;
    let Frame { bus, codec, health, metrics, supervisor, .. } = &mut frame;
    tell(supervisor, alerts, bus, codec, health, metrics)?;
    frame.run().await
}

#[cfg(feature = "archive")]
pub(super) async fn archive(settings: Settings) -> anyhow::Result<ExitCode> {
    let routes = |bus: &Bus, codec: &Codec, metrics: &Metrics| {
        Ok(crate::archive::routes(&crate::archive::past(&settings.archive, None, bus, codec, metrics)?))
    };
    let mut frame = Frame::with("archive", &settings, routes).await?;
    let Frame { bus, codec, health, metrics, supervisor, .. } = &mut frame;
    crate::archive::start(supervisor, &settings.archive, None, bus, codec, health, metrics)?;
    frame.run().await
}

/// Takes a cluster out that no exporter reads any more.
pub(super) fn forget(settings: &Settings, cluster: &str) -> anyhow::Result<ExitCode> {
    ensure!(
        settings.bus.is_kafka(),
        "only on Kafka are there several clusters: set bus.kafka.bootstrap (EPICENTER_BUS__KAFKA__BOOTSTRAP)"
    );
    let bus = settings.bus.open(std::path::Path::new(""))?;
    let codec = settings.writer()?;
    let known = epicenter_exporter::farewell(&log(bus, codec, Traces::default()), cluster)?;
    ensure!(known, "no cluster {cluster} was ever read");
    print(&format!("{cluster} is no longer expected; an exporter that reads it makes it known again\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The door for commands and for events of applications.
pub(super) async fn intake(settings: Settings) -> anyhow::Result<ExitCode> {
    let door = |bus: &Bus, _: &Codec, metrics: &Metrics| {
        Ok(epicenter_intake::routes(Intake::new(bus.clone(), settings.writer()?).counted(metrics)))
    };
    let frame = Frame::with("intake", &settings, door).await?;
    frame.health.well("intake");
    frame.run().await
}

/// Pages for browsers, of all clusters.
pub(super) async fn console(settings: Settings) -> anyhow::Result<ExitCode> {
    ensure!(!settings.console.listen.is_empty(), "console.listen is empty: name an address, such as 127.0.0.1:8080");
    let rules = crate::rules::configured(&settings.rules)?.causal;
    let mut frame = Frame::new("console", &settings).await?;
    let Frame { bus, codec, health, metrics, shutdown, supervisor, .. } = &mut frame;
    let intake = Intake::new(bus.clone(), settings.writer()?);
    let past = crate::archive::past(&settings.archive, None, bus, codec, metrics)?;
    let origin = crate::console::Origin { bus, codec, intake, rules, past, health };
    if let Some(address) = crate::console::start(supervisor, shutdown, &settings, origin).await? {
        tracing::info!(%address, "console");
    }
    frame.run().await
}

pub(super) async fn sink(mut settings: Settings, role: Role) -> anyhow::Result<ExitCode> {
    let mut frame = Frame::new("sink", &settings).await?;
    if role != Role::Member {
        frame.processor(Engine::builtin(), PROCESSORS[3])?;
    }
    if role != Role::Central {
        let cluster = Cluster::open(&settings.cluster).await?;
        name(&mut settings, None, &cluster.context);
        let client = cluster.asking(&settings.exporter.cluster, &frame.metrics)?;
        if let Err(error) = epicenter_sink::install_crd(&client).await {
            // An administrator's may be there already; the task says when it is missing or too old.
            tracing::info!(cluster = settings.exporter.cluster, %error, "the definition of Incident objects is left as it is");
        }
        let (bus, codec) = (frame.bus.clone(), frame.codec.clone());
        let (token, health) = (frame.shutdown.token().clone(), frame.health.clone());
        let (intake, name) =
            (Intake::new(bus.clone(), codec.clone()).counted(&frame.metrics), settings.exporter.cluster.clone());
        let (watching, heard) = (cluster.client()?, health.clone());
        let reading = epicenter_intake::run_annotations(watching, intake, name, token.clone(), heard);
        frame.supervisor.task("annotations", reading);
        let run =
            epicenter_sink::run_objects(client, bus, codec, settings.exporter.cluster, settings.objects, token, health);
        frame.supervisor.task("objects", run);
    }
    frame.run().await
}
