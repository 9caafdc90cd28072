//! A small stateful processor for tests of the kernel: counts records per key and emits every change.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_bus::{Entry, Processor, ProcessorSpec, Put, Record, Reject, State, Step, Store, StoreId};

/// The topic it reads.
pub const INPUT: &str = "count.in";
/// The topic it writes.
pub const OUTPUT: &str = "count.out";
/// Its changelog.
pub const STATE: &str = "count.state";
const COUNTS: StoreId = StoreId(0);

/// How it is wired.
pub fn spec() -> ProcessorSpec {
    ProcessorSpec {
        name: "counter".to_owned(),
        input: INPUT,
        stores: vec![Store { topic: STATE, public: false, packed: false }],
        outputs: vec![OUTPUT],
    }
}

/// Counts records per key; emits `key`, `count@offset`. Keeps the counts in memory, writes them when it is asked to, and says
/// with every change how many keys there are, so that a memory that does not follow from the state shows. Rejects the
/// payload `poison`, deletes the count at `reset`.
#[derive(Default)]
pub struct Counter {
    counts: BTreeMap<Vec<u8>, u64>,
    changed: BTreeSet<Vec<u8>>,
}

impl Processor for Counter {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.changed.clear();
        let count = |(key, value): Entry<'_>| {
            let count = String::from_utf8_lossy(&value).parse().map_err(Reject::because)?;
            Ok((key.to_vec(), count))
        };
        self.counts = state.scan(COUNTS, b"").map(count).collect::<Result<_, Reject>>()?;
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let key = record.key.to_vec();
        match record.payload.as_deref() {
            Some(b"poison") => return Err(Reject("it is poison".to_owned())),
            Some(b"reset") => drop(self.counts.remove(&key)),
            _ => {
                let count = self.counts.entry(key.clone()).or_default();
                *count += 1;
                let count = *count;
                let change = format!("{count}@{} of {}", record.offset, self.counts.len());
                step.emit(OUTPUT, record.key.clone(), change.into_bytes(), vec![]);
            }
        }
        self.changed.insert(key);
        Ok(())
    }

    fn flush(&mut self, put: &mut Put<'_>) {
        for key in std::mem::take(&mut self.changed) {
            let count = self.counts.get(&key).map(|count| count.to_string().into_bytes());
            put(COUNTS, key, count);
        }
    }
}
