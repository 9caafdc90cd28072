//! Follows the topics of an installation for its metrics: what no service can count for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_bus::topics::{DEAD_LETTER, EVENTS_ENRICHED, EVENTS_RAW};
use epicenter_bus::{Bus, Fault, Reader, Start, Stop};
use epicenter_model::{Codec, DeadLetter};
use epicenter_runtime::Metrics;
use epicenter_runtime::metric::{DEAD_LETTERS, LAG};

const TURN: Duration = Duration::from_millis(250);
/// Records that are taken from a topic before the next has its turn.
const SHARE: usize = 10_000;

/// Counts until `stop`. Blocks.
pub fn run(bus: &Bus, metrics: &Metrics, stop: &Stop) -> Result<(), Fault> {
    let codec = Codec::single_object();
    let partitions: Vec<u32> = (0..bus.partitions()).collect();
    let open = |topic: &'static str| bus.reader(topic, &partitions, Start::Latest);
    let mut dead = open(DEAD_LETTER.name)?;
    let mut stages = [(open(EVENTS_RAW.name)?, BTreeMap::new()), (open(EVENTS_ENRICHED.name)?, BTreeMap::new())];
    while !stop.requested() {
        for (reader, newest) in &mut stages {
            each(reader, |partition, timestamp, _| {
                newest.insert(partition, timestamp);
            })?;
        }
        let [(_, raw), (_, enriched)] = &stages;
        let behind = |(partition, at): (&u32, &i64)| at - enriched.get(partition).copied().unwrap_or(*at);
        let lag = raw.iter().map(behind).max().unwrap_or(0);
        metrics.set(&LAG, &["enricher"], lag.max(0) as f64 / 1000.0);
        each(&mut dead, |_, _, payload| {
            let service = codec.decode::<DeadLetter>(payload).map_or_else(|_| "unknown".to_owned(), |it| it.service);
            // An exporter counts its own.
            if service != "exporter" {
                metrics.add(&DEAD_LETTERS, &[&service], 1.0);
            }
        })?;
    }
    Ok(())
}

/// Gives partition, timestamp and payload of the records that are there.
fn each(reader: &mut Reader, mut take: impl FnMut(u32, i64, &[u8])) -> Result<(), Fault> {
    let mut wait = TURN;
    for _ in 0..SHARE {
        let Some(record) = next(reader, wait)? else { break };
        wait = Duration::ZERO;
        take(record.partition, record.timestamp, record.payload.as_deref().unwrap_or_default());
    }
    Ok(())
}

/// The next record; what passes counts as none.
pub fn next(reader: &mut Reader, wait: Duration) -> Result<Option<epicenter_bus::Record>, Fault> {
    match reader.next(wait) {
        Err(Fault::Retry { what, why }) => {
            tracing::debug!(what, why, "reading again");
            Ok(None)
        }
        outcome => outcome,
    }
}
