//! Whether this process reaches its log.

use std::convert::Infallible;
use std::time::Duration;

use epicenter_bus::Bus;
use tokio_util::sync::CancellationToken;

use crate::Health;

const LOOK: Duration = Duration::from_secs(1);
/// The same, while it does not: each look connects anew.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Reports to `health`, as the part `kafka`, what keeps this process from its log and how to mend it, until `token` is
/// cancelled.
///
/// # Errors
/// None.
pub async fn watch_log(bus: Bus, health: Health, token: CancellationToken) -> Result<(), Infallible> {
    let watch = async {
        loop {
            let asked = bus.clone();
            let found = tokio::task::spawn_blocking(move || asked.trouble()).await.unwrap_or_default();
            let pause = if found.is_some() { LOOK_AGAIN } else { LOOK };
            match found {
                Some(why) => health.unwell("kafka", why),
                None => health.well("kafka"),
            }
            tokio::time::sleep(pause).await;
        }
    };
    let _: Option<Infallible> = token.run_until_cancelled(watch).await;
    Ok(())
}
