//! Keeps a board up with the log. Readers block: each topic has a thread of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_bus::topics::{EVENTS_ENRICHED, EVENTS_RAW, INCIDENTS, POSITIONS, SILENCES};
use epicenter_bus::{Bookmark, Bus, Fault, Start, Stop};
use epicenter_runtime::Health;

use crate::Board;

/// The topics that a board is made of.
pub const TOPICS: [&str; 5] = [INCIDENTS.name, SILENCES.name, POSITIONS.name, EVENTS_ENRICHED.name, EVENTS_RAW.name];

/// Those of which the newest of each key counts.
const TABLES: [&str; 3] = [INCIDENTS.name, SILENCES.name, POSITIONS.name];

/// How far back Events are read at a start: records of all partitions together.
const BACK: i64 = 40_000;
const WAIT: Duration = Duration::from_millis(250);
/// Between two looks at positions that cannot be followed.
const LOOK: Duration = Duration::from_secs(1);
/// Wait before reading again after a fault that passes.
const PAUSE: Duration = Duration::from_secs(1);
/// The name of the readers; they commit nothing.
const NAME: &str = "console";

/// Reads `topic` into `board` until `stop`. Blocks. `health` hears what keeps it from reading.
///
/// # Errors
/// Only for what cannot be mended while this process runs.
pub fn follow(bus: &Bus, topic: &'static str, board: &Board, health: &Health, stop: &Stop) -> Result<(), Fault> {
    let part = format!("console/{topic}");
    while !stop.requested() {
        match read(bus, topic, board, || health.well(&part), stop) {
            Ok(()) => return Ok(()),
            Err(fault @ Fault::Fatal { .. }) if matches!(bus, Bus::Local(_)) => return Err(fault),
            Err(fault) => {
                // What is read again has no effect.
                tracing::warn!(topic, %fault, "reading again from the beginning");
                health.unwell(&part, fault.to_string());
                stop.wait(PAUSE);
            }
        }
    }
    Ok(())
}

fn read(bus: &Bus, topic: &'static str, board: &Board, opened: impl FnOnce(), stop: &Stop) -> Result<(), Fault> {
    let partitions: Vec<u32> = (0..bus.partitions()).collect();
    let is_table = TABLES.contains(&topic);
    let mut reader = bus.reader(topic, &partitions, start(bus, topic, &partitions, is_table)?)?;
    // What changes while the table is read comes again, without effect.
    if is_table {
        load(bus, topic, board)?;
    }
    opened();
    // A log in a directory keeps positions as a table alone: nothing of them is to be followed there.
    let is_looked_up = topic == POSITIONS.name && matches!(bus, Bus::Local(_));
    let wait = if is_looked_up { LOOK } else { WAIT };
    while !stop.requested() {
        match reader.next(wait) {
            Ok(Some(record)) => take(board, topic, &record.key, record.payload.as_deref())?,
            Ok(None) => {
                board.caught_up(topic);
                if is_looked_up {
                    load(bus, topic, board)?;
                }
            }
            Err(Fault::Retry { what, why }) => tracing::debug!(what, why, "reading again"),
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

fn load(bus: &Bus, topic: &'static str, board: &Board) -> Result<(), Fault> {
    bus.table(topic)?.iter().try_for_each(|(key, row)| take(board, topic, key, Some(row)))
}

/// Of tables what comes from now on; of the others only what is newest counts.
fn start(bus: &Bus, topic: &'static str, partitions: &[u32], is_table: bool) -> Result<Start, Fault> {
    if is_table {
        return Ok(Start::Latest);
    }
    let each = BACK / i64::from(bus.partitions().max(1));
    let mut bookmarks = BTreeMap::new();
    for partition in partitions {
        let (first, end) = bus.bounds(topic, *partition)?;
        bookmarks.insert(*partition, Bookmark::at(first.max(end - each)));
    }
    Ok(Start::At(NAME.to_owned(), bookmarks))
}

fn take(board: &Board, topic: &'static str, key: &[u8], payload: Option<&[u8]>) -> Result<(), Fault> {
    let taken = match topic {
        _ if topic == INCIDENTS.name => board.incident_row(key, payload),
        _ if topic == SILENCES.name => board.silence_row(key, payload),
        _ if topic == POSITIONS.name => board.position_row(key, payload),
        _ if topic == EVENTS_ENRICHED.name => payload.map_or(Ok(()), |payload| board.enriched(payload)),
        _ => payload.map_or(Ok(()), |payload| board.raw(payload)),
    };
    match taken {
        Err(error) if error.is_retryable() => {
            Err(Fault::Retry { what: format!("reading {topic}"), why: error.to_string() })
        }
        Err(error) => {
            // It is in dead-letter, or in the archive, with the reason; here it is only not shown.
            tracing::warn!(topic, key = %String::from_utf8_lossy(key), %error, "a record cannot be read, and is not shown");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
