//! The loop that drives a processor over a partition that this process owns.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use epicenter_model::{Codec, DeadLetter, Timestamp, TraceContext};

use crate::step::{Batch, Limits};
use crate::topic::topics::DEAD_LETTER;
use crate::{
    Emit, Fault, MAX_RECORD, Processor, ProcessorSpec, Progress, Record, Reject, State, Step, StoreId, Traced,
};

/// A batch closes after that time, when its input is not drained before.
const BATCH_TIME: Duration = Duration::from_millis(100);
/// A batch closes at that size, in and out, bytes. No count of records closes it: a commit costs the same for all.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long to wait for the first record of a batch before looking around.
const IDLE: Duration = Duration::from_millis(100);
/// How often it is told how far a state has come that is made anew.
const TELL: Duration = Duration::from_secs(10);
/// How often to look how far behind the partition is.
const LOOK: Duration = Duration::from_secs(1);
/// The largest payload that a processor may emit, and that goes to dead-letter whole, bytes: the topics' limit less room
/// for key and headers.
const MAX_PAYLOAD: usize = MAX_RECORD - 4096;

/// A partition that this process owns.
pub(crate) trait Assigned {
    /// Its next record.
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault>;

    /// Writes the batch's records, state delta and input offset, wholly or not at all. Retries what passes; a fault ends
    /// the ownership.
    fn commit(&mut self, batch: &Batch) -> Result<(), Fault>;

    /// Offsets from the last record that was read to the end; `None` when that is not known.
    fn behind(&mut self) -> Option<u64>;

    /// Whether the partition is still to be worked on; when not, what [`Assigned::poll`] would say is [`Poll::Drain`].
    fn is_owned(&mut self) -> Result<bool, Fault>;
}

/// What a partition has to say.
pub(crate) enum Poll {
    /// Its next record.
    Record(Record),
    /// Nothing within the time.
    Idle,
    /// The ownership ends: commit what is there, and go.
    Drain,
}

/// Drives `processor` from `state` on until the partition is drained or lost.
pub(crate) fn drive<P: Processor>(
    log: &mut impl Assigned,
    spec: &ProcessorSpec,
    processor: P,
    state: State,
    mut tell: impl FnMut(Progress),
) -> Result<(), Fault> {
    let codec = processor.codec();
    while !is_readable(&codec, spec, &state) {
        if !log.is_owned()? {
            return Ok(());
        }
        std::thread::sleep(IDLE);
    }
    let mut input = Input { log, codec, held: None, again: VecDeque::new() };
    let mut lane = Lane::new(spec, processor, state)?;
    let (mut looked, mut newest) = (None, None);
    loop {
        if looked.is_none_or(|looked: Instant| looked.elapsed() > LOOK) {
            looked = Some(Instant::now());
            if let Some(records) = input.behind() {
                tell(Progress::Behind { records, newest });
            }
        }
        let mut batch = Batch::default();
        let record = match input.poll(IDLE)? {
            Poll::Idle => continue,
            Poll::Drain => return Ok(()),
            Poll::Record(record) => record,
        };
        let began = Instant::now();
        lane.take(record, &mut batch);
        let deadline = began + BATCH_TIME;
        let mut draining = false;
        // The clock is not asked for every record.
        let in_time = |batch: &Batch| !batch.records.is_multiple_of(32) || Instant::now() < deadline;
        while batch.size < BATCH_BYTES && !lane.astray && in_time(&batch) {
            match input.poll(Duration::ZERO)? {
                Poll::Record(record) => lane.take(record, &mut batch),
                Poll::Idle => break,
                Poll::Drain => {
                    draining = true;
                    break;
                }
            }
        }
        let batch = lane.close(batch, &mut input.again)?;
        let processing = began.elapsed();
        input.log.commit(&batch)?;
        let commit = began.elapsed() - processing;
        for traced in &batch.traced {
            tell(Progress::Traced(Traced { ended: SystemTime::now(), ..*traced }));
        }
        let Batch { records, dead_letters, oldest, .. } = batch;
        tell(Progress::Committed { records, dead_letters, oldest, processing, commit });
        newest = newest.max(Some(batch.timestamp));
        lane.settle(&batch)?;
        if draining && input.again.is_empty() {
            return Ok(());
        }
    }
}

/// Makes the state of a partition anew of its input's records before `until`, and writes it to the changelogs. What they came
/// to besides was written when they were processed first. `stale` is what the changelogs still have. Gives the state, and an
/// empty batch with which to say that it is whole.
pub(crate) fn rebuild<P: Processor>(
    log: &mut impl Assigned,
    spec: &ProcessorSpec,
    processor: P,
    stale: &State,
    until: i64,
) -> Result<(State, Batch), Fault> {
    let codec = processor.codec();
    let mut batch = Batch { next_offset: until, ..Batch::default() };
    for store in (0..spec.stores.len()).map(StoreId) {
        for (key, _) in stale.scan(store, b"") {
            batch.size += key.len();
            batch.delta.insert((store, key.to_vec()), None);
            if batch.size >= BATCH_BYTES {
                log.commit(&batch)?;
                batch = Batch { next_offset: until, ..Batch::default() };
            }
        }
    }
    let mut input = Input { log, codec, held: None, again: VecDeque::new() };
    let mut lane = Lane::new(spec, processor, State::new(&spec.stores))?;
    let mut told = Instant::now();
    let mut whole = false;
    while !whole {
        match input.poll(IDLE)? {
            Poll::Drain => return Err(Fault::fenced("making the state anew", "the partition is given up")),
            Poll::Idle => whole = input.behind() == Some(0),
            Poll::Record(record) if record.offset >= until => whole = true,
            Poll::Record(record) => {
                whole = record.offset + 1 == until;
                // What is rejected is in dead-letter already.
                drop(lane.process(&record, &mut batch, true));
                batch.emits.clear();
                batch.traced.clear();
                batch.size += record.size();
                batch.timestamp = batch.timestamp.max(record.timestamp);
                batch.last = Some((record.timestamp, record.payload.clone()));
                if told.elapsed() > TELL {
                    told = Instant::now();
                    let offset = record.offset;
                    tracing::info!(
                        service = spec.name,
                        partition = record.partition,
                        offset,
                        until,
                        "making the state anew"
                    );
                }
            }
        }
        if whole || batch.size >= BATCH_BYTES || lane.astray {
            input.log.commit(&batch)?;
            lane.settle(&batch)?;
            batch = Batch { next_offset: until, last: batch.last.take(), ..Batch::default() };
        }
    }
    Ok((lane.state, batch))
}

/// The values of the public stores name schemas that can be had. A private store is its processor's own matter.
fn is_readable(codec: &Codec, spec: &ProcessorSpec, state: &State) -> bool {
    let public = spec.stores.iter().enumerate().filter(|(_, store)| store.public);
    let mut values = public.flat_map(|(index, _)| state.scan(StoreId(index), b"")).map(|(_, value)| value);
    values.all(|value| !waits(codec, &value))
}

/// The schema by which a payload was written cannot be had now.
fn waits(codec: &Codec, payload: &[u8]) -> bool {
    codec.record_type(payload).is_err_and(|error| error.is_retryable())
}

/// The partition's records, as far as their schemas can be had.
struct Input<'l, L> {
    log: &'l mut L,
    codec: Codec,
    /// A record that was read and whose schema cannot be had now.
    held: Option<Record>,
    /// Records that were read and are in no batch yet.
    again: VecDeque<Record>,
}

impl<L: Assigned> Input<'_, L> {
    /// The next record. While one is held, there is none.
    fn poll(&mut self, wait: Duration) -> Result<Poll, Fault> {
        if let Some(record) = self.again.pop_front() {
            return Ok(Poll::Record(record));
        }
        let record = match self.held.take() {
            Some(_) if !self.log.is_owned()? => return Ok(Poll::Drain),
            Some(record) => record,
            None => match self.log.poll(wait)? {
                Poll::Record(record) => record,
                other => return Ok(other),
            },
        };
        if record.payload.as_deref().is_some_and(|payload| waits(&self.codec, payload)) {
            self.held = Some(record);
            std::thread::sleep(wait);
            return Ok(Poll::Idle);
        }
        Ok(Poll::Record(record))
    }

    fn behind(&mut self) -> Option<u64> {
        Some(self.log.behind()? + self.again.len() as u64 + u64::from(self.held.is_some()))
    }
}

/// A processor with its partition's state.
struct Lane<'s, P> {
    spec: &'s ProcessorSpec,
    processor: P,
    codec: Codec,
    state: State,
    /// The records of the batch.
    taken: Vec<Record>,
    /// The processor's memory does not follow from the state and the records any more: it panicked, or what it took for done
    /// was refused.
    astray: bool,
}

impl<'s, P: Processor> Lane<'s, P> {
    fn new(spec: &'s ProcessorSpec, processor: P, state: State) -> Result<Self, Fault> {
        let codec = processor.codec();
        let mut lane = Self { spec, processor, codec, state, taken: Vec::new(), astray: false };
        lane.restore()?;
        Ok(lane)
    }

    fn restore(&mut self) -> Result<(), Fault> {
        self.astray = false;
        self.processor.restore(&self.state).map_err(|reject| {
            let mend = "The state was written by another version or is damaged: run the version that wrote it, or delete \
                        the changelog topic and replay";
            Fault::fatal(format!("restoring {}", self.spec.name), reject, mend)
        })
    }

    /// Processes one record into the batch. A record that cannot be processed becomes a dead letter in the same batch.
    fn take(&mut self, record: Record, batch: &mut Batch) {
        self.add(&record, batch, false);
        self.taken.push(record);
    }

    fn add(&mut self, record: &Record, batch: &mut Batch, written: bool) {
        batch.next_offset = record.offset + 1;
        if batch.records == 0 {
            batch.oldest = record.timestamp;
        }
        batch.timestamp = batch.timestamp.max(record.timestamp);
        batch.last = Some((record.timestamp, record.payload.clone()));
        batch.size += record.size();
        batch.records += 1;
        if let Err(reject) = self.process(record, batch, written) {
            tracing::warn!(
                service = self.spec.name, topic = record.topic, partition = record.partition, offset = record.offset,
                reason = %reject, "record goes to dead-letter"
            );
            batch.dead_letters += 1;
            batch.emits.push(dead_letter(&self.codec, &self.spec.name, record, &reject));
        }
    }

    /// Adds the record's effects to the batch, with all that it changes `written` or not, or takes them back and says why.
    fn process(&mut self, record: &Record, batch: &mut Batch, written: bool) -> Result<(), Reject> {
        let trace = TraceContext::of(&record.headers).map(|parent| {
            let (own, topic, offset) = (parent.child(&self.spec.name), record.topic, record.offset);
            let began = SystemTime::now();
            batch.traced.push(Traced { parent, own, topic, offset, began, ended: began });
            own
        });
        self.step(batch, record.timestamp, trace, |processor, step| {
            processor.process(record, step)?;
            if written {
                step.flush(processor);
            }
            Ok(())
        })
    }

    /// Ends the batch: writes what the processor has kept back. When its memory went astray, that is lost: it is restored, and
    /// the records are processed again, each with what it changes, so that only the one at fault is left out. Those behind
    /// it go to `again`.
    fn close(&mut self, mut batch: Batch, again: &mut VecDeque<Record>) -> Result<Batch, Fault> {
        let timestamp = batch.timestamp;
        let flush = |processor: &mut P, step: &mut Step<'_>| {
            step.flush(processor);
            Ok(())
        };
        let mut records = std::mem::take(&mut self.taken).into_iter();
        if !self.astray && self.step(&mut batch, timestamp, None, flush).is_ok() {
            return Ok(batch);
        }
        self.restore()?;
        let mut batch = Batch::default();
        for record in records.by_ref() {
            self.add(&record, &mut batch, true);
            if self.astray {
                break;
            }
        }
        again.extend(records);
        Ok(batch)
    }

    /// Runs one step of the processor into the batch.
    fn step(
        &mut self,
        batch: &mut Batch,
        timestamp: i64,
        trace: Option<TraceContext>,
        work: impl FnOnce(&mut P, &mut Step<'_>) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        let limits = Limits { payload: MAX_PAYLOAD, stores: self.spec.stores.len() };
        let mut step = Step::new(&self.state, batch, limits, timestamp, trace);
        let caught = catch_unwind(AssertUnwindSafe(|| work(&mut self.processor, &mut step)));
        let outcome = caught.unwrap_or_else(|_| {
            self.astray = true;
            Err(Reject(format!("{} panicked on this record: a bug, please report it", self.spec.name)))
        });
        let done = outcome.is_ok();
        step.finish(outcome).inspect_err(|_| self.astray |= done)
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), Fault> {
        batch.settle(&mut self.state);
        if self.astray { self.restore() } else { Ok(()) }
    }
}

fn dead_letter(codec: &Codec, service: &str, record: &Record, reject: &Reject) -> Emit {
    let payload = record.payload.as_deref().unwrap_or_default();
    let letter = DeadLetter {
        topic: record.topic.to_owned(),
        partition: i32::try_from(record.partition).unwrap_or(i32::MAX),
        offset: record.offset,
        payload: payload[..payload.len().min(MAX_PAYLOAD)].to_vec(),
        error: reject.to_string(),
        service: service.to_owned(),
        at: Timestamp::from_millis(record.timestamp),
    };
    Emit {
        topic: DEAD_LETTER.name,
        timestamp: record.timestamp,
        key: record.key.clone(),
        payload: Some(codec.encode(&letter).expect("a dead letter fits its schema, which has an id: tested").into()),
        headers: vec![("ce_type".into(), Bytes::from_static(b"dev.epicenter.dead-letter"))],
    }
}

/// Drives a processor by hand, in memory, for tests: the same steps, without a log.
pub struct Driver<'s, P> {
    lane: Lane<'s, P>,
}

impl<'s, P: Processor> Driver<'s, P> {
    /// A processor on empty state.
    ///
    /// # Panics
    /// When the processor does not restore from it.
    pub fn new(spec: &'s ProcessorSpec, processor: P) -> Self {
        Self::on(spec, processor, State::new(&spec.stores))
    }

    fn on(spec: &'s ProcessorSpec, processor: P, state: State) -> Self {
        Self { lane: Lane::new(spec, processor, state).expect("the state restores") }
    }

    /// Processes one record and settles its effects. Gives what it emitted, or why it was rejected.
    ///
    /// # Errors
    /// The rejection; then nothing has changed.
    pub fn feed(&mut self, record: &Record) -> Result<Vec<Emit>, Reject> {
        let mut batch = Batch::default();
        let outcome = self.lane.process(record, &mut batch, true);
        self.lane.settle(&batch).expect("the state restores");
        outcome.map(|()| batch.emits)
    }

    /// The state as it is committed.
    pub fn state(&self) -> &State {
        &self.lane.state
    }

    /// Goes on with another instance, restored from the committed state, as after a crash.
    pub fn restart(self, processor: P) -> Self {
        Self::on(self.lane.spec, processor, self.lane.state)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use epicenter_model::{NoWriter, RecordType, Schemas, Writer};
    use proptest::prelude::*;

    use super::*;
    use crate::{MAX_STATE_VALUE, Put, Store};

    /// Counts records per key; rejects `bad`, panics on `panic`.
    #[derive(Default)]
    struct Counter {
        restored: usize,
        codec: Codec,
    }

    /// A registry that answers only after it was asked so often.
    #[derive(Debug)]
    struct Down(AtomicU32);

    impl Schemas for Down {
        fn writer(&self, _: u32) -> Result<Arc<Writer>, NoWriter> {
            let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            if left.is_ok() {
                Err(NoWriter::Unavailable("it is down".into()))
            } else {
                Ok(Arc::new(Writer::own(RecordType::Gap)))
            }
        }
    }

    fn down_for(questions: u32) -> Codec {
        Codec::single_object().reading(Arc::new(Down(questions.into())))
    }

    impl Processor for Counter {
        fn restore(&mut self, state: &State) -> Result<(), Reject> {
            self.restored = state.len(StoreId(0));
            Ok(())
        }

        fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
            let count = step.get(StoreId(0), &record.key).map_or(0, |value| value[0]) + 1;
            step.put(StoreId(0), record.key.clone(), vec![count]);
            match record.payload.as_deref() {
                Some(b"bad") => return Err(Reject("it is bad".into())),
                Some(b"panic") => panic!("at the record"),
                Some(b"large") => step.emit("out", "k", vec![0; MAX_PAYLOAD + 1], vec![]),
                _ => step.emit("out", record.key.clone(), vec![count], vec![]),
            }
            Ok(())
        }

        fn flush(&mut self, _: &mut Put<'_>) {}

        fn codec(&self) -> Codec {
            self.codec.clone()
        }
    }

    fn spec() -> ProcessorSpec {
        let store = Store { topic: "counts", public: true, packed: false };
        ProcessorSpec { name: "counter".into(), input: "in", stores: vec![store], outputs: vec!["out"] }
    }

    #[derive(Default)]
    struct Memory {
        /// Records, and times at which there is none.
        input: VecDeque<Option<Record>>,
        committed: Vec<Batch>,
    }

    impl Assigned for Memory {
        fn poll(&mut self, _: Duration) -> Result<Poll, Fault> {
            Ok(match self.input.pop_front() {
                Some(record) => record.map_or(Poll::Idle, Poll::Record),
                None => Poll::Drain,
            })
        }
        fn commit(&mut self, batch: &Batch) -> Result<(), Fault> {
            self.committed.push(batch.clone());
            Ok(())
        }
        fn behind(&mut self) -> Option<u64> {
            Some(self.input.len() as u64)
        }
        fn is_owned(&mut self) -> Result<bool, Fault> {
            Ok(true)
        }
    }

    fn record(offset: i64, payload: &str) -> Record {
        let payload = Some(payload.to_owned().into());
        Record { topic: "in", offset, timestamp: 7 + offset, key: "k".into(), payload, ..Record::default() }
    }

    #[test]
    fn sends_what_it_cannot_process_to_dead_letter_and_goes_on() {
        let mut log = Memory::default();
        log.input.extend([record(0, "ok"), record(1, "bad"), record(2, "panic"), record(3, "ok")].map(Some));
        let mut told = Vec::new();
        drive(&mut log, &spec(), Counter::default(), State::new(&spec().stores), |progress| told.push(progress))
            .unwrap();
        assert_eq!(told[0], Progress::Behind { records: 4, newest: None });
        assert!(matches!(told[1], Progress::Committed { records: 3, dead_letters: 2, oldest: 7, .. }), "{told:?}");
        let emits: Vec<_> = log.committed.iter().flat_map(|batch| &batch.emits).collect();
        let topics: Vec<_> = emits.iter().map(|emit| emit.topic).collect();
        assert_eq!(topics, ["out", "dead-letter", "dead-letter", "out"]);
        assert_eq!(emits[3].payload.as_deref(), Some(&[2][..]), "rejected records have not counted");
        let letter: DeadLetter = Codec::single_object().decode(emits[1].payload.as_ref().unwrap()).unwrap();
        assert_eq!((letter.offset, letter.error.as_str(), letter.payload.as_slice()), (1, "it is bad", &b"bad"[..]));
        assert_eq!(log.committed.last().unwrap().next_offset, 4);
    }

    #[test]
    fn waits_in_its_place_for_a_schema_that_cannot_be_had() {
        let mut log = Memory::default();
        log.input.extend([record(0, "ok"), record(1, "\0\0\0\0\u{7}"), record(2, "ok")].map(Some));
        let mut told = Vec::new();
        let processor = Counter { codec: down_for(3), ..Counter::default() };
        drive(&mut log, &spec(), processor, State::new(&spec().stores), |progress| told.push(progress)).unwrap();
        let records: Vec<_> = log.committed.iter().map(|batch| (batch.records, batch.next_offset)).collect();
        assert_eq!(records, [(1, 1), (2, 3)], "what came before is committed, and nothing is passed over");
        assert_eq!(log.committed.iter().map(|batch| batch.dead_letters).sum::<usize>(), 0);

        let mut state = State::new(&spec().stores);
        state.set(StoreId(0), b"k", Some(&[0, 0, 0, 0, 7]));
        log.input.push_back(Some(record(3, "ok")));
        let processor = Counter { codec: down_for(2), ..Counter::default() };
        drive(&mut log, &spec(), processor, state, drop).unwrap();
        assert_eq!(log.committed.last().unwrap().next_offset, 4, "the state was waited for, too");
    }

    #[track_caller]
    fn check_restored_after(payload: &str) {
        let spec = spec();
        let mut lane =
            Lane::new(&spec, Counter { restored: 9, ..Counter::default() }, State::new(&spec.stores)).unwrap();
        let mut batch = Batch::default();
        lane.take(record(0, "ok"), &mut batch);
        lane.take(record(1, payload), &mut batch);
        assert!(lane.astray);
        let mut again = VecDeque::new();
        let batch = lane.close(batch, &mut again).unwrap();
        assert_eq!((batch.records, again.len()), (2, 0));
        lane.settle(&batch).unwrap();
        assert_eq!((lane.astray, lane.processor.restored), (false, 1));
    }

    #[test]
    fn restores_a_processor_whose_memory_went_astray() {
        check_restored_after("panic");
        check_restored_after("large");
    }

    /// Keeps what it counts in memory until it is asked for it.
    #[derive(Default)]
    struct Keeper {
        counts: BTreeMap<Bytes, Vec<u8>>,
        changed: BTreeSet<Bytes>,
    }

    impl Processor for Keeper {
        fn restore(&mut self, state: &State) -> Result<(), Reject> {
            let entries = state.scan(StoreId(0), b"");
            self.counts = entries.map(|(key, value)| (Bytes::copy_from_slice(&key), value.to_vec())).collect();
            self.changed.clear();
            Ok(())
        }

        fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
            if record.payload.as_deref() == Some(b"bad") {
                return Err(Reject("it is bad".into()));
            }
            let count = self.counts.entry(record.key.clone()).or_default();
            count.push(record.offset as u8);
            self.changed.insert(record.key.clone());
            step.emit("out", record.key.clone(), count.clone(), vec![]);
            match record.payload.as_deref() {
                Some(b"panic") => panic!("at the record"),
                Some(b"large") => step.emit("out", "k", vec![0; MAX_PAYLOAD + 1], vec![]),
                // Of a key of its own: that a value is too large only for a while depends on where batches end.
                Some(b"heavy") => {
                    let key = Bytes::from(format!("heavy {}", record.offset));
                    self.counts.insert(key.clone(), vec![0; MAX_STATE_VALUE + 1]);
                    self.changed.insert(key);
                }
                Some(b"gone") => drop(self.counts.remove(&record.key)),
                _ => {}
            }
            Ok(())
        }

        fn flush(&mut self, put: &mut Put<'_>) {
            for key in std::mem::take(&mut self.changed) {
                put(StoreId(0), key.to_vec(), self.counts.get(&key).cloned());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a processor keeps back and wherever batches end, what is committed is what it would be record by record.
        #[test]
        fn what_is_kept_back_is_written_as_if_it_had_been_at_once(
            payloads in prop::collection::vec((0..9_usize, 0..3_usize, any::<bool>()), 1..40)
        ) {
            let what = ["ok", "ok", "ok", "ok", "gone", "bad", "panic", "large", "heavy"];
            let records = payloads.iter().enumerate().map(|(offset, (payload, key, _))| {
                Record { key: ["a", "b", "c"][*key].into(), ..record(offset as i64, what[*payload]) }
            });
            let (mut log, spec) = (Memory::default(), spec());
            let (mut expected, mut driver) = (Vec::new(), Driver::new(&spec, Keeper::default()));
            for (record, (.., pause)) in records.zip(&payloads) {
                match driver.feed(&record) {
                    Ok(emits) => expected.extend(emits),
                    Err(reject) => expected.push(dead_letter(&Codec::single_object(), &spec.name, &record, &reject)),
                }
                log.input.push_back(Some(record));
                log.input.extend(pause.then_some(None));
            }
            drive(&mut log, &spec, Keeper::default(), State::new(&spec.stores), drop).unwrap();
            let mut state = State::new(&spec.stores);
            log.committed.iter().for_each(|batch| batch.settle(&mut state));
            let rows = |state: &State| {
                let rows = state.scan(StoreId(0), b"").map(|(key, value)| (key.into_owned(), value.into_owned()));
                rows.collect::<Vec<_>>()
            };
            prop_assert_eq!(rows(&state), rows(driver.state()));
            prop_assert_eq!(log.committed.into_iter().flat_map(|batch| batch.emits).collect::<Vec<_>>(), expected);
        }
    }
}
