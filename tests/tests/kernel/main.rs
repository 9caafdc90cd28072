//! The kernel on real parts: one contract for both backends, hand-over, and what holds under faults.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod back;
mod batches;
mod contract;
mod faults;
mod fleet;
mod handover;
mod local;
mod lost;
mod passing;
mod restart;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// Creates the topics of the counting processor.
fn create_topics(bootstrap: &str, prefix: &str, partitions: u32) {
    create_topics_with(bootstrap, prefix, partitions, &[]);
}

/// The same, with `settings` for all of them.
fn create_topics_with(bootstrap: &str, prefix: &str, partitions: u32, settings: &[(&str, &str)]) {
    use epicenter_tests::counting::{INPUT, OUTPUT, STATE};
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let names =
        [INPUT, OUTPUT, STATE, "dead-letter", "positions", "events.raw"].map(|topic| format!("{prefix}{topic}"));
    let topics = names.iter().map(|name| {
        let topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        if name.ends_with("state") || name.ends_with("positions") {
            topic.set("cleanup.policy", "compact")
        } else {
            topic
        }
    });
    let topics: Vec<_> = topics.collect();
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    let created = admin.create_topics(&topics, &options);
    for outcome in futures::executor::block_on(created).unwrap() {
        outcome.unwrap();
    }
}
