//! The machine's clock.

use std::time::SystemTime;

use epicenter_model::Timestamp;

/// The time now, by the machine's clock. Processors do not ask: their time is the log's.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
