//! Holds the copy against the original: each cluster's records, in their order, and each row.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::time::Duration;

use rustc_hash::FxHasher;

use super::copy::{ends, moved_topics, place, table};
use super::{Side, read_all};
use crate::kafka::fetch::Fetch;
use crate::kafka::restore::is_own;
use crate::migration::Bookmarks;
use crate::record::now;
use crate::topic::count;
use crate::topic::topics::ALERTS_STATE;
use crate::{Cleanup, Fault, Record, Topic};

/// What is to be deleted so soon by its age is not compared: one side may have done it already.
const SOON: Duration = Duration::from_secs(3600);

/// Records, and a digest of them in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    records: u64,
    hash: u64,
}

/// Each cluster's, by its name.
type Digests = BTreeMap<String, Digest>;

pub(super) fn all(
    old: &Side<'_>,
    new: &Side<'_>,
    bookmarks: &dyn Bookmarks,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Fault> {
    for topic in moved_topics().filter(|topic| topic.name != ALERTS_STATE.name) {
        let oldest = match topic.cleanup {
            Cleanup::Delete(after) => now() - (after - SOON.min(after)).as_millis() as i64,
            Cleanup::Compact => i64::MIN,
        };
        let (before, after) = (digests(old, topic, oldest, false)?, digests(new, topic, oldest, true)?);
        if let Some((cluster, digest)) = before.iter().find(|(cluster, digest)| after.get(*cluster) != Some(digest)) {
            let found = after.get(cluster).copied().unwrap_or_default();
            return Err(differs(topic, format!("cluster `{cluster}` has {digest:?} there and {found:?} here")));
        }
        if before.len() != after.len() {
            return Err(differs(topic, format!("there are {} clusters there and {} here", before.len(), after.len())));
        }
    }
    let expected = bookmarks.rewrite(table(old.clients, ALERTS_STATE.name, 0)?.rows(), &ends(new)?);
    if table(new.clients, ALERTS_STATE.name, 0)?.rows() != expected {
        return Err(differs(&ALERTS_STATE, "its rows differ".to_owned()));
    }
    tell("each cluster has the same records, in the same order, and the same rows");
    Ok(())
}

fn differs(topic: &Topic, why: String) -> Fault {
    let mend =
        "A bug: please report it. The old installation is whole: `epicenter topics migrate --undo` opens it again";
    Fault::fatal(format!("comparing {}", topic.name), why, mend)
}

/// What each cluster has in a topic. On the new side each record must be in its cluster's partition.
fn digests(side: &Side<'_>, topic: &'static Topic, oldest: i64, placed: bool) -> Result<Digests, Fault> {
    let partitions = side.clients.config.partitions;
    let mut all = Digests::new();
    let mut astray = None;
    for partition in 0..count(topic.name, partitions) {
        let mut take = |record: &Record| {
            let (at, cluster) = place(topic, record, partitions);
            if placed && at != partition && !cluster.is_empty() {
                astray = Some((cluster.to_owned(), partition));
            }
            if record.timestamp < oldest {
                return;
            }
            if !all.contains_key(cluster) {
                all.insert(cluster.to_owned(), Digest::default());
            }
            let digest = all.get_mut(cluster).expect("it was inserted if it was missing");
            digest.records += 1;
            // The order counts of a log within its cluster; rows come in the order of their keys, and add up.
            let hash = hash_of(record);
            digest.hash = match topic.cleanup {
                Cleanup::Delete(_) if !cluster.is_empty() => digest.hash.rotate_left(5) ^ hash,
                _ => digest.hash.wrapping_add(hash),
            };
        };
        match topic.cleanup {
            Cleanup::Compact => table(side.clients, topic.name, partition)?.records().for_each(&mut take),
            Cleanup::Delete(_) => {
                let mut fetch = Fetch::new(side.clients, super::ID)?;
                read_all(side.clients, &mut fetch, topic.name, partition, |record| {
                    if !is_own(&record.key) {
                        take(&record);
                    }
                })?;
            }
        }
    }
    match astray {
        Some((cluster, partition)) => Err(differs(topic, format!("cluster {cluster} is in partition {partition}"))),
        None => Ok(all),
    }
}

fn hash_of(record: &Record) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(&record.key);
    hasher.write(record.payload.as_deref().unwrap_or(b"\0"));
    hasher.write_i64(record.timestamp);
    for (name, value) in &record.headers {
        hasher.write(name.as_bytes());
        hasher.write(value);
    }
    // Fx mixes its last word little.
    hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
