//! The effects of records, gathered until they are committed together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use epicenter_model::TraceContext;

use crate::packed::overlaid;
use crate::{Emit, Entry, Headers, MAX_STATE_VALUE, Processor, Reject, State, StoreId, Traced};

type Delta = BTreeMap<(StoreId, Vec<u8>), Option<Vec<u8>>>;

/// The effects of the records of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Records to write, in order.
    pub emits: Vec<Emit>,
    /// State entries to put (`Some`) or delete (`None`); of several puts to a key only the last.
    pub delta: Delta,
    /// The input offset that follows the last record.
    pub next_offset: i64,
    /// The timestamp of the first input record, ms.
    pub oldest: i64,
    /// The highest timestamp of an input record, ms.
    pub timestamp: i64,
    /// Timestamp, ms, and payload of the last input record.
    pub last: Option<(i64, Option<Bytes>)>,
    /// Bytes gathered, in and out.
    pub size: usize,
    /// Input records in it.
    pub records: usize,
    /// Those of them that go to dead-letter.
    pub dead_letters: usize,
    /// Those of them that stand in a trace. They end with the commit.
    pub traced: Vec<Traced>,
}

/// One record's share of a batch: what [`crate::Processor::process`] writes to.
pub struct Step<'b> {
    state: &'b State,
    batch: &'b mut Batch,
    limits: Limits,
    timestamp: i64,
    /// Where what is written stands in a trace.
    trace: Option<TraceContext>,
    emitted: usize,
    undo: Vec<((StoreId, Vec<u8>), Option<Option<Vec<u8>>>)>,
    refused: Option<Reject>,
}

/// Sizes that a step refuses to exceed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest payload of an emitted record, bytes.
    pub payload: usize,
    /// How many stores there are.
    pub stores: usize,
}

impl<'b> Step<'b> {
    /// A step at `timestamp`, ms.
    pub(crate) fn new(
        state: &'b State,
        batch: &'b mut Batch,
        limits: Limits,
        timestamp: i64,
        trace: Option<TraceContext>,
    ) -> Self {
        let emitted = batch.emits.len();
        Self { state, batch, limits, timestamp, trace, emitted, undo: Vec::new(), refused: None }
    }

    /// Writes a record to `topic`, in this partition (of a topic of the fleet in its only one), with the input record's timestamp. A payload above the size limit
    /// makes the whole input record be rejected.
    pub fn emit(
        &mut self,
        topic: &'static str,
        key: impl Into<Bytes>,
        payload: impl Into<Bytes>,
        mut headers: Headers,
    ) {
        let payload = payload.into();
        if payload.len() > self.limits.payload {
            self.refused.get_or_insert_with(|| {
                Reject(format!(
                    "a record of {} bytes for {topic} is above the limit of {} bytes",
                    payload.len(),
                    self.limits.payload
                ))
            });
            return;
        }
        headers.extend(self.trace.map(|trace| trace.header()));
        let emit = Emit { topic, timestamp: self.timestamp, key: key.into(), payload: Some(payload), headers };
        self.batch.size += emit.size();
        self.batch.emits.push(emit);
    }

    /// The value of `key`, as this and the earlier records of the batch left it.
    pub fn get(&self, store: StoreId, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        // The batch's own delta first; borrowed lookups need the key by value, so an empty delta is not asked.
        if !self.batch.delta.is_empty()
            && let Some(change) = self.batch.delta.get(&(store, key.to_vec()))
        {
            return change.as_deref().map(Cow::Borrowed);
        }
        self.state.get(store, key)
    }

    /// All entries of a store whose key begins with `prefix`, in order of key, as this and the earlier records of the batch
    /// left them.
    pub fn scan<'s>(&'s self, store: StoreId, prefix: &'s [u8]) -> impl Iterator<Item = Entry<'s>> + 's {
        let changed = self.batch.delta.range((Bound::Included((store, prefix.to_vec())), Bound::Unbounded));
        let changed = changed.take_while(move |((of, key), _)| *of == store && key.starts_with(prefix));
        overlaid(self.state.scan(store, prefix), changed.map(|((_, key), value)| (key.as_slice(), value.as_deref())))
    }

    /// Sets the value of `key`. A value above [`MAX_STATE_VALUE`] makes the whole input record be rejected.
    pub fn put(&mut self, store: StoreId, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        if value.len() > MAX_STATE_VALUE {
            let length = value.len();
            self.refused.get_or_insert_with(|| {
                Reject(format!("a state entry of {length} bytes is above the limit of {MAX_STATE_VALUE} bytes"))
            });
            return;
        }
        self.change(store, key.into(), Some(value));
    }

    /// Deletes `key`.
    pub fn delete(&mut self, store: StoreId, key: impl Into<Vec<u8>>) {
        self.change(store, key.into(), None);
    }

    fn change(&mut self, store: StoreId, key: Vec<u8>, value: Option<Vec<u8>>) {
        debug_assert!(store.0 < self.limits.stores, "a processor names only stores of its spec");
        self.batch.size += key.len() + value.as_ref().map_or(0, Vec::len);
        let entry = (store, key);
        let before = self.batch.delta.insert(entry.clone(), value);
        self.undo.push((entry, before));
    }

    /// Writes what the processor has kept back.
    pub(crate) fn flush(&mut self, processor: &mut impl Processor) {
        processor.flush(&mut |store, key, value| match value {
            Some(value) => self.put(store, key, value),
            None => self.delete(store, key),
        });
    }

    /// Ends the record: keeps its effects, or takes them back and says why.
    pub(crate) fn finish(mut self, outcome: Result<(), Reject>) -> Result<(), Reject> {
        let outcome = outcome.and(self.refused.take().map_or(Ok(()), Err));
        if outcome.is_err() {
            self.batch.emits.truncate(self.emitted);
            for (entry, before) in self.undo.drain(..).rev() {
                match before {
                    Some(value) => drop(self.batch.delta.insert(entry, value)),
                    None => drop(self.batch.delta.remove(&entry)),
                }
            }
        }
        outcome
    }
}

impl Batch {
    /// Takes the delta over into the committed state.
    pub(crate) fn settle(&self, state: &mut State) {
        for ((store, key), value) in &self.delta {
            state.set(*store, key, value.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    const STORE: StoreId = StoreId(0);
    const LIMITS: Limits = Limits { payload: 100, stores: 1 };

    fn state() -> State {
        State::new(&[Store { topic: "table", public: false, packed: false }])
    }

    fn step<'b>(state: &'b State, batch: &'b mut Batch) -> Step<'b> {
        Step::new(state, batch, LIMITS, 0, None)
    }

    #[test]
    fn reads_its_own_writes_and_those_of_earlier_records() {
        let mut state = state();
        state.set(STORE, b"old", Some(b"1"));
        let mut batch = Batch::default();
        let mut first = step(&state, &mut batch);
        first.put(STORE, "new", b"2".to_vec());
        first.delete(STORE, "old");
        assert_eq!(first.get(STORE, b"old"), None);
        first.finish(Ok(())).unwrap();
        let next = step(&state, &mut batch);
        assert_eq!(next.get(STORE, b"new").as_deref(), Some(&b"2"[..]));
        let entries: Vec<_> = next.scan(STORE, b"").collect();
        assert_eq!(entries, [(b"new".as_slice().into(), b"2".as_slice().into())]);
        batch.settle(&mut state);
        assert_eq!((state.get(STORE, b"old"), state.get(STORE, b"new").as_deref()), (None, Some(&b"2"[..])));
    }

    #[track_caller]
    fn check_taken_back(outcome: Result<(), Reject>, effect: impl FnOnce(&mut Step<'_>)) {
        let state = state();
        let mut batch = Batch::default();
        let mut first = step(&state, &mut batch);
        first.put(STORE, "kept", b"1".to_vec());
        first.finish(Ok(())).unwrap();
        let (emits, delta) = (batch.emits.clone(), batch.delta.clone());
        let mut second = step(&state, &mut batch);
        second.put(STORE, "kept", b"2".to_vec());
        second.put(STORE, "kept", b"3".to_vec());
        second.emit("out", "k", vec![1], vec![]);
        effect(&mut second);
        second.finish(outcome).unwrap_err();
        assert_eq!((batch.emits, batch.delta), (emits, delta));
    }

    #[test]
    fn takes_back_what_a_rejected_record_did() {
        check_taken_back(Err(Reject("bad".into())), |_| {});
    }

    #[test]
    fn refuses_what_is_too_large() {
        check_taken_back(Ok(()), |step| step.emit("out", "k", vec![0; 101], vec![]));
        check_taken_back(Ok(()), |step| step.put(STORE, "k", vec![0; MAX_STATE_VALUE + 1]));
    }
}
