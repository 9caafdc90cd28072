use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use epicenter_model::{DeadLetter, NoWriter, RecordType, Schemas, Writer};
use proptest::prelude::*;

use super::lane::{MAX_PAYLOAD, dead_letter};
use super::*;
use crate::{MAX_STATE_VALUE, Put, Reject, Step, Store};

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
    drive(&mut log, &spec(), Counter::default(), State::new(&spec().stores), |progress| told.push(progress)).unwrap();
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
    let mut lane = Lane::new(&spec, Counter { restored: 9, ..Counter::default() }, State::new(&spec.stores)).unwrap();
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
