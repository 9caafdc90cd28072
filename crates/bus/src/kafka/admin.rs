//! Creates topics, and looks at them.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use super::DEADLINE;
use super::client::{Clients, fault, number};
use crate::{Fault, Topic, TopicProblem};

/// Creates those of `topics` that are missing; gives their full names.
pub(super) fn create(clients: &Clients, topics: &[Topic]) -> Result<Vec<String>, Fault> {
    let admin: AdminClient<DefaultClientContext> = clients.base().create().map_err(|error| clients.unusable(error))?;
    let settings: Vec<_> = topics.iter().map(|topic| (clients.topic(topic.name), topic.settings())).collect();
    let wanted: Vec<_> = settings
        .iter()
        .map(|(name, settings)| {
            let replication = TopicReplication::Fixed(clients.config.replication);
            let topic = NewTopic::new(name, number(clients.config.partitions), replication);
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(DEADLINE)).operation_timeout(Some(DEADLINE));
    let what = "creating topics";
    let outcomes =
        futures::executor::block_on(admin.create_topics(&wanted, &options)).map_err(|error| fault(what, &error))?;
    let mut created = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(name) => created.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let mend = "Check the broker's settings and that this client may create topics, or create it by hand from \
                            deploy/topics.yaml";
                return Err(Fault::fatal(format!("creating topic {name}"), code, mend));
            }
        }
    }
    Ok(created)
}

/// What is wrong with `topics`.
pub(super) fn check(clients: &Clients, topics: &[Topic]) -> Result<Vec<TopicProblem>, Fault> {
    let consumer = clients.consumer("doctor")?;
    let metadata = consumer.fetch_metadata(None, DEADLINE).map_err(|error| fault("looking at the topics", &error))?;
    let expected = clients.config.partitions;
    let problems = topics.iter().filter_map(|topic| {
        let topic = clients.topic(topic.name);
        match metadata.topics().iter().find(|found| found.name() == topic) {
            None => Some(TopicProblem::Missing { topic }),
            Some(found) if found.partitions().len() != expected as usize => {
                let found = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
                Some(TopicProblem::Partitions { topic, found, expected })
            }
            Some(_) => None,
        }
    });
    Ok(problems.collect())
}
