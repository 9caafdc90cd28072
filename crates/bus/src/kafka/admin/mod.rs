//! Creates topics, and looks at them.

#[cfg(feature = "tls")]
mod bearer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
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
    clients.topics("creating topics")?;
    let of = |topic: &Topic| {
        let partitions = number(topic.partitions(clients.config.partitions));
        (clients.topic(topic.name), partitions, topic.settings(clients.config.batch_bytes))
    };
    let wanted: Vec<Wanted> = topics.iter().map(of).collect();
    let outcomes = Admin::open(clients)?.create(&wanted, clients.config.replication)?;
    let mut created = Vec::new();
    for outcome in outcomes {
        match outcome {
            (name, None) => created.push(name),
            (_, Some(RDKafkaErrorCode::TopicAlreadyExists)) => {}
            (name, Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                return Err(Fault::fatal(
                    format!("creating topic {name}"),
                    code,
                    format!("Grant Create on it: {GRANTS}"),
                ));
            }
            (name, Some(code)) => {
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
    let names: Vec<_> = found.iter().map(|(_, name)| name.as_str()).collect();
    let outcomes = Admin::open(clients)?.settings(&names)?;
    for ((topic, name), outcome) in found.iter().zip(outcomes) {
        let settings = outcome
            .map_err(|code| fault(format!("looking at the settings of topic {name}"), &KafkaError::AdminOp(code)))?;
        problems.extend(wrong(name, &settings, &topic.settings(clients.config.batch_bytes)));
    }
    Ok(problems)
}

/// Which of a topic's settings break what the services rely on. How long records are kept is the operator's choice.
fn wrong(topic: &str, settings: &Settings, expected: &[(&'static str, String)]) -> Vec<TopicProblem> {
    let problem = |(key, expected): &(&'static str, String)| {
        let (topic, found) = (topic.to_owned(), settings.get(*key)?.clone());
        match *key {
            CLEANUP if found != *expected => Some(TopicProblem::Cleanup { topic, found, expected: expected.clone() }),
            STAMP if found != *expected => Some(TopicProblem::Stamp { topic, found }),
            BATCHES => {
                let (found, expected) = (found.parse().ok()?, expected.parse().ok()?);
                (found < expected).then_some(TopicProblem::Batches { topic, found, expected })
            }
            _ => None,
        }
    };
    expected.iter().filter_map(problem).collect()
}

/// A topic that is to be created: its full name, partitions and settings.
type Wanted = (String, i32, Vec<(&'static str, String)>);
/// Settings of a topic, by name.
type Settings = BTreeMap<String, String>;

/// The settings that are looked at.
const CLEANUP: &str = "cleanup.policy";
const STAMP: &str = "message.timestamp.type";
const BATCHES: &str = "max.message.bytes";

/// A client that may create topics and look at their settings.
enum Admin {
    Library(AdminClient<Context>),
    #[cfg(feature = "tls")]
    Bearer(bearer::Connection),
}

impl Admin {
    fn open(clients: &Clients) -> Result<Self, Fault> {
        #[cfg(feature = "tls")]
        if let Some(tokens) = &clients.config.tokens {
            let token =
                tokens.token().map_err(|error| Fault::fatal("asking for a token", &error.why, error.mend.clone()))?;
            return bearer::Connection::open(&clients.config, &token).map(Self::Bearer);
        }
        let client = clients.base().create_with_context(clients.context("doctor"));
        client.map(Self::Library).map_err(|error| clients.unusable(error))
    }

    /// Creates topics. Gives the name of each, and why there is no such topic of ours.
    fn create(
        &mut self,
        wanted: &[Wanted],
        replication: i32,
    ) -> Result<Vec<(String, Option<RDKafkaErrorCode>)>, Fault> {
        let client = match self {
            Self::Library(client) => client,
            #[cfg(feature = "tls")]
            Self::Bearer(connection) => return connection.create(wanted, replication),
        };
        let topics: Vec<_> = wanted
            .iter()
            .map(|(name, partitions, settings)| {
                let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(replication));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let outcomes = block_on(client.create_topics(&topics, &options()));
        let outcomes = outcomes.map_err(|error| fault("creating topics", &error))?;
        let outcome = |outcome: Result<String, (String, RDKafkaErrorCode)>| match outcome {
            Ok(name) => (name, None),
            Err((name, code)) => (name, Some(code)),
        };
        Ok(outcomes.into_iter().map(outcome).collect())
    }

    /// The settings of topics that are looked at, in the topics' order.
    fn settings(&mut self, topics: &[&str]) -> Result<Vec<Result<Settings, RDKafkaErrorCode>>, Fault> {
        let client = match self {
            Self::Library(client) => client,
            #[cfg(feature = "tls")]
            Self::Bearer(connection) => return connection.settings(topics, &[CLEANUP, STAMP, BATCHES]),
        };
        let resources: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let outcomes = block_on(client.describe_configs(&resources, &options()));
        let outcomes = outcomes.map_err(|error| fault("looking at the topics' settings", &error))?;
        let settings = |found: rdkafka::admin::ConfigResource| {
            found.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
        };
        Ok(outcomes.into_iter().map(|outcome| outcome.map(settings)).collect())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DEADLINE)).operation_timeout(Some(DEADLINE))
}
