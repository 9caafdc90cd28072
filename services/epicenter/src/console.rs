//! The console, in `up` and by itself.

use std::net::SocketAddr;
use std::sync::Arc;

use epicenter_bus::Bus;
use epicenter_console::{Board, Console, Past};
use epicenter_correlate::Rules;
use epicenter_intake::Intake;
use epicenter_model::Codec;
use epicenter_runtime::{Health, Shutdown, Supervisor};

use crate::settings::Settings;

/// What a console is made from.
pub struct Origin<'o> {
    /// The log.
    pub bus: &'o Bus,
    /// Reads it.
    pub codec: &'o Codec,
    /// Takes what people say.
    pub intake: Intake,
    /// Why what causes what.
    pub rules: Arc<Rules>,
    /// The archive, if there is one.
    pub past: Past,
    /// Hears how it fares.
    pub health: &'o Health,
}

/// Starts a thread for each topic that it shows, and the server; gives its address. `None` when none is wanted.
pub async fn start(
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
    settings: &Settings,
    origin: Origin<'_>,
) -> anyhow::Result<Option<SocketAddr>> {
    if settings.console.listen.is_empty() {
        return Ok(None);
    }
    let Origin { bus, codec, intake, rules, past, health } = origin;
    let board = Board::new(codec.clone());
    // Of who runs it on a machine of their own.
    let user = if settings.bus.is_kafka() { String::new() } else { std::env::var("USER").unwrap_or_default() };
    let clock = epicenter_runtime::system_clock();
    let console = Console { board: board.clone(), intake, past, rules, health: health.clone(), user, clock };
    let serve =
        epicenter_console::serve(&settings.console, &settings.admin.tokens, console, shutdown.token().clone()).await?;
    let address = serve.address();
    for topic in epicenter_console::TOPICS {
        let (bus, board, health) = (bus.clone(), board.clone(), health.clone());
        supervisor.thread(&format!("console/{topic}"), move |stop| {
            epicenter_console::follow(&bus, topic, &board, &health, stop)
        })?;
    }
    supervisor.task("console", serve.run());
    Ok(Some(address))
}
