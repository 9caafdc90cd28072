//! Creates topics, and looks at them.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::DEADLINE;
use super::client::{Clients, fault, number};
use super::trouble::{Context, GRANTS};
use crate::{Fault, Spread, Topic, TopicProblem};

/// Between two looks at topics that were created.
const LOOK: Duration = Duration::from_millis(200);

/// Creates those of `topics` that are missing; gives their full names.
pub(super) fn create(clients: &Clients, topics: &[Topic]) -> Result<Vec<String>, Fault> {
    // Says why when no broker can be asked.
    let known = clients.topics("creating topics")?;
    if let Some(path) = &clients.config.token_file {
        // rdkafka gives its admin client no token but the one that it begins with.
        let is_known = |topic: &Topic| known.topics().iter().any(|found| found.name() == clients.topic(topic.name));
        return match topics.iter().find(|topic| !is_known(topic)) {
            None => Ok(Vec::new()),
            Some(topic) => Err(Fault::fatal(
                format!("creating topic {}", clients.topic(topic.name)),
                format!("a client cannot create topics with the token of {}", path.display()),
                "Create them by deploy/topics.yaml, or as a user with a password or a certificate",
            )),
        };
    }
    let admin = admin(clients)?;
    let of = |topic: &Topic| {
        let partitions = number(topic.partitions(clients.config.partitions));
        (clients.topic(topic.name), partitions, topic.settings(clients.config.batch_bytes))
    };
    let settings: Vec<_> = topics.iter().map(of).collect();
    let wanted: Vec<_> = settings
        .iter()
        .map(|(name, partitions, settings)| {
            let replication = TopicReplication::Fixed(clients.config.replication);
            let topic = NewTopic::new(name, *partitions, replication);
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let outcomes = futures::executor::block_on(admin.create_topics(&wanted, &options()))
        .map_err(|error| fault("creating topics", &error))?;
    let mut created = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(name) => created.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code @ RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                return Err(Fault::fatal(
                    format!("creating topic {name}"),
                    code,
                    format!("Grant Create on it: {GRANTS}"),
                ));
            }
            Err((name, code)) => {
                let mend = "Check the broker's settings and that this client may create topics, or create it by hand from \
                            deploy/topics.yaml";
                return Err(Fault::fatal(format!("creating topic {name}"), code, mend));
            }
        }
    }
    Ok(created)
}

/// Waits until the brokers know of all of `topics`.
pub(super) fn until_known(clients: &Clients, topics: &[Topic]) -> Result<(), Fault> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let metadata = clients.topics("looking at the topics")?;
        let is_known = |topic: &Topic| {
            let name = clients.topic(topic.name);
            let found = metadata.topics().iter().find(|found| found.name() == name);
            found.is_some_and(|found| found.partitions().iter().any(|partition| partition.leader() >= 0))
        };
        match topics.iter().find(|topic| !is_known(topic)) {
            None => return Ok(()),
            Some(topic) if Instant::now() > deadline => {
                let what = format!("looking at {}", clients.topic(topic.name));
                return Err(Fault::retry(what, "it was created and no broker leads it yet"));
            }
            Some(_) => std::thread::sleep(LOOK),
        }
    }
}

/// What is wrong with `topics`.
pub(super) fn check(clients: &Clients, topics: &[Topic]) -> Result<Vec<TopicProblem>, Fault> {
    let metadata = clients.topics("looking at the topics")?;
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for topic in topics {
        let name = clients.topic(topic.name);
        let Some(partitions) =
            metadata.topics().iter().find(|topic| topic.name() == name).map(|t| t.partitions().len())
        else {
            let hidden = clients.hides(&name)?;
            problems.push(if hidden {
                TopicProblem::Hidden { topic: name }
            } else {
                TopicProblem::Missing { topic: name }
            });
            continue;
        };
        let expected = topic.partitions(clients.config.partitions);
        if partitions != expected as usize {
            let (found, topic_name) = (u32::try_from(partitions).unwrap_or(u32::MAX), name.clone());
            problems.push(match topic.spread {
                Spread::Clusters => TopicProblem::Partitions { topic: topic_name, found, expected },
                Spread::Fleet => TopicProblem::NotOne { topic: topic_name, found },
            });
        }
        found.push((topic, name));
    }
    if found.is_empty() {
        return Ok(problems);
    }
    if clients.config.token_file.is_some() {
        tracing::warn!("the topics' settings cannot be looked at with a token of a file: their partitions are");
        return Ok(problems);
    }
    let resources: Vec<_> = found.iter().map(|(_, name)| ResourceSpecifier::Topic(name)).collect();
    let outcomes = futures::executor::block_on(admin(clients)?.describe_configs(&resources, &options()))
        .map_err(|error| fault("looking at the topics' settings", &error))?;
    for ((topic, name), outcome) in found.iter().zip(outcomes) {
        let settings = outcome
            .map_err(|code| fault(format!("looking at the settings of topic {name}"), &KafkaError::AdminOp(code)))?;
        problems.extend(wrong(name, &settings, &topic.settings(clients.config.batch_bytes)));
    }
    Ok(problems)
}

/// Which of a topic's settings break what the services rely on. How long records are kept is the operator's choice.
fn wrong(topic: &str, found: &ConfigResource, expected: &[(&'static str, String)]) -> Vec<TopicProblem> {
    let of = |key| found.get(key).and_then(|entry| entry.value.clone());
    let problem = |(key, expected): &(&'static str, String)| {
        let (topic, found) = (topic.to_owned(), of(key)?);
        match *key {
            "cleanup.policy" if found != *expected => {
                Some(TopicProblem::Cleanup { topic, found, expected: expected.clone() })
            }
            "message.timestamp.type" if found != *expected => Some(TopicProblem::Stamp { topic, found }),
            "max.message.bytes" => {
                let (found, expected) = (found.parse().ok()?, expected.parse().ok()?);
                (found < expected).then_some(TopicProblem::Batches { topic, found, expected })
            }
            _ => None,
        }
    };
    expected.iter().filter_map(problem).collect()
}

fn admin(clients: &Clients) -> Result<AdminClient<Context>, Fault> {
    clients.base().create_with_context(clients.context("doctor")).map_err(|error| clients.unusable(error))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DEADLINE)).operation_timeout(Some(DEADLINE))
}
