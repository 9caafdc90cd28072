//! What is kept of a receiver in `alerts.state`: how far it has read, and what it was told. One row for each partition and
//! for each incident that goes on, as JSON.

use std::collections::BTreeMap;

use epicenter_bus::{Bookmark, Bookmarks, Row};
use serde::Serialize;

use crate::desk::{Key, Thread};

/// A receiver's position, by partition.
pub(crate) type Position = BTreeMap<u32, Bookmark>;

/// The prefix of a receiver's keys.
pub(crate) fn prefix(receiver: &str) -> Vec<u8> {
    format!("{receiver}/").into_bytes()
}

/// What the rows of a receiver say. A row that cannot be read is told and left out.
pub(crate) fn read(receiver: &str, rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> (Position, BTreeMap<Key, Thread>) {
    let (mut position, mut threads) = (Position::new(), BTreeMap::new());
    for (key, value) in rows {
        if read_row(receiver, key, value, &mut position, &mut threads).is_none() {
            let key = String::from_utf8_lossy(key);
            tracing::error!(receiver, %key, "a row of alerts.state cannot be read: its incident may be told once more");
        }
    }
    (position, threads)
}

fn read_row(
    receiver: &str,
    key: &[u8],
    value: &[u8],
    position: &mut Position,
    threads: &mut BTreeMap<Key, Thread>,
) -> Option<()> {
    let key = std::str::from_utf8(key).ok()?.strip_prefix(receiver)?.strip_prefix('/')?;
    match key.rsplit_once('/') {
        Some((cluster, id)) => {
            let thread = serde_json::from_slice(value).ok()?;
            threads.insert((cluster.to_owned(), id.to_owned()), thread);
        }
        None => {
            let partition = key.strip_prefix('@')?.parse().ok()?;
            position.insert(partition, serde_json::from_slice(value).ok()?);
        }
    }
    Some(())
}

/// The positions in rows of `alerts.state`.
#[derive(Clone, Copy, Debug)]
pub struct Positions;

impl Bookmarks for Positions {
    fn read(&self, rows: &epicenter_bus::Rows) -> Vec<(String, u32, Bookmark)> {
        let mut found: Vec<(String, u32, Bookmark)> = Vec::new();
        for (key, value) in rows {
            let Some((receiver, rest)) = std::str::from_utf8(key).ok().and_then(|key| key.split_once('/')) else {
                continue;
            };
            let partition = rest.strip_prefix('@').and_then(|partition| partition.parse().ok());
            if let (Some(partition), Ok(bookmark)) = (partition, serde_json::from_slice(value)) {
                found.push((receiver.to_owned(), partition, bookmark));
            }
        }
        found
    }

    fn rewrite(&self, mut rows: epicenter_bus::Rows, ends: &[Bookmark]) -> epicenter_bus::Rows {
        let known = self.read(&rows);
        for (receiver, partition, _) in &known {
            rows.remove(format!("{receiver}/@{partition}").as_bytes());
        }
        for (receiver, ..) in &known {
            for (partition, end) in ends.iter().enumerate() {
                rows.insert(format!("{receiver}/@{partition}").into_bytes(), json(end));
            }
        }
        rows
    }
}

/// Rows to be written.
#[derive(Default)]
pub(crate) struct Rows(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Rows {
    pub fn position(&mut self, receiver: &str, partition: u32, bookmark: &Bookmark) {
        self.0.push((format!("{receiver}/@{partition}").into_bytes(), Some(json(bookmark))));
    }

    pub fn thread(&mut self, receiver: &str, (cluster, id): &Key, thread: Option<&Thread>) {
        self.0.push((format!("{receiver}/{cluster}/{id}").into_bytes(), thread.map(json)));
    }

    pub fn rows(&self) -> Vec<Row<'_>> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect()
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has names and plain values only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_positions_and_nothing_else() {
        let bookmark = |next: i64| serde_json::from_str::<Bookmark>(&format!("{{\"next\":{next}}}")).unwrap();
        let row = |key: &str, value: Vec<u8>| (key.as_bytes().to_vec(), value);
        let thread = row("slack/a/epc-1", b"{}".to_vec());
        let rows = epicenter_bus::Rows::from([
            thread.clone(),
            row("slack/@0", json(&bookmark(4))),
            row("slack/@2", json(&bookmark(5))),
        ]);
        assert_eq!(Positions.read(&rows), [("slack".to_owned(), 0, bookmark(4)), ("slack".to_owned(), 2, bookmark(5))]);
        let ends = [bookmark(7), bookmark(8)];
        let moved = Positions.rewrite(rows, &ends);
        let expected = [thread, row("slack/@0", json(&ends[0])), row("slack/@1", json(&ends[1]))];
        assert_eq!(moved, epicenter_bus::Rows::from(expected));
    }
}
