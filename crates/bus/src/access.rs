//! What a client must be allowed to do in a Kafka cluster with an authorizer, and no more.

use std::fmt;

use crate::ProcessorSpec;
use crate::topic::topics::DEAD_LETTER;

/// A right to `operations` on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// What kind of resource.
    pub resource: Resource,
    /// It counts for all resources whose names begin with `name`.
    pub prefixed: bool,
    /// What may be done. `Read` and `Write` imply `Describe`.
    pub operations: &'static [Operation],
    /// The resource's name, without the installation's prefix.
    pub name: String,
}

/// A kind of resource in a Kafka cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// A `transactional.id`.
    TransactionalId,
}

/// What can be allowed, by the name that Kafka gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// To read records, or to be a member and commit offsets.
    Read,
    /// To write records, or transactions of that id.
    Write,
    /// To create it.
    Create,
    /// To see that it is there.
    Describe,
    /// To see its settings.
    DescribeConfigs,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

use Operation::{Create, Describe, DescribeConfigs, Read, Write};

impl Grant {
    /// `operations` on the topic of that name.
    pub fn topic(name: &str, operations: &'static [Operation]) -> Self {
        Self { resource: Resource::Topic, prefixed: false, operations, name: name.to_owned() }
    }

    /// The consumer group of that name.
    pub fn group(name: &str) -> Self {
        Self { resource: Resource::Group, prefixed: false, operations: &[Read], name: name.to_owned() }
    }

    /// The consumer groups whose names begin so.
    pub fn groups(name: &str) -> Self {
        Self { prefixed: true, ..Self::group(name) }
    }

    /// The transactional ids that begin so.
    pub fn transactions(name: &str) -> Self {
        Self { resource: Resource::TransactionalId, prefixed: true, operations: &[Write], name: name.to_owned() }
    }

    /// What a processor needs.
    pub fn of_processor(spec: &ProcessorSpec) -> Vec<Self> {
        let stores = spec.stores.iter().map(|store| Self::topic(store.topic, &[Read, Write]));
        let outputs = spec.outputs.iter().chain([&DEAD_LETTER.name]);
        // A table that is an output too is written as a store.
        let outputs = outputs.filter(|output| spec.stores.iter().all(|store| store.topic != **output));
        let mut grants = vec![
            Self::group(&spec.name),
            Self::transactions(&format!("{}.", spec.name)),
            Self::topic(spec.input, &[Read]),
        ];
        grants.extend(stores);
        grants.extend(outputs.map(|output| Self::topic(output, &[Write])));
        grants
    }

    /// What sources need whose ids begin with `id`, that keep their positions in `table`, and that write to `topics`.
    pub fn of_sources(id: &str, table: &str, topics: &[&str]) -> Vec<Self> {
        let mut grants = vec![
            Self::transactions(id),
            // No group is joined; the client asks for its coordinator all the same.
            Self::groups(id),
            Self::topic(table, &[Read, Write]),
        ];
        grants.extend(topics.iter().map(|topic| Self::topic(topic, &[Write])));
        grants
    }

    /// What creating and checking the topics needs.
    pub fn of_administration() -> Vec<Self> {
        let all = Self::topic("", &[Create, Describe, DescribeConfigs]);
        vec![Self { prefixed: true, ..all }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn a_processor_may_do_what_its_spec_says() {
        let stores = ["s", "table"].map(|topic| Store { topic, public: false, packed: false }).to_vec();
        let spec = ProcessorSpec { name: "p".into(), input: "in", stores, outputs: vec!["out", "table"] };
        let expected = [
            Grant::group("p"),
            Grant::transactions("p."),
            Grant::topic("in", &[Read]),
            Grant::topic("s", &[Read, Write]),
            Grant::topic("table", &[Read, Write]),
            Grant::topic("out", &[Write]),
            Grant::topic("dead-letter", &[Write]),
        ];
        assert_eq!(Grant::of_processor(&spec), expected);
    }
}
