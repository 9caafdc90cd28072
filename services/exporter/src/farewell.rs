//! A cluster's last record.

use epicenter_bus::{Bus, Emit, Fault, topics};
use epicenter_model::{Codec, CodecError, Heartbeat, RawRecord, WatchPosition, headers, partition_of};

use crate::cluster::Log;
use crate::position::Positions;

/// Why a cluster's last record was not written.
#[derive(Debug, thiserror::Error)]
pub enum FarewellError {
    /// What the log says; its advice says whether trying again helps.
    #[error(transparent)]
    Log(#[from] Fault),
    /// A position cannot be read, or the record not be framed. Not retryable.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Ends a cluster's log: says that it was taken out on purpose, so that nobody waits for it. An exporter that still
/// reads it makes it known again. Gives `false` when the log has nothing of the cluster.
/// Blocks.
///
/// # Errors
/// The log cannot be read or written; nothing was written then.
pub fn farewell(log: &Log, cluster: &str) -> Result<bool, FarewellError> {
    let Some(cluster_uid) = uid(&log.bus, &log.codec, cluster)? else { return Ok(false) };
    // An id of its own: the same cluster may be read under another name already, and is not to be fenced.
    let partition = partition_of(cluster, log.bus.partitions());
    let (mut source, rows) = log.bus.source(&format!("farewell.{cluster}"), partition, &Positions::prefix(cluster))?;
    let mut positions = Positions::read(&log.codec, cluster, &cluster_uid, &rows)?;
    let at = positions.advance((log.clock)());
    let beat = Heartbeat { cluster: cluster.to_owned(), cluster_uid, at, healthy: false, last: true };
    let record = RawRecord::Heartbeat(beat);
    let emit = Emit {
        topic: topics::EVENTS_RAW.name,
        timestamp: at.as_millis(),
        key: record.key().into(),
        payload: Some(record.encode(&log.codec)?.into()),
        headers: headers(record.record_type(), cluster, format!("@{}", at.as_micros()), at),
    };
    source.commit(&[emit], &positions.rows(&log.codec)?)?;
    Ok(true)
}

/// The identity under which the cluster was read last.
fn uid(bus: &Bus, codec: &Codec, cluster: &str) -> Result<Option<String>, FarewellError> {
    let mut newest: Option<WatchPosition> = None;
    for (_, row) in bus.table(topics::POSITIONS.name)?.range(Positions::prefix(cluster)..) {
        let row: WatchPosition = codec.decode(row)?;
        if row.cluster != cluster {
            break;
        }
        newest = newest.filter(|newest| newest.at >= row.at).or(Some(row));
    }
    Ok(newest.map(|newest| newest.cluster_uid))
}
