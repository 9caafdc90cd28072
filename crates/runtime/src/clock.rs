//! The machine's clock.

use std::sync::Arc;
use std::time::SystemTime;

use epicenter_model::Timestamp;

/// Tells the time: that of the machine, or of a test.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(now)
}

/// The time now, by the machine's clock. Processors do not ask: their time is the log's.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
