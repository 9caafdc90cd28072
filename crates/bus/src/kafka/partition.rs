//! An owned partition: its producer, its consumer, its present token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{Consumer as _, ConsumerGroupMetadata};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Clients, Producer, fault, is_stale_member, number};
use super::fetch::{Fetch, Fetched};
use super::restore::{self, BARRIER};
use super::transaction::{Offsets, Unfinished, Write, fence, transact};
use crate::drive::{Assigned, Poll, drive};
use crate::record::now;
use crate::step::Batch;
use crate::topic::partition_in;
use crate::{Fault, Observer, Processor, ProcessorSpec, Progress, State, StoreId};

/// How long an aborted commit waits for a newer token before it tries again with what there is.
const NEWER_TOKEN: Duration = Duration::from_millis(250);

/// What the group's thread tells the thread of a partition. The life of an ownership:
/// `Owned` → (`Draining` | `Lost`) → `Gone`.
#[derive(Default)]
pub(super) struct Control {
    state: Mutex<ControlState>,
    changed: Condvar,
}

#[derive(Default)]
struct ControlState {
    phase: Phase,
    /// Counts the tokens.
    issue: u64,
    token: Option<Arc<ConsumerGroupMetadata>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Ours.
    #[default]
    Owned,
    /// Given up in order: what is processed may still be committed.
    Draining,
    /// Taken away: nothing may be committed any more.
    Lost,
    /// The partition's thread has ended.
    Gone,
}

impl Control {
    /// Hands over the membership as it is now. Only the thread that polls the group may call it: a token that is fetched
    /// elsewhere could be newer than the state that it is to protect.
    pub(super) fn issue(&self, token: Arc<ConsumerGroupMetadata>) {
        let mut state = self.state.lock();
        state.token = Some(token);
        state.issue += 1;
        self.changed.notify_all();
    }

    /// Moves on to `phase`; phases never go back.
    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        if phase as u8 > state.phase as u8 {
            state.phase = phase;
        }
        self.changed.notify_all();
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Waits until the partition's thread has ended, or `deadline`.
    pub(super) fn wait_gone(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.phase != Phase::Gone {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// The token with its number; a fault when the partition is no longer ours.
    fn token(&self) -> Result<(u64, Arc<ConsumerGroupMetadata>), Fault> {
        let state = self.state.lock();
        match (&state.token, state.phase) {
            (Some(token), Phase::Owned | Phase::Draining) => Ok((state.issue, Arc::clone(token))),
            _ => Err(Fault::fenced("committing", "the group took the partition away")),
        }
    }

    /// Waits for a token that is newer than number `issue`; a fault when the partition is given up meanwhile.
    fn newer(&self, issue: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + NEWER_TOKEN;
        let mut state = self.state.lock();
        while state.issue == issue && state.phase == Phase::Owned {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        if state.phase == Phase::Owned {
            Ok(())
        } else {
            Err(Fault::fenced("committing again", "the partition is given up"))
        }
    }
}

/// Takes the partition over and drives a processor on it until it is drained or lost.
pub(super) fn own<P: Processor>(
    clients: &Clients,
    spec: &ProcessorSpec,
    partition: u32,
    control: &Control,
    make: &(dyn Fn() -> P + Send + Sync),
    observer: Observer<'_>,
) -> Result<(), Fault> {
    let id = format!("{}.{partition}", spec.name);
    let began = Instant::now();
    let producer = clients.transactional(&id)?;
    fence(clients, &producer, &id)?;
    let fetch = Fetch::new(clients, &spec.name)?;
    let offset = restore::committed(clients, &fetch, spec.input, partition)?;
    let names = Names::new(clients, spec, spec.writes_for(partition, clients.config.partitions));
    let mut log = KafkaPartition { clients, spec, partition, control, producer, names, fetch };
    let nonce = restore::nonce(&id);
    log.barrier(&nonce, offset)?;
    let fenced = began.elapsed();
    let state = log.restore(&nonce)?;
    let entries: usize = (0..spec.stores.len()).map(|store| state.len(StoreId(store))).sum();
    tracing::info!(
        service = spec.name,
        partition,
        offset,
        entries,
        fence_ms = fenced.as_millis() as u64,
        restore_ms = (began.elapsed() - fenced).as_millis() as u64,
        "took partition over"
    );
    fetch_from(&mut log.fetch, clients, spec, partition, offset)?;
    clients.trouble.goes_on(&format!("{}/{partition}", spec.name));
    log.fetch.consumer.context().admitted();
    let tell = |progress| observer(&spec.name, partition, progress);
    tell(Progress::TakenOver { took: began.elapsed() });
    drive(&mut log, spec, make(), state, tell)
}

fn fetch_from(
    fetch: &mut Fetch,
    clients: &Clients,
    spec: &ProcessorSpec,
    partition: u32,
    offset: i64,
) -> Result<(), Fault> {
    fetch.assign(clients, spec.input, std::iter::once((partition, Offset::Offset(offset))))
}

/// Where the records of each topic that a processor writes go.
struct Names(Vec<Destination>);

struct Destination {
    topic: &'static str,
    /// With the installation's prefix.
    full: String,
    partition: u32,
}

impl Names {
    /// `partition` is the one of the installation for which it writes.
    fn new(clients: &Clients, spec: &ProcessorSpec, partition: u32) -> Self {
        let stores = spec.stores.iter().map(|store| store.topic);
        let dead_letter = std::iter::once(crate::topics::DEAD_LETTER.name);
        let names = spec.outputs.iter().copied().chain(stores).chain(dead_letter);
        let to = |topic| Destination { topic, full: clients.topic(topic), partition: partition_in(topic, partition) };
        Self(names.map(to).collect())
    }

    /// Full name and partition. A topic that the spec does not name keeps its short name: the broker then refuses it, and
    /// says so.
    fn of<'n>(&'n self, topic: &'n str) -> (&'n str, u32) {
        self.0.iter().find(|known| known.topic == topic).map_or((topic, 0), |known| (&known.full, known.partition))
    }
}

struct KafkaPartition<'o> {
    clients: &'o Clients,
    spec: &'o ProcessorSpec,
    partition: u32,
    control: &'o Control,
    producer: Producer,
    names: Names,
    fetch: Fetch,
}

impl KafkaPartition<'_> {
    fn barrier(&self, nonce: &[u8], offset: i64) -> Result<(), Fault> {
        let timestamp = now();
        let writes = || {
            self.spec.stores.iter().map(|store| {
                let (topic, partition) = self.names.of(store.topic);
                Write { topic, partition, key: BARRIER, payload: Some(nonce), timestamp, headers: &[] }
            })
        };
        self.transact(offset, writes)
    }

    fn restore(&mut self, nonce: &[u8]) -> Result<State, Fault> {
        let mut state = State::new(self.spec.stores.len());
        let control = self.control;
        let going_on = || match control.phase() {
            Phase::Owned => Ok(()),
            _ => Err(Fault::fenced("restoring", "the partition is given up")),
        };
        for (index, store) in self.spec.stores.iter().enumerate() {
            let (_, partition) = self.names.of(store.topic);
            restore::replay(self.clients, &mut self.fetch, store.topic, partition, nonce, going_on, |record| {
                state.set(StoreId(index), &record.key, record.payload.as_deref());
            })?;
        }
        Ok(state)
    }

    /// Commits, and when the commit was aborted commits the same again, under the present token: a rebalance that left
    /// the partition here must not cost anything.
    fn transact<'w, I: Iterator<Item = Write<'w>>>(&self, offset: i64, writes: impl Fn() -> I) -> Result<(), Fault> {
        let mut offsets = TopicPartitionList::new();
        let input = self.clients.topic(self.spec.input);
        let what = format!("{}/{}", self.spec.name, self.partition);
        offsets
            .add_partition_offset(&input, number(self.partition), Offset::Offset(offset))
            .map_err(|error| fault(what.clone(), &error))?;
        loop {
            let (issue, token) = self.control.token()?;
            let offsets = Offsets { offsets: offsets.clone(), token: &token };
            match transact(&self.producer, &what, writes(), Some(&offsets)) {
                Ok(()) => {
                    self.clients.trouble.connected();
                    return Ok(());
                }
                Err(Unfinished::Lost(fault)) => return Err(fault),
                Err(Unfinished::Aborted(error)) => {
                    if is_stale_member(&error) {
                        tracing::debug!(service = self.spec.name, partition = self.partition, %error, "the group moved on");
                    } else {
                        tracing::warn!(service = self.spec.name, partition = self.partition, %error, "commit was aborted");
                    }
                    self.control.newer(issue)?;
                }
            }
        }
    }
}

impl Assigned for KafkaPartition<'_> {
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault> {
        if !self.is_owned()? {
            return Ok(Poll::Drain);
        }
        match self.fetch.poll(wait)? {
            Fetched::Record(record) => Ok(Poll::Record(record)),
            Fetched::End(_) | Fetched::Nothing => Ok(Poll::Idle),
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Fault> {
        let writes = || {
            let emits = batch.emits.iter().map(|emit| {
                let (topic, partition) = self.names.of(emit.topic);
                let payload = emit.payload.as_deref();
                Write { topic, partition, key: &emit.key, payload, timestamp: emit.timestamp, headers: &emit.headers }
            });
            let delta = batch.delta.iter().map(|((store, key), value)| {
                let (topic, partition) = self.names.of(self.spec.stores[store.0].topic);
                Write { topic, partition, key, payload: value.as_deref(), timestamp: batch.timestamp, headers: &[] }
            });
            emits.chain(delta)
        };
        self.transact(batch.next_offset, writes)
    }

    fn behind(&mut self) -> Option<u64> {
        self.fetch.behind(self.partition)
    }

    fn is_owned(&mut self) -> Result<bool, Fault> {
        match self.control.phase() {
            Phase::Owned => Ok(true),
            Phase::Draining => Ok(false),
            Phase::Lost | Phase::Gone => Err(Fault::fenced("reading", "the group took the partition away")),
        }
    }
}
