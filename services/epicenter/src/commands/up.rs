//! `epicenter up`: the whole pipeline in one process, on the current kubeconfig's cluster.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use epicenter_bus::topics::INCIDENT_CHANGES;
use epicenter_bus::{Bus, Start};
use epicenter_intake::Intake;
use epicenter_runtime::metric::PARTITIONS;
use epicenter_runtime::{BoxError, Health, Metrics, Shutdown, Supervisor, Traces};
use tokio_util::sync::CancellationToken;

use super::{api, print, services, ticker};
use crate::cli::Up;
use crate::cluster::Cluster;
use crate::directory::DataDirectory;
use crate::engine::Engine;
use crate::settings::Settings;

const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(mut settings: Settings, arguments: Up) -> anyhow::Result<ExitCode> {
    let (health, metrics) = (Health::new(), Metrics::new(env!("CARGO_PKG_VERSION")));
    let traces = Traces::open(&settings.traces, "epicenter", &metrics)?;
    let engine = Engine { traces, ..Engine::configured(&settings)? };
    let alerts = crate::alerts::configured(&settings.alerts)?;
    let cluster = Cluster::open(&settings.cluster).await?;
    services::name(&mut settings, arguments.cluster, &cluster.context);
    // Its log is its own: another exporter of the cluster writes elsewhere.
    settings.exporter.lease.enabled = false;
    let directory = DataDirectory::of(&settings)?;
    let bus = directory.open(&settings)?;
    if let Bus::Local(log) = &bus
        && settings.objects.log_epoch == 0
    {
        settings.objects.log_epoch = log.created();
    }
    metrics.set(&PARTITIONS, &[], f64::from(bus.partitions()));
    let intake = Intake::new(bus.clone(), engine.codec.clone()).counted(&metrics);
    let archive = directory.archive();
    let past = crate::archive::past(&settings.archive, Some(&archive), &bus, &engine.codec, &metrics)?;
    let routes = api::routes(bus.clone(), engine.codec.clone())
        .merge(epicenter_intake::routes(intake.clone()))
        .merge(crate::archive::routes(&past));
    let admin = epicenter_runtime::serve(&settings.admin, health.clone(), metrics.clone(), routes).await?;
    let _announced = directory.announce(admin.address())?;
    let objects = services::objects(&settings, &cluster, &metrics, arguments.no_objects).await?;

    print(&format!(
        "epicenter {}: cluster {} ({}), log in {}, http://{}/api/incidents\n",
        env!("CARGO_PKG_VERSION"),
        settings.exporter.cluster,
        cluster.url(),
        directory.path().display(),
        admin.address()
    ))?;
    let shutdown = Shutdown::new();
    let mut supervisor = Supervisor::new(shutdown.clone());
    let changes = bus.reader(INCIDENT_CHANGES.name, &(0..bus.partitions()).collect::<Vec<_>>(), Start::Latest)?;
    supervisor.thread("ticker", move |stop| ticker::run(changes, stop))?;
    for (name, run) in services::PROCESSORS {
        let (engine, bus, metrics) = (engine.clone(), bus.clone(), metrics.clone());
        supervisor.thread(name, move |stop| run(&engine, &bus, &metrics, stop))?;
    }
    let origin = crate::console::Origin {
        bus: &bus,
        codec: &engine.codec,
        intake: intake.clone(),
        rules: Arc::clone(&engine.rules.causal),
        past,
        health: &health,
    };
    if let Some(address) = crate::console::start(&mut supervisor, &shutdown, &settings, origin).await? {
        print(&format!("console: http://{address}/\n"))?;
    }
    if let Some(alerts) = alerts {
        services::tell(&mut supervisor, alerts, &bus, &engine.codec, &health, &metrics)?;
    }
    crate::archive::start(&mut supervisor, &settings.archive, Some(&archive), &bus, &engine.codec, &health, &metrics)?;
    supervisor.task("admin", admin.run(shutdown.token().clone()));
    if let Some(client) = objects {
        let config = settings.objects.clone();
        let (name, token) = (settings.exporter.cluster.clone(), shutdown.token().clone());
        let reading =
            epicenter_intake::run_annotations(cluster.client()?, intake, name.clone(), token.clone(), health.clone());
        supervisor.task("annotations", reading);
        let run =
            epicenter_sink::run_objects(client, bus.clone(), engine.codec.clone(), name, config, token, health.clone());
        supervisor.task("objects", run);
    }
    let name = settings.exporter.cluster.clone();
    let log = services::log(bus, engine.codec, engine.traces);
    let exporting = services::export(&mut supervisor, &shutdown, settings.exporter, &cluster, log, &health, &metrics)?;
    supervisor.task("greeting", greet(name, exporting, shutdown.token().clone()));
    supervisor.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// Says when every watch is connected: from then on nothing that happens is missed.
async fn greet(
    cluster: String,
    exporting: epicenter_exporter::Health,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    while !exporting.is_healthy() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
    print(&format!("watching {cluster}\n"))?;
    Ok(())
}
