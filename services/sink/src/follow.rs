//! Follows the documents of one cluster, on a thread of its own: readers block.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_bus::topics::INCIDENTS;
use epicenter_bus::{Bus, Fault, Reader, Record, Start};
use epicenter_model::{Codec, Incident, partition_of};
use epicenter_runtime::Health;
use tokio::sync::{mpsc, oneshot};

use crate::writer::Work;

/// How long to wait for the first record of a batch before looking around.
const IDLE: Duration = Duration::from_millis(200);
/// How long to wait for one more record: what comes together is written together.
const MORE: Duration = Duration::from_millis(20);
/// Records in a batch, at most.
const BATCH: usize = 512;
/// Wait before reading again after a fault that passes.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be done, the most urgent first. When it is done, `done` moves the position past it.
pub(crate) struct Batch {
    pub work: Vec<Work>,
    pub done: oneshot::Sender<()>,
}

/// Reads from where it was committed last until the receiver of `out` has gone. Blocks. `health` hears what keeps it from
/// reading. Returns an error only for what cannot be mended while this process runs.
pub(crate) fn follow(
    bus: &Bus,
    codec: &Codec,
    cluster: &str,
    out: &mpsc::Sender<Batch>,
    health: &Health,
) -> Result<(), Fault> {
    let part = format!("incidents/{cluster}");
    while !out.is_closed() {
        match read(bus, codec, cluster, out, || health.well(&part)) {
            Ok(()) => return Ok(()),
            Err(fault @ Fault::Fatal { .. }) if matches!(bus, Bus::Local(_)) => return Err(fault),
            Err(fault) => {
                // What was not committed is read again, which is harmless.
                tracing::warn!(cluster, %fault, "reading incidents again from the last committed position");
                health.unwell(&part, fault.to_string());
                std::thread::sleep(PAUSE);
            }
        }
    }
    Ok(())
}

fn read(
    bus: &Bus,
    codec: &Codec,
    cluster: &str,
    out: &mpsc::Sender<Batch>,
    opened: impl FnOnce(),
) -> Result<(), Fault> {
    let partition = partition_of(cluster, bus.partitions());
    let start = Start::Committed(format!("sink-objects.{cluster}"));
    let mut reader = bus.reader(INCIDENTS.name, &[partition], start)?;
    opened();
    while !out.is_closed() {
        let (newest, records) = gather(&mut reader, codec, cluster)?;
        if !newest.is_empty() {
            let (done, acknowledged) = oneshot::channel();
            let batch = Batch { work: by_urgency(newest), done };
            if out.blocking_send(batch).is_err() || acknowledged.blocking_recv().is_err() {
                return Ok(());
            }
        }
        if records > 0 {
            reader.commit()?;
        }
    }
    Ok(())
}

/// The newest document of each incident, or `None` where it was deleted.
type Newest = BTreeMap<String, Option<Incident>>;

/// What the next records say, and how many they were.
fn gather(reader: &mut Reader, codec: &Codec, cluster: &str) -> Result<(Newest, usize), Fault> {
    let (mut newest, mut records) = (Newest::new(), 0);
    let mut wait = IDLE;
    while records < BATCH
        && let Some(record) = reader.next(wait)?
    {
        records += 1;
        wait = MORE;
        if let Some((id, document)) = read_record(&record, codec, cluster)? {
            newest.insert(id, document);
        }
    }
    Ok((newest, records))
}

/// The incident that a record is about, if it is one of `cluster`.
fn read_record(record: &Record, codec: &Codec, cluster: &str) -> Result<Option<(String, Option<Incident>)>, Fault> {
    let key = std::str::from_utf8(&record.key).ok();
    let Some(id) = key.and_then(|key| key.strip_prefix(cluster)?.strip_prefix('/')) else { return Ok(None) };
    Ok(match record.payload.as_deref().map(|payload| codec.decode::<Incident>(payload)).transpose() {
        // A cluster's name may go on behind a slash: the document says whose it is.
        Ok(Some(document)) if document.cluster != cluster || document.id != id => None,
        Ok(document) => Some((id.to_owned(), document)),
        Err(error) if error.is_retryable() => {
            let what = format!("reading {}/{}", INCIDENTS.name, record.partition);
            return Err(Fault::Retry { what, why: error.to_string() });
        }
        Err(error) => {
            let (partition, offset) = (record.partition, record.offset);
            tracing::error!(topic = INCIDENTS.name, partition, offset, %error, "a document cannot be read; its object stays as it is");
            None
        }
    })
}

fn by_urgency(newest: Newest) -> Vec<Work> {
    let (mut apply, mut remove) = (Vec::new(), Vec::new());
    for (id, document) in newest {
        match document {
            Some(document) => apply.push(document),
            None => remove.push(Work::Remove(id)),
        }
    }
    apply.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.opened_at.cmp(&b.opened_at)));
    apply.into_iter().map(|document| Work::Apply(Box::new(document))).chain(remove).collect()
}

#[cfg(test)]
mod tests {
    use epicenter_model::Severity;

    use super::*;

    fn document(id: &str, severity: Severity) -> Incident {
        Incident { id: id.into(), cluster: "c".into(), version: 1, severity, ..Incident::default() }
    }

    #[track_caller]
    fn check(key: &str, payload: Option<Vec<u8>>, expected: Option<(&str, bool)>) {
        let record = Record { key: key.to_owned().into(), payload: payload.map(Into::into), ..Record::default() };
        let got = read_record(&record, &Codec::single_object(), "c").unwrap();
        assert_eq!(got.as_ref().map(|(id, document)| (id.as_str(), document.is_some())), expected);
    }

    #[test]
    fn reads_only_its_own_cluster() {
        let bytes = Codec::single_object().encode(&document("i", Severity::Low)).unwrap();
        check("c/i", Some(bytes.clone()), Some(("i", true)));
        check("c/i", None, Some(("i", false)));
        check("cc/i", Some(bytes.clone()), None);
        check("c/x/i", Some(bytes), None);
        check("c/i", Some(b"garbage".to_vec()), None);
    }

    #[test]
    fn does_the_most_severe_first_and_removes_last() {
        let newest = Newest::from([
            ("a".to_owned(), None),
            ("b".to_owned(), Some(document("b", Severity::Low))),
            ("c".to_owned(), Some(document("c", Severity::Critical))),
        ]);
        let expected = [
            Work::Apply(Box::new(document("c", Severity::Critical))),
            Work::Apply(Box::new(document("b", Severity::Low))),
            Work::Remove("a".to_owned()),
        ];
        assert_eq!(by_urgency(newest), expected);
    }
}
