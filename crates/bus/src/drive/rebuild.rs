//! A state that is made anew of the input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::{Assigned, BATCH_BYTES, IDLE, Input, Poll};
use crate::step::Batch;
use crate::{Fault, Processor, ProcessorSpec, State, StoreId};

/// How often it is told how far a state has come that is made anew.
const TELL: Duration = Duration::from_secs(10);

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
