//! The commands, a module each.

mod acls;
mod alerts;
mod api;
mod archive;
mod completion;
mod config;
mod crd;
mod demo;
mod doctor;
mod incidents;
mod progress;
mod query;
mod replay;
mod report;
mod rules;
mod say;
mod schemas;
mod services;
mod ticker;
mod timeline;
mod topics;
mod up;
mod watch;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use epicenter_runtime::{metric, telemetry};

use crate::cli::{Alerts, Archive, Cli, Command, Document, Global};
use crate::settings::Settings;

/// Libraries that tell of every step at the level `info`.
const LIBRARIES: &str = if cfg!(feature = "archive") { "buoyant_kernel=warn,deltalake_core=warn," } else { "" };

/// What a service logs.
const SERVICE: &str = "info";

/// Runs a command.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    epicenter_exporter::choose_cryptography();
    // These neither need nor check a configuration.
    match command {
        Command::Config(what) => return config::run(what, &global),
        Command::Crd => return crd::run(),
        Command::Completion { shell } => return completion::run(shell),
        Command::Metrics => return print(&metric::reference()).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let settings = settings(&global)?;
    let service = matches!(
        command,
        Command::Exporter
            | Command::Enricher
            | Command::Correlator
            | Command::Fleet
            | Command::Intake
            | Command::Console
            | Command::Sink(_)
            | Command::Alerts(Alerts::Run)
            | Command::Archive(Archive::Run)
    );
    let quiet = if service { SERVICE } else { "error" };
    let filter = if settings.log.is_empty() { quiet } else { &settings.log };
    telemetry::init(&format!("{LIBRARIES}{filter}"))?;
    match command {
        Command::Demo => demo::run(),
        Command::Replay(arguments) => replay::run(&settings, &arguments),
        Command::Rules(what) => rules::run(&what),
        Command::Alerts(Alerts::Run) => block_on(services::alerts(settings)),
        Command::Alerts(what) => alerts::run(&settings, what),
        Command::Archive(what) => block_on(archive::run(settings, what)),
        Command::Query(what) => block_on(query::run(&settings, what)),
        Command::Aggregate(what) => block_on(query::aggregate(&settings, what)),
        Command::Report(arguments) => block_on(report::run(&settings, arguments)),
        Command::Topics(what) => topics::run(what, &settings),
        Command::Schemas(what) => schemas::run(what, &settings),
        Command::Up(arguments) => block_on(up::run(settings, arguments)),
        Command::Incidents(arguments) => block_on(incidents::list(&settings, &arguments)),
        Command::Show { id, why, output } => block_on(incidents::show(&settings, &id, why, output)),
        Command::Timeline { id, output } => block_on(timeline::run(&settings, &id, output)),
        Command::Watch(arguments) => block_on(watch::run(&settings, arguments)),
        Command::Say(what) => block_on(say::run(&settings, what)),
        Command::Silences { output } => block_on(say::silences(&settings, output)),
        Command::Events { limit, output } => block_on(incidents::events(&settings, limit, output)),
        Command::Doctor => block_on(doctor::run(&settings)),
        Command::Exporter => block_on(services::exporter(settings)),
        Command::Enricher => block_on(services::enricher(settings)),
        Command::Correlator => block_on(services::correlator(settings)),
        Command::Fleet => block_on(services::fleet(settings)),
        Command::Forget { cluster } => services::forget(&settings, &cluster),
        Command::Intake => block_on(services::intake(settings)),
        Command::Console => block_on(services::console(settings)),
        Command::Sink(arguments) => block_on(services::sink(settings, arguments.role)),
        Command::Config(_) | Command::Crd | Command::Metrics | Command::Completion { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// Runs the exporter, in a program that has no other command.
pub fn exporter(global: &Global) -> anyhow::Result<ExitCode> {
    epicenter_exporter::choose_cryptography();
    let settings = settings(global)?;
    telemetry::init(if settings.log.is_empty() { SERVICE } else { &settings.log })?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !settings.clusters.is_set() {
        // One cluster does not keep a core busy, and each thread has a heap of its own.
        runtime.worker_threads(1);
    }
    block_in(&mut runtime, services::exporter(settings))
}

/// The configuration, below what was typed.
fn settings(global: &Global) -> anyhow::Result<Settings> {
    let mut settings = Settings::load(global.config.as_deref())?;
    if let Some(kubeconfig) = &global.kubeconfig {
        settings.cluster.kubeconfig = kubeconfig.display().to_string();
    }
    if let Some(context) = &global.context {
        settings.cluster.context.clone_from(context);
    }
    if let Some(directory) = &global.data_dir {
        settings.bus.local.directory = Some(directory.clone());
    }
    Ok(settings)
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    block_in(&mut tokio::runtime::Builder::new_multi_thread(), work)
}

fn block_in(
    runtime: &mut tokio::runtime::Builder,
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let runtime = runtime.enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(work);
    // What still blocks on I/O must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Writes to standard output. A reader that has gone, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

fn print_yaml(value: &impl serde::Serialize) -> anyhow::Result<()> {
    // By way of JSON, so that both say the same.
    print(&serde_saphyr::to_string(&serde_json::to_value(value)?)?)
}

/// Shows one thing as it was asked for.
fn show(output: Document, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    match output {
        Document::Text => print(&text()),
        Document::Json => print_json(value),
        Document::Yaml => print_yaml(value),
    }
}
