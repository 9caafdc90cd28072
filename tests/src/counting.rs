//! A small stateful processor for tests of the kernel: counts records per key and emits every change.

use epicenter_bus::{Processor, ProcessorSpec, Record, Reject, State, Step, Store, StoreId};

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
        stores: vec![Store { topic: STATE, public: false }],
        outputs: vec![OUTPUT],
    }
}

/// Counts records per key; emits `key`, `count@offset`. Keeps the number of keys in memory besides, and says it with
/// every change, so that a memory that does not follow from the state shows. Rejects the payload `poison`, deletes the
/// count at `reset`.
#[derive(Default)]
pub struct Counter {
    keys: usize,
}

impl Processor for Counter {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.keys = state.len(COUNTS);
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let before = step.get(COUNTS, &record.key).map(text);
        let count: u64 = before.as_deref().map_or(Ok(0), str::parse).map_err(Reject::because)?;
        match record.payload.as_deref() {
            Some(b"poison") => return Err(Reject("it is poison".to_owned())),
            Some(b"reset") => {
                self.keys -= usize::from(before.is_some());
                step.delete(COUNTS, record.key.clone());
            }
            _ => {
                self.keys += usize::from(before.is_none());
                step.put(COUNTS, record.key.clone(), (count + 1).to_string().into_bytes());
                let change = format!("{}@{} of {}", count + 1, record.offset, self.keys);
                step.emit(OUTPUT, record.key.clone(), change.into_bytes(), vec![]);
            }
        }
        Ok(())
    }
}
