//! Makes clients with the settings that the kernel needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::config::BATCH_OVERHEAD;
use super::trouble::{Context, GRANTS, Obstacle, Trouble};
use super::{DEADLINE, GroupProtocol, KafkaConfig};
use crate::Fault;
use crate::topic::count;

/// A consumer that listens to its client.
pub(super) type Consumer = rdkafka::consumer::BaseConsumer<Context>;
/// A producer that listens to its client.
pub(super) type Producer = BaseProducer<Context>;

/// How to mend topics and an installation whose numbers of partitions differ.
pub(super) const SPREAD: &str = "Set bus.kafka.partitions to the number that the installation was created with, the same for all \
                                 services; `epicenter topics migrate` moves it to another one";

/// How long one try to reach a broker takes, before it is looked why there is no answer.
const TRY: Duration = Duration::from_secs(2);

/// After that time what a client heard of the brokers counts as the reason why there is no answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long to listen to what a client says beside its calls: a poll of no time gives one word of it.
pub(super) const LISTEN: Duration = Duration::from_millis(50);

pub(super) struct Clients {
    pub(super) config: KafkaConfig,
    pub(super) trouble: Arc<Trouble>,
}

impl Clients {
    pub(super) fn new(config: KafkaConfig) -> Result<Self, Fault> {
        if let Some(property) = config.needs_tls().filter(|_| !cfg!(feature = "tls")) {
            let why = format!("{property} needs TLS, and this epicenter is built without it");
            let mend = "Use an image of Epicenter, or build with perl installed: `cargo build --release -p epicenter --features tls`";
            return Err(Fault::fatal(format!("connecting to Kafka at {}", config.bootstrap), why, mend));
        }
        let clients = Self { config, trouble: Arc::default() };
        // librdkafka checks names and values of all properties when a client is made.
        clients.base().create::<BaseProducer>().map_err(|error| clients.unusable(error))?;
        Ok(clients)
    }

    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    pub(super) fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // What [`Context`] listens to.
        config.set_log_level(RDKafkaLogLevel::Info);
        if self.config.needs_tls().is_some() && !self.config.properties.keys().any(|name| name.starts_with("ssl.ca.")) {
            // The OpenSSL that is built in does not know where this system keeps the authorities that it trusts.
            config.set("ssl.ca.location", "probe");
        }
        for (name, value) in &self.config.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.config.bootstrap)
            .set("client.id", "epicenter")
            .set("allow.auto.create.topics", "false")
            // Metadata of a broker that came back, and of topics that were just created, is to be seen soon.
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("reconnect.backoff.max.ms", "1000");
        config
    }

    /// A consumer with the offsets of `group`, with nothing assigned.
    pub(super) fn consumer(&self, group: &str) -> Result<Consumer, Fault> {
        let consumer: Consumer =
            self.fetching(group).create_with_context(self.context(group)).map_err(|error| self.unusable(error))?;
        if self.config.tokens.is_some() {
            // Without a token it cannot ask for anything, and only a poll gives it one.
            consumer.poll(LISTEN);
        }
        Ok(consumer)
    }

    /// Listens to the client with that group or transactional id.
    pub(super) fn context(&self, id: &str) -> Context {
        Context::new(&self.trouble, self.topic(id), self.config.tokens.clone())
    }

    /// A client that only asks: it needs neither a group nor an id.
    fn asking(&self) -> Result<Producer, Fault> {
        self.producer(&self.base(), "")
    }

    fn producer(&self, config: &ClientConfig, id: &str) -> Result<Producer, Fault> {
        let producer: Producer = config.create_with_context(self.context(id)).map_err(|error| self.unusable(error))?;
        if self.config.tokens.is_some() {
            producer.poll(LISTEN);
        }
        Ok(producer)
    }

    /// What the brokers know of all topics that this client may see. Says why when they cannot be asked.
    pub(super) fn topics(&self, what: &str) -> Result<Metadata, Fault> {
        let asking = self.asking()?;
        self.metadata(asking.client(), None, what, || asking.poll(LISTEN))
    }

    /// The brokers hide `topic` from this client: it may do nothing with it.
    pub(super) fn hides(&self, topic: &str) -> Result<bool, Fault> {
        let what = format!("looking at {topic}");
        let found = self.asking()?.client().fetch_metadata(Some(topic), TRY).map_err(|error| fault(what, &error))?;
        let refused = RDKafkaErrorCode::TopicAuthorizationFailed;
        Ok(found.topics().iter().any(|topic| topic.error().map(RDKafkaErrorCode::from) == Some(refused)))
    }

    /// What the brokers know of `topic`, or of all. Says why when they cannot be asked: `poll` lets the client tell.
    pub(super) fn metadata(
        &self,
        client: &Client<Context>,
        topic: Option<&str>,
        what: &str,
        poll: impl Fn(),
    ) -> Result<Metadata, Fault> {
        let began = Instant::now();
        loop {
            let error = match client.fetch_metadata(topic, TRY) {
                Ok(metadata) => {
                    self.trouble.connected();
                    return Ok(metadata);
                }
                Err(error) => error,
            };
            poll();
            match self.trouble.connection() {
                Some(obstacle) if obstacle.by_refusal => {
                    let Obstacle { why, mend, .. } = self.explained(obstacle);
                    return Err(Fault::fatal(what, why, mend));
                }
                Some(Obstacle { why, mend, .. }) if began.elapsed() > PATIENCE => {
                    return Err(Fault::retry(what, format!("{why}. {mend}")));
                }
                None if began.elapsed() > DEADLINE => return Err(fault(what, &error)),
                _ => {}
            }
        }
    }

    /// What stands in the way now. Asks the brokers again, and OpenSSL why a certificate is refused.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(obstacle) = self.trouble.connection() {
            let answer = self.asking().map(|asking| {
                let answer = asking.client().fetch_metadata(None, TRY);
                asking.poll(LISTEN);
                answer
            });
            match answer {
                Ok(Ok(_)) => self.trouble.connected(),
                _ => drop(self.explained(self.trouble.connection().unwrap_or(obstacle))),
            }
        }
        self.trouble.text()
    }

    /// The same with what OpenSSL says, when it is about the broker's certificate.
    fn explained(&self, obstacle: Obstacle) -> Obstacle {
        #[cfg(feature = "tls")]
        if let Some(verdict) =
            obstacle.refused_by().and_then(|broker| super::certificate::verdict(&self.config, broker))
        {
            let explained = Obstacle { why: verdict.why, mend: verdict.mend, ..obstacle };
            self.trouble.explain(explained.clone());
            return explained;
        }
        obstacle
    }

    /// The settings of a consumer that reads what it is told to, committed records only, and begins exactly where it is told.
    pub(super) fn fetching(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", self.topic(group))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            // What is read ahead is memory; 8 MiB feed one batch.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "50");
        config
    }

    /// A member of the group that owns partitions. It never reads.
    pub(super) fn member<C: ConsumerContext>(
        &self,
        group: &str,
        context: C,
    ) -> Result<rdkafka::consumer::BaseConsumer<C>, Fault> {
        let mut config = self.fetching(group);
        match self.config.group_protocol {
            GroupProtocol::Classic => config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", self.config.session_timeout.as_millis().to_string())
                .set("heartbeat.interval.ms", self.config.heartbeat_interval.as_millis().to_string()),
            // The others are the brokers' settings; librdkafka refuses them here.
            GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
        };
        if let Some(instance) = &self.config.instance {
            config.set("group.instance.id", instance);
        }
        config.create_with_context(context).map_err(|error| self.unusable(error))
    }

    /// A producer that writes transactions as `id`. Not fenced in yet.
    pub(super) fn transactional(&self, id: &str) -> Result<Producer, Fault> {
        let mut config = self.base();
        config
            .set("transactional.id", self.topic(id))
            .set("transaction.timeout.ms", self.config.transaction_timeout.as_millis().to_string())
            .set("compression.type", "lz4")
            // librdkafka has one request of a partition in flight when it is idempotent (it counts messages, not requests), and
            // spins while messages that have lingered wait for it (rdkafka_broker.c, rd_kafka_toppar_producer_serve).
            .set("linger.ms", "5")
            .set("batch.size", (self.config.batch_bytes - BATCH_OVERHEAD).to_string())
            .set("batch.num.messages", "100000")
            .set("message.max.bytes", self.config.batch_bytes.to_string())
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "65536")
            // The commit tells whether everything was written; a report for each record costs as much as writing it.
            .set("delivery.report.only.error", "true");
        self.producer(&config, id)
    }

    /// Says of those of `topics` that exist which have more partitions than the installation, since nothing is written to
    /// those. A fault when one has fewer.
    pub(super) fn check_spread<'t>(
        &self,
        client: &Client<Context>,
        topics: impl Iterator<Item = &'t str>,
    ) -> Result<(), Fault> {
        for topic in topics {
            let full = self.topic(topic);
            let what = format!("looking at {full}");
            let found = self.metadata(client, Some(&full), &what, || {})?;
            let found = found.topics().iter().find(|found| found.name() == full && found.error().is_none());
            let Some(found) = found.map(|found| found.partitions().len()) else { continue };
            self.compare_spread(topic, found)?;
        }
        Ok(())
    }

    /// Compares the number of partitions that `topic` was found to have.
    pub(super) fn compare_spread(&self, topic: &str, found: usize) -> Result<(), Fault> {
        let (full, expected) = (self.topic(topic), count(topic, self.config.partitions));
        let why = format!("topic {full} has {found} partitions, and the installation {expected}");
        let concerned = format!("topic {full}");
        if found < expected as usize {
            return Err(Fault::fatal(format!("looking at {full}"), why, SPREAD));
        }
        if found > expected as usize {
            let why = format!("{why}: nothing is written to the others, but other programs may");
            tracing::warn!("{why}. {SPREAD}");
            self.trouble.stands(&concerned, why, SPREAD.to_owned());
        } else {
            self.trouble.goes_on(&concerned);
        }
        Ok(())
    }

    pub(super) fn unusable(&self, error: KafkaError) -> Fault {
        let what = format!("connecting to Kafka at {}", self.config.bootstrap);
        Fault::fatal(what, error, "Check bus.kafka: `epicenter config show` prints what is in force")
    }

    /// The log start offset and the end of what can be read of a partition: before the first transaction that is open, and a commit closes
    /// one a moment after it is answered (librdkafka asks with the client's `isolation.level`, `rd_kafka_ListOffsetsRequest`). A client that
    /// is reading waits for what it reads first: brokers answer the requests of a connection one after the other.
    pub(super) fn watermarks(
        &self,
        client: &Client<Context>,
        topic: &str,
        partition: u32,
    ) -> Result<(i64, i64), Fault> {
        let began = Instant::now();
        loop {
            match client.fetch_watermarks(topic, number(partition), DEADLINE) {
                // It was created a moment ago, or its leader moves.
                Err(error) if is_unled(&error) && began.elapsed() < PATIENCE => std::thread::sleep(LISTEN),
                answer => {
                    return answer
                        .map_err(|error| fault(format!("looking up the ends of {topic}/{partition}"), &error));
                }
            }
        }
    }
}

/// The broker that was asked does not lead the partition, or nobody does.
fn is_unled(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable))
}

/// Kafka's numbers for partitions are signed.
pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// What a failed call means for its caller.
pub(super) fn fault(what: impl Into<String>, error: &KafkaError) -> Fault {
    if let Some(access) = refused_access(error) {
        return Fault::fatal(what, error, format!("Grant {access}: {GRANTS}"));
    }
    if let KafkaError::Transaction(inner) = error
        && inner.is_fatal()
    {
        return Fault::fenced(what, error);
    }
    match error.rdkafka_error_code() {
        Some(Code::ProducerFenced | Code::Fenced | Code::InvalidProducerEpoch | Code::Fatal) => {
            Fault::fenced(what, error)
        }
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            Fault::fatal(what, error, "Create the topics with `epicenter topics create`")
        }
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => Fault::fatal(
            what,
            error,
            "A topic takes only smaller batches: `epicenter topics check` says which, and what to set",
        ),
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Fault::fatal(
            what,
            error,
            "The committed offset is no longer in the topic: records were deleted before they were read. Lengthen the topic's \
             retention, and set the group's offset to the topic's start to go on with what is left",
        ),
        _ => Fault::retry(what, error),
    }
}

/// What this client is not allowed to do, when that is what the error says.
pub(super) fn refused_access(error: &KafkaError) -> Option<&'static str> {
    match error.rdkafka_error_code()? {
        Code::TopicAuthorizationFailed => Some("access to the topic"),
        Code::GroupAuthorizationFailed => Some("Read on the group"),
        Code::ClusterAuthorizationFailed => Some("access to the cluster"),
        Code::TransactionalIdAuthorizationFailed => Some("Write on the transactional id"),
        _ => None,
    }
}

/// The error codes of calls whose group membership is no longer what the coordinator knows.
pub(super) fn is_stale_member(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::RebalanceInProgress
        )
    )
}

/// Between two looks at what is outstanding.
const LOOK: Duration = Duration::from_millis(1);

/// Serves the producer's reports, then gives it a moment. `poll` with a time instead would spin for its last millisecond.
pub(super) fn serve(producer: &Producer) {
    producer.poll(Duration::ZERO);
    std::thread::sleep(LOOK);
}

/// Waits until the producer has nothing outstanding; says whether that came about in time.
pub(super) fn drain(producer: &Producer) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while producer.in_flight_count() > 0 && Instant::now() < deadline {
        serve(producer);
    }
    producer.in_flight_count() == 0
}
