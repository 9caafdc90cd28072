//! Who owns which partition: one member of a consumer group, on the thread that calls [`run`].
//!
//! The member never reads: its partitions are paused as they are assigned, and each gets a thread ([`partition::own`]).
//! So the rebalance callback, which runs inside `poll`, waits only for a bounded drain, and a slow processor never makes
//! the member miss a poll.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::client::{Clients, fault};
use super::control::{Control, Phase};
use super::lanes::Lanes;
use super::partition::Ownership;
use super::standby::Standby;
use super::trouble::Context;
use crate::{Fault, Observer, Processor, ProcessorSpec, Stop};

const POLL: Duration = Duration::from_millis(50);
/// Between two attempts to join under the name of an instance that the group still knows.
const RELEASE: Duration = Duration::from_secs(2);
/// How to mend a name that two processes have.
const SAME_INSTANCE: &str = "Give each process of a service a bus.kafka.instance of its own; that of a process that was killed is free \
                             again after the session timeout";

/// The partitions that the group gave to this process.
type Controls = Arc<Mutex<BTreeMap<u32, Arc<Control>>>>;

/// Follows rebalances. Runs inside `poll`, on the thread of [`run`].
struct Member {
    context: Context,
    owned: Controls,
    /// A drain that takes longer is left to be fenced by the next owner.
    drain: Duration,
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.context.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let outcome = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => {
                tracing::error!(?other, "rebalance failed: all partitions are given up");
                self.owned.lock().values().for_each(|control| control.enter(Phase::Lost));
                self.owned.lock().clear();
                consumer.unassign()
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "rebalance");
        }
    }
}

impl Member {
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let mut silent = TopicPartitionList::new();
        for element in list.elements() {
            silent.add_partition_offset(element.topic(), element.partition(), Offset::End)?;
        }
        self.context.admitted();
        consumer.incremental_assign(&silent)?;
        consumer.pause(&silent)?;
        let mut owned = self.owned.lock();
        for partition in partitions(list) {
            owned.insert(partition, Arc::new(Control::default()));
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), KafkaError> {
        // A lost assignment may belong to others already; a revoked one is ours until we say that it is not.
        let phase = if consumer.assignment_lost() { Phase::Lost } else { Phase::Draining };
        // In a cooperative rebalance the generation has moved on already: only a token of now can still commit.
        let token = consumer.group_metadata().map(Arc::new);
        let leaving: Vec<_> = {
            let mut owned = self.owned.lock();
            partitions(list).filter_map(|partition| owned.remove(&partition)).collect()
        };
        for control in &leaving {
            if let Some(token) = &token {
                control.issue(Arc::clone(token));
            }
            control.enter(phase);
        }
        let deadline = Instant::now() + self.drain;
        let in_time = leaving.iter().filter(|control| control.wait_gone(deadline)).count();
        if in_time < leaving.len() {
            tracing::warn!(
                late = leaving.len() - in_time,
                "partitions were not drained in time: their next owner fences them"
            );
        }
        leaving.iter().for_each(|control| control.enter(Phase::Lost));
        consumer.incremental_unassign(list)
    }
}

fn partitions(list: &TopicPartitionList) -> impl Iterator<Item = u32> {
    let partitions: Vec<_> = list.elements().iter().filter_map(|element| element.partition().try_into().ok()).collect();
    partitions.into_iter()
}

/// Why a member is of no more use.
enum Broken {
    /// The group still knows a process of the same instance.
    Unreleased(String),
    Fault(Fault),
}

/// Drives a processor on the partitions that the group gives to this process, until `stop`.
pub(super) fn run<P: Processor>(
    clients: &Clients,
    spec: &ProcessorSpec,
    make: &(dyn Fn() -> P + Send + Sync),
    observer: Observer<'_>,
    stop: &Stop,
) -> Result<(), Fault> {
    let group = format!("group {}", clients.topic(&spec.name));
    loop {
        match follow(clients, spec, make, observer, stop) {
            Ok(()) => return Ok(()),
            Err(Broken::Fault(fault)) => return Err(fault),
            Err(Broken::Unreleased(why)) => {
                tracing::warn!(service = spec.name, why, "waiting for the instance's name");
                clients.trouble.stands(&group, why, SAME_INSTANCE.to_owned());
                if stop.wait(RELEASE) {
                    return Ok(());
                }
            }
        }
    }
}

fn follow<P: Processor>(
    clients: &Clients,
    spec: &ProcessorSpec,
    make: &(dyn Fn() -> P + Send + Sync),
    observer: Observer<'_>,
    stop: &Stop,
) -> Result<(), Broken> {
    let (owned, standby) = (Controls::default(), Standby::default());
    let drain = clients.config.session_timeout / 2;
    let member = clients
        .member(&spec.name, Member { context: clients.context(&spec.name), owned: Arc::clone(&owned), drain })
        .map_err(Broken::Fault)?;
    let topic = clients.topic(spec.input);
    member.subscribe(&[&topic]).map_err(|error| Broken::Fault(fault(format!("subscribing to {topic}"), &error)))?;
    let work = Ownership { clients, spec, standby: &standby, make, observer };
    std::thread::scope(|scope| {
        let over = stop.child();
        if clients.config.standby && !spec.stores.is_empty() {
            let (owned, over, standby) = (Arc::clone(&owned), over.clone(), &standby);
            let owned = move || owned.lock().keys().copied().collect();
            let keep = move || standby.keep(clients, spec, owned, &over);
            if let Err(error) =
                std::thread::Builder::new().name(format!("{}/standby", spec.name)).spawn_scoped(scope, keep)
            {
                tracing::error!(service = spec.name, %error, "no thread for a standby: take-overs read all of the state");
            }
        }
        let mut lanes = Lanes::new(scope, &work);
        let mut broken = Ok(());
        while !stop.requested() && broken.is_ok() {
            broken = poll(&member);
            if let Some(token) = member.group_metadata() {
                lanes.tend(&mut owned.lock(), &Arc::new(token));
            }
        }
        // Closes it, which serves the last rebalance. Not by `unsubscribe` before: a member that is closed while librdkafka still takes
        // its partitions back never says that it leaves, and they stand still for the session timeout (rdkafka_cgrp.c,
        // rd_kafka_cgrp_incr_unassign_done).
        drop(member);
        // What was not drained in time is fenced by its next owner.
        lanes.lose();
        over.request();
        broken
    })
}

fn poll(member: &BaseConsumer<Member>) -> Result<(), Broken> {
    let error = match member.poll(POLL) {
        None | Some(Ok(_)) => return Ok(()),
        Some(Err(error)) => error,
    };
    let Some((code, why)) = member.client().fatal_error() else {
        match fault("following the group", &error) {
            Fault::Retry { .. } => tracing::trace!(%error, "passing"),
            fault => tracing::debug!(%fault, "waiting"),
        }
        return Ok(());
    };
    let mend = match code {
        RDKafkaErrorCode::UnreleasedInstanceId => return Err(Broken::Unreleased(why)),
        RDKafkaErrorCode::FencedInstanceId => SAME_INSTANCE,
        RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature => {
            "bus.kafka.group_protocol: consumer needs brokers of Kafka 4.0 or later; set it to classic"
        }
        _ => "Look at the brokers, then start it again",
    };
    Err(Broken::Fault(Fault::fatal("following the group", why, mend)))
}
