//! What a process says of itself: `/readyz` tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The state of a process's parts (a watch, a processor, the API server's connection). Cheap to clone.
///
/// A part that never reported does not count; a process without any part is not ready.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// A process of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The part does its work.
    pub fn well(&self, part: &str) {
        self.set(part, None);
    }

    /// The part does not, for the reason given.
    pub fn unwell(&self, part: &str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    /// The part no longer exists, by intention.
    pub fn forget(&self, part: &str) {
        self.parts.lock().remove(part);
    }

    /// The parts whose names begin with `prefix` no longer exist, by intention.
    pub fn forget_all(&self, prefix: &str) {
        self.parts.lock().retain(|part, _| !part.starts_with(prefix));
    }

    /// All parts, in order of name, each with the reason why it is not well.
    pub fn report(&self) -> BTreeMap<String, Option<String>> {
        self.parts.lock().clone()
    }

    /// There is a part, and all parts are well.
    pub fn is_ready(&self) -> bool {
        let parts = self.parts.lock();
        !parts.is_empty() && parts.values().all(Option::is_none)
    }

    fn set(&self, part: &str, why: Option<String>) {
        let mut parts = self.parts.lock();
        if parts.get(part) != Some(&why) {
            match &why {
                None => tracing::info!(part, "is well"),
                Some(why) => tracing::warn!(part, why, "is not well"),
            }
            parts.insert(part.to_owned(), why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_all_parts_are_well() {
        let health = Health::new();
        assert!(!health.is_ready(), "nothing is known yet");
        health.well("events");
        assert!(health.is_ready());
        health.unwell("pods", "403 Forbidden");
        assert!(!health.is_ready());
        assert_eq!(health.report()["pods"].as_deref(), Some("403 Forbidden"));
        health.forget("pods");
        assert!(health.is_ready());
    }
}
