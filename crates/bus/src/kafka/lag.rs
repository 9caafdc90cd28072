//! How far behind a processor is, as anybody sees it.

use std::time::{Duration, Instant};

use rdkafka::Offset;

use super::DEADLINE;
use super::client::Clients;
use super::fetch::{Fetch, Fetched};
use super::lineage::Committed;
use super::restore;
use crate::topic::count;
use crate::{Fault, Lag, ProcessorSpec};

/// The partitions of which the processor has not processed everything.
pub(super) fn lag(clients: &Clients, spec: &ProcessorSpec) -> Result<Vec<Lag>, Fault> {
    let mut fetch = Fetch::new(clients, &spec.name)?;
    let full = clients.topic(spec.input);
    let mut behind = Vec::new();
    for partition in 0..count(spec.input, clients.config.partitions) {
        let (begin, end) = clients.watermarks(fetch.client(), &full, partition)?;
        let from = match restore::committed(clients, &fetch, spec.input, partition)? {
            Committed::At(offset) => offset.max(begin),
            Committed::Nothing => begin,
        };
        if from >= end {
            continue;
        }
        fetch.assign(clients, spec.input, std::iter::once((partition, Offset::Offset(from))))?;
        // Control records are no records.
        if let Some((offset, oldest)) = first(&mut fetch)? {
            let (processor, records) = (spec.name.clone(), u64::try_from(end - offset).unwrap_or(0));
            behind.push(Lag { processor, partition, records, oldest });
        }
    }
    Ok(behind)
}

/// Offset and timestamp of the next record, if there is one.
fn first(fetch: &mut Fetch) -> Result<Option<(i64, i64)>, Fault> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        match fetch.poll(Duration::from_millis(100))? {
            Fetched::Record(record) => return Ok(Some((record.offset, record.timestamp))),
            Fetched::End(_) => return Ok(None),
            Fetched::Nothing => {}
        }
    }
    Err(Fault::retry(format!("reading {}", fetch.topic()), "the cluster does not answer"))
}
