//! One request to stop, for threads and for tasks.

use std::time::Duration;

use epicenter_bus::Stop;
use tokio_util::sync::CancellationToken;

/// A request to stop. Threads look at [`Shutdown::stop`], tasks at [`Shutdown::token`]. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: Stop,
    token: CancellationToken,
}

/// What is left to be done after a request must be done within that time; Kubernetes kills after 30 s.
pub(crate) const GRACE: Duration = Duration::from_secs(20);

impl Shutdown {
    /// A stop that nobody has requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop. Final.
    pub fn request(&self) {
        self.stop.request();
        self.token.cancel();
    }

    /// For threads.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// For tasks.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits until SIGINT or SIGTERM comes, or somebody else requests the stop; then requests it.
    pub async fn on_signal(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping; once more stops at once"),
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            () = self.token.cancelled() => {}
        }
        self.request();
        Ok(())
    }
}
