//! How receivers fare, as far as the log tells: for whoever looks from outside, also while they are told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use epicenter_bus::topics::{ALERTS_STATE, INCIDENT_CHANGES};
use epicenter_bus::{Bus, Fault, Start};
use epicenter_model::Timestamp;

use crate::state;

/// Changes that are counted, at most.
const MOST: u64 = 10_000;
/// What is not counted by then is left.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Its name.
    pub receiver: String,
    /// Somebody has begun to tell it.
    pub begun: bool,
    /// Changes of incidents that are before it, up to ten thousand.
    pub unread: u64,
    /// When the oldest of those was written.
    pub oldest: Option<Timestamp>,
    /// Since when it is told something that it does not take.
    pub waits: Option<Timestamp>,
    /// When it was told last of an incident that goes on.
    pub told: Option<Timestamp>,
}

/// How each of the receivers `names` fares, or each that was ever told something when there are none. Blocks.
///
/// # Errors
/// Those of the log.
pub fn outlook(bus: &Bus, names: Option<&[&str]>) -> Result<Vec<Outlook>, Fault> {
    let rows = bus.table(ALERTS_STATE.name)?;
    let known = || {
        let of = |key: &Vec<u8>| Some(std::str::from_utf8(key).ok()?.split_once('/')?.0.to_owned());
        rows.keys().filter_map(of).collect::<BTreeSet<String>>()
    };
    let names = names.map_or_else(known, |names| names.iter().map(|name| (*name).to_owned()).collect());
    names.into_iter().map(|receiver| of(bus, &rows, receiver)).collect()
}

fn of(bus: &Bus, rows: &epicenter_bus::Rows, receiver: String) -> Result<Outlook, Fault> {
    let prefix = state::prefix(&receiver);
    let own = rows.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(key, value)| (key.clone(), value.clone()));
    let (position, threads) = state::read(&receiver, &own.collect());
    let begun = !position.is_empty();
    let (mut unread, mut oldest) = (0, None);
    if begun {
        let partitions: Vec<u32> = (0..bus.partitions()).collect();
        let start = Start::At("reader".to_owned(), position);
        let mut reader = bus.reader(INCIDENT_CHANGES.name, &partitions, start)?;
        reader.read_on(Instant::now() + PATIENCE, &mut |record| {
            let at = Timestamp::from_millis(record.timestamp);
            oldest = Some(oldest.map_or(at, |oldest: Timestamp| oldest.min(at)));
            unread += 1;
            unread < MOST
        })?;
    }
    let waits = threads.values().filter_map(|thread| thread.begun_at()).min();
    let told = threads.values().filter_map(|thread| thread.told_at()).max();
    Ok(Outlook { receiver, begun, unread, oldest, waits, told })
}
