//! Where a table stands in its topic: application transactions of Delta's log, for each partition.

use std::collections::BTreeMap;

use deltalake::DeltaTable;
use deltalake::kernel::{Action, Transaction};
use epicenter_bus::{Bookmark, Bus};

use crate::table::{DEADLINE, within};
use crate::{ArchiveError, Kind};

/// The log that a table is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    topic: &'static str,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Which log of that name it is: one in a directory knows that itself.
    generation: i64,
}

/// How far each partition is in a table.
pub(crate) type Positions = BTreeMap<u32, Bookmark>;

/// What is kept of the last record, so that another log is not taken for the same one.
const TIME: &str = "time";
const HASH: &str = "hash";

impl Origin {
    pub(crate) fn new(kind: Kind, bus: &Bus, generation: u32) -> Self {
        let generation = match bus {
            Bus::Local(log) => log.created(),
            Bus::Kafka(_) => i64::from(generation),
        };
        Self { topic: kind.topic, partitions: bus.partitions(), generation }
    }

    /// The positions of a table at the version that is known. Reads Delta's log back to the last commit of each.
    pub(crate) async fn found(self, table: &DeltaTable) -> Result<Positions, ArchiveError> {
        let what = || format!("reading the positions of {} in {}", self.topic, table.log_store().root_url());
        let log_store = table.log_store();
        let state = table.snapshot().map_err(|error| ArchiveError::store(what(), error))?;
        let number = async |application: String| {
            within(DEADLINE, &what, state.transaction_version(log_store.as_ref(), application)).await
        };
        let mut positions = Positions::new();
        for partition in 0..self.partitions {
            let Some(last) = number(self.application(partition)).await? else { continue };
            let time = number(self.detail(partition, TIME)).await?;
            let hash = number(self.detail(partition, HASH)).await?.and_then(|hash| u32::try_from(hash).ok());
            positions.insert(partition, bookmark(last, time.zip(hash)));
        }
        Ok(positions)
    }

    /// Takes over the positions that a commit has moved.
    pub(crate) fn moved(self, commit: &[Action], positions: &mut Positions) {
        let versions = commit.iter().filter_map(|action| match action {
            Action::Txn(Transaction { app_id, version, .. }) => Some((app_id.as_str(), *version)),
            _ => None,
        });
        let versions: BTreeMap<_, _> = versions.collect();
        for partition in 0..self.partitions {
            let number = |application: String| versions.get(application.as_str()).copied();
            if let Some(last) = number(self.application(partition)) {
                let hash = number(self.detail(partition, HASH)).and_then(|hash| u32::try_from(hash).ok());
                positions.insert(partition, bookmark(last, number(self.detail(partition, TIME)).zip(hash)));
            }
        }
    }

    /// What a commit says that brings the table to `positions`.
    pub(crate) fn transactions(self, positions: &Positions) -> Vec<Transaction> {
        let now = Some(epicenter_runtime::now().as_millis());
        let transactions = positions.iter().flat_map(|(partition, bookmark)| {
            let last = bookmark.last();
            let numbers = [
                Some((self.application(*partition), bookmark.next - 1)),
                last.map(|(time, _)| (self.detail(*partition, TIME), time)),
                last.map(|(_, hash)| (self.detail(*partition, HASH), i64::from(hash))),
            ];
            numbers.into_iter().flatten()
        });
        transactions.map(|(application, number)| Transaction::new_with_last_update(application, number, now)).collect()
    }

    /// Under which name the table keeps the last offset of a partition.
    fn application(self, partition: u32) -> String {
        format!("epicenter/{}/{partition}/{}", self.topic, self.generation)
    }

    fn detail(self, partition: u32, what: &str) -> String {
        format!("{}/{what}", self.application(partition))
    }
}

fn bookmark(last: i64, record: Option<(i64, u32)>) -> Bookmark {
    record.map_or(Bookmark::at(last + 1), |record| Bookmark::behind(last + 1, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_says_what_is_read_of_it() {
        let origin = Origin { topic: "events.enriched", partitions: 2, generation: 3 };
        let positions =
            Positions::from([(0, Bookmark::at(7)), (1, Bookmark::behind(9, (1_795_132_800_000, u32::MAX)))]);
        let commit: Vec<_> = origin.transactions(&positions).into_iter().map(Action::Txn).collect();
        let mut read = Positions::from([(0, Bookmark::at(2))]);
        origin.moved(&commit, &mut read);
        assert_eq!(read, positions);
        let mut other = Positions::new();
        Origin { generation: 4, ..origin }.moved(&commit, &mut other);
        assert_eq!(other, Positions::new());
    }
}
