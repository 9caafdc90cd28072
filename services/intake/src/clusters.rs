//! The clusters that exporters read, and how far their logs are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Fault, topics};
use epicenter_model::{Codec, Timestamp, WatchPosition};

/// Exporters write their log time with each heartbeat, every 5 s.
const FRESH: Duration = Duration::from_secs(5);
/// Whoever asks for clusters that there are not has them looked up no more often.
const AGAIN: Duration = Duration::from_secs(1);

/// A cluster in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub uid: String,
    /// Log time that its exporter has reached, at the least.
    pub at: Timestamp,
}

/// All of them, as they were a moment ago.
#[derive(Default)]
pub(crate) struct Clusters {
    known: BTreeMap<String, Cluster>,
    read: Option<Instant>,
}

impl Clusters {
    /// The cluster of that name. Blocks.
    pub fn get(&mut self, name: &str, bus: &Bus, codec: &Codec) -> Result<Option<Cluster>, Fault> {
        let age = self.read.map(|read| read.elapsed());
        let old = if self.known.contains_key(name) { FRESH } else { AGAIN };
        if age.is_none_or(|age| age > old) {
            self.known = read(bus, codec)?;
            self.read = Some(Instant::now());
        }
        Ok(self.known.get(name).cloned())
    }

    /// The only one that there is. Blocks.
    pub fn only(&mut self, bus: &Bus, codec: &Codec) -> Result<Option<String>, Fault> {
        self.get("", bus, codec)?;
        let mut names = self.known.keys();
        Ok(names.next().filter(|_| names.next().is_none()).cloned())
    }
}

fn read(bus: &Bus, codec: &Codec) -> Result<BTreeMap<String, Cluster>, Fault> {
    let mut known: BTreeMap<String, Cluster> = BTreeMap::new();
    for row in bus.table(topics::POSITIONS.name)?.values() {
        let row: WatchPosition = match codec.decode(row) {
            Ok(row) => row,
            Err(error) if error.is_retryable() => {
                return Err(Fault::Retry { what: "reading positions".to_owned(), why: error.to_string() });
            }
            Err(error) => {
                tracing::warn!(%error, "a position that cannot be read");
                continue;
            }
        };
        let cluster =
            known.entry(row.cluster).or_insert_with(|| Cluster { uid: String::new(), at: Timestamp::default() });
        if row.at >= cluster.at {
            *cluster = Cluster { uid: row.cluster_uid, at: row.at };
        }
    }
    Ok(known)
}
