//! A table goes on with topics that its log was moved to.

use std::time::{Duration, Instant};

use epicenter_bus::{Bookmark, Bus, Start};
use tokio::runtime::Handle;

use crate::position::{Origin, Positions};
use crate::run::READER;
use crate::writer::Writer;
use crate::{ArchiveError, Entry, Store};

/// What is not read to its end within that time is not at its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks that the table of `T` has all of its topic on `bus`, which nobody writes to any more. Blocks.
///
/// # Errors
/// [`ArchiveError::Behind`] when it has not; retryable ones when the log or the store does not answer.
pub fn whole<T: Entry>(store: &Store, bus: &Bus, generation: u32, runtime: &Handle) -> Result<(), ArchiveError> {
    let writer = runtime.block_on(Writer::open::<T>(store, Origin::new(T::KIND, bus, generation)))?;
    let partitions: Vec<u32> = (0..bus.partitions()).collect();
    let start = Start::At(READER.to_owned(), writer.positions().clone());
    let mut reader = bus.reader(T::KIND.topic, &partitions, start)?;
    let at_end = reader.read_on(Instant::now() + PATIENCE, &mut |_| false)?;
    if at_end { Ok(()) } else { Err(ArchiveError::Behind { topic: T::KIND.topic }) }
}

/// Lets the table of `T` go on at the end of `bus`, with the records of which all is archived already, under a generation of its own: before anything is
/// written there. Can be called again. Blocks.
///
/// # Errors
/// Retryable ones when the log or the store does not answer.
pub fn moved<T: Entry>(store: &Store, bus: &Bus, generation: u32, runtime: &Handle) -> Result<(), ArchiveError> {
    let mut writer = runtime.block_on(Writer::open::<T>(store, Origin::new(T::KIND, bus, generation)))?;
    let mut ends = Positions::new();
    for partition in 0..bus.partitions() {
        let (_, end) = bus.bounds(T::KIND.topic, partition)?;
        // Of that generation may be what a move that was taken back has left.
        let known = writer.positions().get(&partition).map_or(0, |bookmark| bookmark.next);
        if known != end {
            ends.insert(partition, Bookmark::at(end));
        }
    }
    if ends.is_empty() { Ok(()) } else { runtime.block_on(writer.append(Vec::new(), ends)) }
}
