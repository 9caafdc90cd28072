//! Alerts, from a log in a directory to receivers on loopback.
#![allow(clippy::unwrap_used, clippy::panic)]

mod deliver;
mod look;
mod otlp;
mod watchdog;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use epicenter_alerts::{Alerts, Context};
use epicenter_bus::{Bus, LocalConfig};
use epicenter_model::Codec;
use epicenter_runtime::{Health, Metrics};

/// Something is wrong when what is waited for has not come by then.
const LIMIT: Duration = Duration::from_secs(60);

/// What the file `text` is told with, of a new log in `directory`.
fn context(directory: &Path, partitions: u32, text: &str) -> Context {
    let config = LocalConfig { directory: directory.to_owned(), partitions, retention: Duration::MAX };
    Context {
        bus: Bus::local(config).unwrap(),
        codec: Codec::single_object(),
        alerts: Arc::new(Alerts::read("alerts.yaml", text).unwrap()),
        metrics: Metrics::default(),
        health: Health::new(),
        runtime: tokio::runtime::Handle::current(),
    }
}
