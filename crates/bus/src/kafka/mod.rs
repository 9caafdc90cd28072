//! The log in a Kafka cluster.
//!
//! A group consumer only decides who owns which partition ([`group`]); each owned partition has a thread with a
//! transactional producer and a group-less consumer of its own ([`partition`]), so that commits of different partitions
//! overlap and back-pressure is simply not reading. [`restore`] tells how a new owner takes over without losing or
//! repeating anything.

mod admin;
#[cfg(feature = "tls")]
mod certificate;
mod client;
mod config;
mod control;
mod fetch;
mod group;
mod lag;
mod lanes;
mod lineage;
mod migrate;
mod origin;
mod partition;
mod reader;
mod recover;
mod replica;
mod restore;
mod source;
mod standby;
mod token;
mod transaction;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use config::{GroupProtocol, KafkaConfig};
pub use reader::KafkaReader;
pub use source::KafkaSource;
pub use token::{Token, TokenError, Tokens};

use crate::{
    Bookmarks, Fault, Lag, Loss, Moved, Observer, Processor, ProcessorSpec, Recovered, Start, Stop, TopicProblem,
};
use client::Clients;

/// How long a call to the cluster may take before it counts as failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A Kafka cluster. Cheap to clone; connects when it is used.
#[derive(Clone)]
pub struct KafkaBus {
    clients: Arc<Clients>,
}

impl KafkaBus {
    pub(crate) fn new(config: KafkaConfig) -> Result<Self, Fault> {
        Ok(Self { clients: Arc::new(Clients::new(config)?) })
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.clients.config.partitions
    }

    pub(crate) fn run<P: Processor>(
        &self,
        spec: &ProcessorSpec,
        make: &(dyn Fn() -> P + Send + Sync),
        observer: Observer<'_>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        group::run(&self.clients, spec, make, observer, stop)
    }

    pub(crate) fn source(
        &self,
        table: &'static str,
        id: &str,
        partition: u32,
        prefix: Option<&[u8]>,
    ) -> Result<(KafkaSource, BTreeMap<Vec<u8>, Vec<u8>>), Fault> {
        KafkaSource::open(&self.clients, table, id, partition, prefix)
    }

    pub(crate) fn reader(&self, topic: &'static str, partitions: &[u32], start: Start) -> Result<KafkaReader, Fault> {
        KafkaReader::open(&self.clients, topic, partitions, start)
    }

    pub(crate) fn bounds(&self, topic: &'static str, partition: u32) -> Result<(i64, i64), Fault> {
        reader::bounds(&self.clients, topic, partition)
    }

    pub(crate) fn rows(
        &self,
        topic: &'static str,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Fault> {
        reader::rows(&self.clients, topic, wanted)
    }

    pub(crate) fn create_topics(&self) -> Result<Vec<String>, Fault> {
        admin::create(&self.clients, crate::topics::ALL)
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.clients.trouble()
    }

    pub(crate) fn move_to(
        &self,
        new: &Self,
        specs: &[ProcessorSpec],
        bookmarks: &dyn Bookmarks,
        tell: &mut dyn FnMut(&str),
        ready: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Moved, Fault> {
        migrate::migrate(&self.clients, &new.clients, specs, bookmarks, tell, ready)
    }

    pub(crate) fn undo_move(&self, specs: &[ProcessorSpec]) -> Result<(), Fault> {
        migrate::undo(&self.clients, specs)
    }

    pub(crate) fn lag(&self, spec: &ProcessorSpec) -> Result<Vec<Lag>, Fault> {
        lag::lag(&self.clients, spec)
    }

    pub(crate) fn losses(&self, spec: &ProcessorSpec) -> Result<Vec<Loss>, Fault> {
        recover::losses(&self.clients, spec)
    }

    pub(crate) fn recover(&self, spec: &ProcessorSpec, partition: u32) -> Result<Option<Recovered>, Fault> {
        recover::recover(&self.clients, spec, partition)
    }

    pub(crate) fn check_topics(&self) -> Result<Vec<TopicProblem>, Fault> {
        admin::check(&self.clients, crate::topics::ALL)
    }
}
