//! The dead-man's switch: tells that the pipeline works for as long as it does.
//!
//! It is tied to the pipeline and not to a timer: exporters write heartbeats into the log, enricher and correlator pass them
//! on, and the correlator signals them to the fleet. Only while such signals come is anybody told.

use std::time::{Duration, Instant};

use epicenter_bus::topics::FLEET_SIGNALS;
use epicenter_bus::{Fault, Record, Start, Stop};
use epicenter_model::RecordType;
use epicenter_runtime::metric::WATCHDOG;
use epicenter_runtime::now;

use crate::alertmanager;
use crate::deliver::Context;
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
    let mut pulse = Pulse::default();
    while !stop.requested() {
        match follow(context, watchdog, &post, stop, &mut pulse) {
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

fn follow(context: &Context, watchdog: &Watchdog, post: &Post, stop: &Stop, pulse: &mut Pulse) -> Result<(), Fault> {
    let mut signals = context.bus.reader(FLEET_SIGNALS.name, &[0], Start::Latest)?;
    while !stop.requested() {
        let record = signals.next(IDLE)?;
        // What somebody says is no sign of the pipeline's life.
        let is_sign = |record: Record| {
            let payload = record.payload.unwrap_or_default();
            !context.codec.record_type(&payload).is_ok_and(|of| of == RecordType::Command)
        };
        if record.is_some_and(is_sign) {
            pulse.heard = Some(Instant::now());
        }
        if pulse.due(Instant::now(), watchdog.every) {
            tell(context, watchdog, post);
        }
    }
    Ok(())
}

/// When a signal came last, and when it was told last that there are signals.
#[derive(Default)]
struct Pulse {
    heard: Option<Instant>,
    told: Option<Instant>,
}

impl Pulse {
    /// It is time to tell that the pipeline works.
    fn due(&mut self, now: Instant, every: Duration) -> bool {
        let works = self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < STILL);
        if !works && self.told.take().is_some() {
            tracing::warn!("nothing comes through the pipeline: the dead-man's switch is silent");
        }
        let due = works && self.told.is_none_or(|told| now.saturating_duration_since(told) >= every);
        if due {
            self.told = Some(now);
        }
        due
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_only_while_signals_come() {
        let (start, every) = (Instant::now(), Duration::from_secs(60));
        let mut pulse = Pulse::default();
        let mut told = Vec::new();
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            // The pipeline begins after a while, stands still, and goes on.
            if second % 30 == 0 && ((60..=200).contains(&second) || second >= 450) {
                pulse.heard = Some(now);
            }
            if pulse.due(now, every) {
                told.push(second);
            }
        }
        assert_eq!(told, [60, 120, 180, 240, 450, 510, 570]);
    }
}
