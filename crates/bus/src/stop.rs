//! A request to stop, seen by all that hold it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A stop request that many threads can wait for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    own: Arc<(Mutex<bool>, Condvar)>,
    parent: Option<Arc<Stop>>,
}

/// How often a child looks at its parent while it waits.
const LOOK_UP: Duration = Duration::from_millis(100);

impl Stop {
    /// A stop that nobody has requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop. Final.
    pub fn request(&self) {
        *self.own.0.lock() = true;
        self.own.1.notify_all();
    }

    /// Somebody has requested it.
    pub fn requested(&self) -> bool {
        *self.own.0.lock() || self.parent.as_ref().is_some_and(|parent| parent.requested())
    }

    /// A stop that is requested when this one is, and that can be requested without this one.
    pub fn child(&self) -> Self {
        Self { own: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Waits until it is requested, `limit` at most; says whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.requested() && Instant::now() < deadline {
            let mut own = self.own.0.lock();
            if !*own {
                let left = deadline.saturating_duration_since(Instant::now());
                let turn = if self.parent.is_some() { left.min(LOOK_UP) } else { left };
                self.own.1.wait_for(&mut own, turn);
            }
        }
        self.requested()
    }
}
