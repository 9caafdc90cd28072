//! The dead-man's switch: tells that the pipeline works for as long as it does.
//!
//! It is tied to the pipeline and not to a timer: exporters write heartbeats into the log, enricher and correlator pass them
//! on, and the correlator signals them to the fleet. Only while such signals come is anybody told.

use std::time::{Duration, Instant};

use epicenter_bus::topics::FLEET_SIGNALS;
use epicenter_bus::{Fault, Start, Stop};
use epicenter_runtime::metric::WATCHDOG;

use crate::alertmanager;
use crate::deliver::{Context, now};
use crate::file::Watchdog;
use crate::post::{Outcome, Post};
use crate::receiver::{Endpoint, Target};

/// A cluster is heard of every 30 s; of which nothing is heard for so long stands still.
const STILL: Duration = Duration::from_secs(90);
const IDLE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the pipeline until `stop`. Blocks: give it a thread.
///
/// # Errors
/// [`Fault::Fatal`] from the log.
pub fn watch(context: &Context, watchdog: &Watchdog, stop: &Stop) -> Result<(), Fault> {
    let post = Post::new().map_err(|error| Fault::Fatal {
        what: "reading the certificates that are trusted".to_owned(),
        why: error.to_string(),
        mend: "Install ca-certificates, or set SSL_CERT_FILE".to_owned(),
    })?;
    let mut pulse = None;
    let mut told = None;
    while !stop.requested() {
        match follow(context, watchdog, &post, stop, &mut pulse, &mut told) {
            Err(fault @ Fault::Fatal { .. }) => return Err(fault),
            Err(fault) => {
                tracing::warn!(%fault, "reading signals again");
                stop.wait(PAUSE);
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn follow(
    context: &Context,
    watchdog: &Watchdog,
    post: &Post,
    stop: &Stop,
    pulse: &mut Option<Instant>,
    told: &mut Option<Instant>,
) -> Result<(), Fault> {
    let mut signals = context.bus.reader(FLEET_SIGNALS.name, &[0], Start::Latest)?;
    while !stop.requested() {
        if signals.next(IDLE)?.is_some() {
            *pulse = Some(Instant::now());
        }
        let alive = pulse.is_some_and(|pulse| pulse.elapsed() < STILL);
        if alive && told.is_none_or(|told| told.elapsed() >= watchdog.every) {
            *told = Some(Instant::now());
            tell(context, watchdog, post);
        }
        if !alive && told.take().is_some() {
            tracing::warn!("nothing comes through the pipeline: the dead-man's switch is silent");
        }
    }
    Ok(())
}

fn tell(context: &Context, watchdog: &Watchdog, post: &Post) {
    let mut requests = Vec::new();
    let alive_ms = watchdog.every.as_millis().try_into().unwrap_or(i64::MAX / 8) * 4;
    for receiver in watchdog.receivers.iter().filter_map(|name| context.alerts.receiver(name)) {
        if let Target::Alertmanager(endpoint) = &receiver.target {
            let body = alertmanager::watchdog(now(), alive_ms);
            requests.push((receiver.name.as_str(), endpoint.request("/api/v2/alerts", body)));
        }
    }
    if let Some(url) = &watchdog.heartbeat {
        let endpoint = Endpoint { url: url.clone(), authorization: epicenter_runtime::Secret::default() };
        requests.push(("heartbeat", endpoint.request("", "{}".to_owned())));
    }
    for (name, request) in requests {
        let outcome = match request {
            Ok(request) => context.runtime.block_on(post.send(request)),
            Err(why) => Outcome::Away { why, retry_after: None },
        };
        let said = match outcome {
            Outcome::Taken => "sent",
            Outcome::Refused(why) | Outcome::Away { why, .. } => {
                tracing::warn!(receiver = name, why, "the dead-man's switch is not heard");
                "failed"
            }
        };
        context.metrics.add(&WATCHDOG, &[name, said], 1.0);
    }
}
