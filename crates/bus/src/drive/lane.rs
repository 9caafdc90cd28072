//! A processor with its partition's state: records in, batches out.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use epicenter_model::{Codec, DeadLetter, Timestamp, TraceContext};

use crate::step::{Batch, Limits};
use crate::{Emit, Fault, MAX_RECORD, Processor, ProcessorSpec, Record, Reject, State, Step, Traced};

/// The largest payload that a processor may emit, and that goes to dead-letter whole, bytes: the topics' limit less room
/// for key and headers.
pub(super) const MAX_PAYLOAD: usize = MAX_RECORD - 4096;

/// A processor with its partition's state.
pub(super) struct Lane<'s, P> {
    pub(super) spec: &'s ProcessorSpec,
    pub(super) processor: P,
    codec: Codec,
    pub(super) state: State,
    /// The records of the batch.
    taken: Vec<Record>,
    /// The processor's memory does not follow from the state and the records any more: it panicked, or what it took for done
    /// was refused.
    pub(super) astray: bool,
}

impl<'s, P: Processor> Lane<'s, P> {
    pub(super) fn new(spec: &'s ProcessorSpec, processor: P, state: State) -> Result<Self, Fault> {
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
    pub(super) fn take(&mut self, record: Record, batch: &mut Batch) {
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
    pub(super) fn process(&mut self, record: &Record, batch: &mut Batch, written: bool) -> Result<(), Reject> {
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
    pub(super) fn close(&mut self, mut batch: Batch, again: &mut VecDeque<Record>) -> Result<Batch, Fault> {
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

    pub(super) fn settle(&mut self, batch: &Batch) -> Result<(), Fault> {
        batch.settle(&mut self.state);
        if self.astray { self.restore() } else { Ok(()) }
    }
}

pub(super) fn dead_letter(codec: &Codec, service: &str, record: &Record, reject: &Reject) -> Emit {
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
    Emit::dead_letter(codec, record.key.clone(), &letter)
}
