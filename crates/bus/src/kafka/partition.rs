//! An owned partition: its producer, its consumer, its present token.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Clients, Producer, SPREAD, fault, is_stale_member, number};
use super::control::{Control, Phase};
use super::fetch::{Fetch, Fetched};
use super::lineage::{Before, Committed, Findings, Kept, MARK, Mark, OWNER, Standing, Verdict, is_behind};
use super::replica::Replica;
use super::restore::{self, BARRIER};
use super::standby::Standby;
use super::transaction::{Offsets, Unfinished, Write, fence, transact};
use crate::bookmark::Witness;
use crate::drive::{Assigned, Poll, drive, rebuild};
use crate::loss::Damage;
use crate::record::now;
use crate::step::Batch;
use crate::topic::{count, partition_in};
use crate::{Bookmark, Fault, Observer, Processor, ProcessorSpec, Progress, State, Store, StoreId};

/// What a process does with the partitions that it owns.
pub(super) struct Ownership<'o, P> {
    pub(super) clients: &'o Clients,
    pub(super) spec: &'o ProcessorSpec,
    pub(super) standby: &'o Standby,
    pub(super) make: &'o (dyn Fn() -> P + Send + Sync),
    pub(super) observer: Observer<'o>,
}

/// The clients of one ownership.
///
/// They outlive the work: to close them can take for ever (a consumer is closed when its cluster lets go of it; rdkafka,
/// `BaseConsumer::drop`), and others wait for the work to end.
pub(super) struct Hands {
    producer: Producer,
    fetch: Fetch,
}

impl Hands {
    /// Connects when they are used.
    pub(super) fn new<P>(work: &Ownership<'_, P>, partition: u32) -> Result<Self, Fault> {
        let producer = work.clients.transactional(&id(work.spec, partition))?;
        Ok(Self { producer, fetch: Fetch::new(work.clients, &work.spec.name)? })
    }
}

/// The transactional id of who owns a partition.
fn id(spec: &ProcessorSpec, partition: u32) -> String {
    format!("{}.{partition}", spec.name)
}

impl<P: Processor> Ownership<'_, P> {
    /// Takes the partition over and drives a processor on it until it is drained or lost.
    pub(super) fn own(&self, partition: u32, control: &Control, hands: &mut Hands) -> Result<(), Fault> {
        let Self { clients, spec, standby, make, observer } = *self;
        let id = id(spec, partition);
        let began = Instant::now();
        // Each step may wait for the brokers: a take-over that takes long shows where it is.
        let comes_to = |step: &str| tracing::debug!(service = spec.name, partition, step, "taking partition over");
        let names = Names::new(clients, spec, spec.writes_for(partition, clients.config.partitions));
        let nonce = restore::nonce(&id);
        let mut log = KafkaPartition {
            clients,
            spec,
            partition,
            control,
            producer: &hands.producer,
            names,
            fetch: &mut hands.fetch,
            owner: nonce.clone(),
            unnamed: Some(vec![]),
            standing: Standing::Whole,
        };
        let ahead = standby.take(partition);
        comes_to("fence");
        log.prepare(ahead.as_ref())?;
        fence(clients, log.producer, &id)?;
        comes_to("barrier");
        log.check_spread()?;
        let committed = restore::committed(clients, log.fetch, spec.input, partition)?;
        log.barrier(&nonce, committed)?;
        let fenced = began.elapsed();
        comes_to("restore");
        let (Replica { state, changelogs }, records, was_ahead) = log.restore(&nonce, ahead)?;
        comes_to("judge");
        let kept = changelogs.into_iter().map(|changelog| changelog.kept).collect();
        let (offset, state) = log.judge(committed, state, kept, make)?;
        let entries: usize = (0..spec.stores.len()).map(|store| state.len(StoreId(store))).sum();
        tracing::info!(
            service = spec.name,
            partition,
            offset,
            entries,
            records,
            standby = was_ahead,
            fence_ms = fenced.as_millis() as u64,
            restore_ms = (began.elapsed() - fenced).as_millis() as u64,
            "took partition over"
        );
        clients.trouble.goes_on(&format!("{}/{partition}", spec.name));
        log.fetch.consumer.context().admitted();
        let tell = |progress| observer(&spec.name, partition, progress);
        tell(Progress::TakenOver { took: began.elapsed() });
        drive(&mut log, spec, make(), state, tell)
    }

    /// Tells, once, that this process has the partition no longer.
    pub(super) fn leave(&self, partition: u32, control: &Control) {
        if control.leave() {
            (self.observer)(&self.spec.name, partition, Progress::GivenUp);
        }
    }
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
    producer: &'o Producer,
    names: Names,
    fetch: &'o mut Fetch,
    /// Under which this ownership writes.
    owner: Vec<u8>,
    /// Where its barrier is in each changelog that was restored, while they have not that name.
    unnamed: Option<Vec<i64>>,
    standing: Standing,
}

impl KafkaPartition<'_> {
    /// A topic that was given other partitions than the installation has does not count: records are written to the same
    /// ones as before. It is said.
    fn check_spread(&self) -> Result<(), Fault> {
        // Of those that it reads, when it asked for their leaders.
        let topics = self.spec.outputs.iter().copied().chain([crate::topics::DEAD_LETTER.name]);
        self.clients.check_spread(self.producer.client(), topics)?;
        let partitions = count(self.spec.input, self.clients.config.partitions);
        if self.partition < partitions {
            return Ok(());
        }
        let input = self.clients.topic(self.spec.input);
        Err(Fault::fatal(
            format!("reading {input}/{}", self.partition),
            format!(
                "the installation has {partitions} partitions, and this one was added by hand: no cluster lives in it"
            ),
            SPREAD,
        ))
    }

    fn barrier(&self, nonce: &[u8], committed: Committed) -> Result<(), Fault> {
        let (offset, beside) = match committed {
            Committed::At(offset) => (offset, ""),
            Committed::Nothing => (self.ends()?.0, restore::FIRST),
        };
        let timestamp = now();
        let writes = || {
            self.spec.stores.iter().map(|store| {
                let (topic, partition) = self.names.of(store.topic);
                Write { topic, partition, key: BARRIER, payload: Some(nonce), timestamp, headers: &[] }
            })
        };
        self.transact(offset, beside, writes)
    }

    /// Offsets of the input's first record, and behind its last one.
    fn ends(&self) -> Result<(i64, i64), Fault> {
        self.clients.watermarks(self.producer.client(), &self.clients.topic(self.spec.input), self.partition)
    }

    /// Begins to fetch what is read first. What is committed stays so: the client gets it while the brokers end what the predecessor left
    /// open.
    fn prepare(&mut self, ahead: Option<&Replica>) -> Result<(), Fault> {
        for topic in self.spec.stores.iter().map(|store| store.topic).chain([self.spec.input]) {
            self.fetch.meet(self.clients, topic)?;
        }
        let Some(store) = self.spec.stores.first() else { return Ok(()) };
        match ahead.and_then(|replica| replica.changelogs.first()?.named) {
            Some(named) => self.goes_to(store, named.next).map(drop),
            None => self.begin(store),
        }
    }

    fn begin(&mut self, store: &Store) -> Result<(), Fault> {
        let (_, partition) = self.names.of(store.topic);
        self.fetch.assign(self.clients, store.topic, std::iter::once((partition, Offset::Beginning)))
    }

    /// Reads a changelog from the record before `offset` on, if it has any there.
    fn goes_to(&mut self, store: &Store, offset: i64) -> Result<bool, Fault> {
        let (full, partition) = self.names.of(store.topic);
        let (begin, end) = self.clients.watermarks(self.producer.client(), full, partition)?;
        if offset <= begin || end < offset {
            return Ok(false);
        }
        self.fetch.assign(self.clients, store.topic, std::iter::once((partition, Offset::Offset(offset - 1))))?;
        Ok(true)
    }

    /// Reads a changelog on from where it was read to, if it is still the one in which that was.
    fn goes_on(&mut self, store: &Store, behind: Option<Bookmark>) -> Result<bool, Fault> {
        let Some(Bookmark { next, last: Some(last) }) = behind else { return Ok(false) };
        Ok(self.goes_to(store, next)? && is_behind(self.fetch, next, last)? == Before::Same)
    }

    /// What is in the changelogs, from where `ahead` has come if they are still those that it was read from; how many records were read for
    /// it; and whether it was ahead.
    fn restore(&mut self, nonce: &[u8], ahead: Option<Replica>) -> Result<(Replica, u64, bool), Fault> {
        if let Some(mut replica) = ahead
            && let Some(records) = self.read_on(nonce, &mut replica)?
        {
            return Ok((replica, records, true));
        }
        let mut replica = Replica::new(&self.spec.stores);
        let mut records = 0;
        for (index, store) in self.spec.stores.iter().enumerate() {
            self.begin(store)?;
            records += self.replay(nonce, &mut replica, StoreId(index))?;
        }
        Ok((replica, records, false))
    }

    /// Reads the changelogs on from where `replica` has come. `None` when one of them is another one.
    fn read_on(&mut self, nonce: &[u8], replica: &mut Replica) -> Result<Option<u64>, Fault> {
        // An owner writes its name once: a log that was created again, or emptied, has not that record there. What was cut off its end
        // and written anew has not what was read last.
        for (store, changelog) in self.spec.stores.iter().zip(&replica.changelogs) {
            if !self.goes_on(store, changelog.named)? {
                return Ok(None);
            }
        }
        let mut records = 0;
        for (index, store) in self.spec.stores.iter().enumerate() {
            if !self.goes_on(store, replica.changelogs[index].read)? {
                return Ok(None);
            }
            records += self.replay(nonce, replica, StoreId(index))?;
        }
        Ok(Some(records))
    }

    /// Reads a changelog up to the own barrier; says how many records that were.
    fn replay(&mut self, nonce: &[u8], replica: &mut Replica, store: StoreId) -> Result<u64, Fault> {
        let control = self.control;
        let going_on = || match control.phase() {
            Phase::Owned => Ok(()),
            _ => Err(Fault::fenced("restoring", "the partition is given up")),
        };
        let mut records = 0;
        let barrier = restore::replay(self.fetch, nonce, going_on, |record| {
            records += 1;
            replica.take(store, &record);
        })?;
        let barriers = self.unnamed.get_or_insert_default();
        barriers.truncate(store.0);
        barriers.push(barrier);
        Ok(records)
    }

    /// The changelogs that are to be given the owner's name are those that the state was read from.
    fn check_restored(&self) -> Result<(), Fault> {
        let Some(barriers) = &self.unnamed else { return Ok(()) };
        let changelogs = self.spec.stores.iter().map(|store| self.names.of(store.topic)).zip(barriers.iter().copied());
        restore::check(self.clients, self.producer, changelogs)
    }

    /// Finds out whether state and input belong together, makes the state anew when it can, and begins to read. Gives the
    /// offset from which it goes on.
    fn judge<P: Processor>(
        &mut self,
        committed: Committed,
        state: State,
        kept: Vec<Kept>,
        make: &(dyn Fn() -> P + Send + Sync),
    ) -> Result<(i64, State), Fault> {
        let (begin, end) = self.ends()?;
        let input = self.clients.topic(self.spec.input);
        let (service, partition) = (self.spec.name.as_str(), self.partition);
        let stores: Vec<_> = self.spec.stores.iter().map(|store| store.topic).zip(kept).collect();
        let own = self.clients.config.partitions;
        if let Some(mark) = stores.iter().find_map(|(_, kept)| kept.mark.as_ref()).filter(|mark| mark.partitions != own)
        {
            let why = format!("the installation has {} partitions, and bus.kafka.partitions is {own}", mark.partitions);
            return Err(Fault::fatal(format!("taking over {service}/{partition}"), why, SPREAD));
        }
        let prefix = &self.clients.config.prefix;
        let findings = Findings { committed, stores: &stores, begin, end, input: &input, prefix };
        match findings.verdict() {
            Verdict::Fresh => {
                self.fetch_from(begin)?;
                Ok((begin, State::new(&self.spec.stores)))
            }
            Verdict::From(offset, last) => {
                if let Committed::At(group) = committed
                    && group != offset
                {
                    tracing::warn!(
                        service,
                        partition,
                        group,
                        offset,
                        "the group's offset is not the state's: the state's counts"
                    );
                }
                match last {
                    Some(last) if !self.is_behind(offset, last)? => {
                        Err(self.lost(Damage::InputOther { topic: input, offset }))
                    }
                    Some(_) => Ok((offset, state)),
                    None => {
                        self.fetch_from(offset)?;
                        Ok((offset, state))
                    }
                }
            }
            Verdict::Rebuild(until) => {
                tracing::warn!(service, partition, until, "the state is gone: it is made anew of {input}");
                self.fetch_from(begin)?;
                self.standing = Standing::Rebuilding;
                let (state, closing) = if begin < until {
                    rebuild(self, self.spec, make(), &state, until)?
                } else {
                    (State::new(&self.spec.stores), Batch { next_offset: until, ..Batch::default() })
                };
                self.standing = Standing::Whole;
                self.commit(&closing)?;
                tracing::warn!(service, partition, until, "the state is whole again");
                self.fetch_from(until)?;
                Ok((until, state))
            }
            Verdict::Lost(damage) => Err(self.lost(damage)),
            Verdict::Arriving => Err(arriving(format!("taking over {service}/{partition}"))),
            Verdict::Moved(to) => Err(moved(format!("taking over {service}/{partition}"), &to)),
        }
    }

    fn lost(&self, damage: Damage) -> Fault {
        let what = format!("taking over {}/{}", self.spec.name, self.partition);
        Fault::fatal(what, damage, Damage::MEND)
    }

    fn fetch_from(&mut self, offset: i64) -> Result<(), Fault> {
        self.fetch.assign(self.clients, self.spec.input, std::iter::once((self.partition, Offset::Offset(offset))))
    }

    /// Whether the record before `offset` is `last`; if so, it is read on from there.
    fn is_behind(&mut self, offset: i64, last: Witness) -> Result<bool, Fault> {
        self.fetch_from(offset - 1)?;
        Ok(is_behind(self.fetch, offset, last)? == Before::Same)
    }

    fn mark(&self, batch: &Batch) -> Mark {
        Mark {
            owner: self.owner.clone(),
            offset: batch.next_offset,
            last: batch.last.as_ref().map(|(timestamp, payload)| Witness::new(*timestamp, payload.as_deref())),
            stores: self.spec.stores.iter().map(|store| store.topic.to_owned()).collect(),
            partitions: self.clients.config.partitions,
            standing: self.standing.clone(),
        }
    }

    /// Commits, and when the commit was aborted commits the same again, under the present token: a rebalance that left
    /// the partition here must not cost anything.
    fn transact<'w, I: Iterator<Item = Write<'w>>>(
        &self,
        offset: i64,
        beside: &str,
        writes: impl Fn() -> I,
    ) -> Result<(), Fault> {
        let mut offsets = TopicPartitionList::new();
        let input = self.clients.topic(self.spec.input);
        let what = format!("{}/{}", self.spec.name, self.partition);
        let mut element = offsets.add_partition(&input, number(self.partition));
        element.set_offset(Offset::Offset(offset)).map_err(|error| fault(what.clone(), &error))?;
        element.set_metadata(beside);
        loop {
            let (issue, token) = self.control.token()?;
            let offsets = Offsets { offsets: offsets.clone(), token: &token };
            match transact(self.producer, &what, writes(), Some(&offsets)) {
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

/// What is said where an installation was left.
pub(super) fn moved(what: String, to: &str) -> Fault {
    let why = format!("the installation moves to the topics {to}*, or has moved there");
    Fault::fatal(what, why, "Set bus.kafka.prefix and bus.kafka.partitions to the new ones; docs/operations.md, Topics")
}

/// What is said where an installation is not complete yet.
pub(super) fn arriving(what: String) -> Fault {
    Fault::fatal(
        what,
        "the installation is still being moved here",
        "Run `epicenter topics migrate` again until it is done",
    )
}

impl Assigned for KafkaPartition<'_> {
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault> {
        if !self.is_owned()? {
            return Ok(Poll::Drain);
        }
        match self.fetch.poll(wait)? {
            Fetched::Record(record) => Ok(Poll::Record(record)),
            Fetched::End(_) | Fetched::Nothing => {
                // Between two commits nobody else lets the producer renew its token.
                self.producer.poll(Duration::ZERO);
                Ok(Poll::Idle)
            }
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Fault> {
        self.check_restored()?;
        let timestamp = batch.timestamp.max(0);
        let mark = self.mark(batch).encode();
        let own = |store: &Store, key, payload| {
            let (topic, partition) = self.names.of(store.topic);
            Write { topic, partition, key, payload: Some(payload), timestamp, headers: &[] }
        };
        let owners = || {
            let unnamed = self.spec.stores.iter().filter(|_| self.unnamed.is_some());
            unnamed.map(|store| own(store, OWNER, self.owner.as_slice()))
        };
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
            emits.chain(delta).chain(owners()).chain(self.spec.marked().map(|store| own(store, MARK, mark.as_slice())))
        };
        self.transact(batch.next_offset, "", writes)?;
        self.unnamed = None;
        Ok(())
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
