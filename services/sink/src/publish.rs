//! Folds changes of incidents into the public table of whole documents.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_bus::topics::{INCIDENT_CHANGES, INCIDENTS};
use epicenter_bus::{MAX_STATE_VALUE, Processor, ProcessorSpec, Put, Record, Reject, State, Step, Store, StoreId};
use epicenter_model::{Codec, Incident, IncidentChange, IncidentState, Timestamp};

use crate::bounds;

/// Members that a document keeps; it counts the others.
pub const MAX_MEMBERS: usize = 50;
/// Resolved and merged incidents that the table keeps of a cluster: the newest.
const MAX_ENDED: usize = 1000;
/// And for how much log time, ms: 30 days, as long as `incident.changes` keeps theirs.
const RETENTION: i64 = 30 * 24 * 3600 * 1000;
const TABLE: StoreId = StoreId(0);

/// How the kernel runs a [`Publisher`].
pub fn spec() -> ProcessorSpec {
    ProcessorSpec {
        name: "sink".to_owned(),
        input: INCIDENT_CHANGES.name,
        stores: vec![Store { topic: INCIDENTS.name, public: true, packed: false }],
        outputs: Vec::new(),
    }
}

/// Keeps the newest document of each incident under `cluster/id`, below [`MAX_STATE_VALUE`] bytes, and forgets what
/// ended long ago.
///
/// A change that is not newer than the document has no effect, so that a replay of `incident.changes` is harmless.
pub struct Publisher {
    codec: Codec,
    /// Of each cluster: what has ended, and when.
    ended: BTreeMap<String, BTreeSet<(Timestamp, String)>>,
}

impl Publisher {
    /// A publisher that reads and writes by `codec`.
    pub fn new(codec: Codec) -> Self {
        Self { codec, ended: BTreeMap::new() }
    }

    fn decoded(&self, bytes: &[u8]) -> Result<Incident, Reject> {
        self.codec.decode(bytes).map_err(|error| Reject(format!("the {} table: {error}", INCIDENTS.name)))
    }

    fn encoded(&self, document: &mut Incident) -> Result<Vec<u8>, Reject> {
        bounds::bound(document);
        let bytes = self.codec.encode(document).map_err(Reject::because)?;
        if bytes.len() <= MAX_STATE_VALUE {
            return Ok(bytes);
        }
        // What cannot be written counts as small, and is refused below.
        bounds::fit(document, MAX_STATE_VALUE, |document| self.codec.encode(document).map_or(0, |bytes| bytes.len()));
        self.codec.encode(document).map_err(Reject::because)
    }
}

impl Processor for Publisher {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.ended.clear();
        for (_, value) in state.scan(TABLE, b"") {
            let document = self.decoded(&value)?;
            if let Some(at) = ended_at(&document) {
                self.ended.entry(document.cluster).or_default().insert((at, document.id));
            }
        }
        Ok(())
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        let payload = record.payload.as_deref().ok_or_else(|| Reject("a change without payload".to_owned()))?;
        let change: IncidentChange = self.codec.decode(payload).map_err(Reject::because)?;
        let (cluster, id) = (&change.incident.cluster, &change.incident.id);
        check_name("cluster", cluster, 253)?;
        check_name("id", id, 63)?;
        let key = key(cluster, id);
        let mut document = step.get(TABLE, &key).map(|bytes| self.decoded(&bytes)).transpose()?.unwrap_or_default();
        let ended_before = ended_at(&document);
        if !document.apply(&change, MAX_MEMBERS) {
            return Ok(());
        }
        let value = self.encoded(&mut document)?;
        step.put(TABLE, key, value);

        // From here on nothing fails: what is in memory follows the step.
        let ended = self.ended.entry(cluster.clone()).or_default();
        if let Some(at) = ended_before {
            ended.remove(&(at, id.clone()));
        }
        if let Some(at) = ended_at(&document) {
            ended.insert((at, id.clone()));
        }
        let oldest_kept = Timestamp::from_millis(record.timestamp).plus_millis(-RETENTION);
        while let Some((at, oldest)) = ended.first()
            && (ended.len() > MAX_ENDED || *at < oldest_kept)
        {
            step.delete(TABLE, self::key(cluster, oldest));
            ended.pop_first();
        }
        Ok(())
    }

    fn flush(&mut self, _: &mut Put<'_>) {}

    fn codec(&self) -> Codec {
        self.codec.clone()
    }
}

fn key(cluster: &str, id: &str) -> Vec<u8> {
    format!("{cluster}/{id}").into_bytes()
}

fn check_name(what: &str, name: &str, limit: usize) -> Result<(), Reject> {
    if name.is_empty() || name.len() > limit {
        return Err(Reject(format!("the incident's {what} has {} bytes; it must have 1 to {limit}", name.len())));
    }
    Ok(())
}

/// Log time at which an incident ended, if it has.
pub(crate) fn ended_at(document: &Incident) -> Option<Timestamp> {
    (document.state != IncidentState::Open).then(|| document.resolved_at.unwrap_or(document.last_event_at))
}

#[cfg(test)]
mod tests {
    use epicenter_bus::Driver;
    use epicenter_model::Member;

    use super::*;
    use crate::bounds::tests::worst;

    const DAY: i64 = 24 * 3600 * 1000;

    fn change(id: &str, version: i64, state: IncidentState, at: i64) -> IncidentChange {
        let at = Timestamp::from_millis(at);
        let incident = Incident {
            id: id.into(),
            cluster: "c".into(),
            version,
            state,
            last_event_at: at,
            resolved_at: (state == IncidentState::Resolved).then_some(at),
            ..Incident::default()
        };
        IncidentChange { at, incident, ..IncidentChange::default() }
    }

    fn record(change: &IncidentChange) -> Record {
        let payload = Codec::single_object().encode(change).unwrap();
        Record { timestamp: change.at.as_millis(), payload: Some(payload.into()), ..Record::default() }
    }

    fn publisher() -> Publisher {
        Publisher::new(Codec::single_object())
    }

    fn document(driver: &Driver<'_, Publisher>, key: &str) -> Option<Incident> {
        driver.state().get(TABLE, key.as_bytes()).map(|bytes| Codec::single_object().decode(&bytes).unwrap())
    }

    fn keys(driver: &Driver<'_, Publisher>) -> Vec<String> {
        driver.state().scan(TABLE, b"").map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn merges_members_and_ignores_what_is_not_newer() {
        let spec = spec();
        let mut driver = Driver::new(&spec, publisher());
        let member = |uid: &str, occurrences| Member { event_uid: uid.into(), occurrences, ..Member::default() };
        let mut first = change("i", 1, IncidentState::Open, 10);
        first.incident.members = vec![member("a", 1), member("b", 1)];
        first.incident.events.objects = 2;
        let mut second = change("i", 2, IncidentState::Open, 20);
        second.incident.members = vec![member("b", 5), member("c", 1)];
        second.incident.events.objects = 3;
        second.backfill = true;
        for change in [&first, &second, &first, &second] {
            assert!(driver.feed(&record(change)).unwrap().is_empty(), "the table is its only output");
        }
        let got = document(&driver, "c/i").unwrap();
        let members: Vec<_> = got.members.iter().map(|m| (m.event_uid.as_str(), m.occurrences)).collect();
        assert_eq!(members, [("a", 1), ("b", 5), ("c", 1)]);
        assert_eq!((got.version, got.truncated, got.backfill), (2, 0, true));
    }

    #[test]
    fn keeps_any_document_below_the_limit() {
        let spec = spec();
        for filling in ["\"", "日", "🦀"] {
            let mut driver = Driver::new(&spec, publisher());
            let incident = Incident { version: 1, cluster: "c".into(), ..worst(filling) };
            driver.feed(&record(&IncidentChange { incident, ..IncidentChange::default() })).unwrap();
            let got = document(&driver, "c/epc-aaaaaaaaaa").unwrap();
            assert!(!got.members.is_empty() && got.members.iter().any(|member| member.role == "root"));
            assert_eq!(got.truncated, 9000 - got.members.len() as i64);
        }
    }

    #[test]
    fn forgets_what_ended_long_ago_also_after_a_restart() {
        let spec = spec();
        let mut driver = Driver::new(&spec, publisher());
        driver.feed(&record(&change("old", 1, IncidentState::Resolved, 0))).unwrap();
        driver.feed(&record(&change("merged", 1, IncidentState::Merged, DAY))).unwrap();
        driver.feed(&record(&change("open", 1, IncidentState::Open, 0))).unwrap();
        driver.feed(&record(&change("back", 1, IncidentState::Resolved, 0))).unwrap();
        driver.feed(&record(&change("back", 2, IncidentState::Open, DAY))).unwrap();
        let mut driver = driver.restart(publisher());
        driver.feed(&record(&change("new", 1, IncidentState::Open, 30 * DAY))).unwrap();
        assert_eq!(keys(&driver), ["c/back", "c/merged", "c/new", "c/old", "c/open"]);
        driver.feed(&record(&change("new", 2, IncidentState::Open, 30 * DAY + 1))).unwrap();
        assert_eq!(keys(&driver), ["c/back", "c/merged", "c/new", "c/open"]);
        driver.feed(&record(&change("new", 3, IncidentState::Open, 40 * DAY))).unwrap();
        assert_eq!(keys(&driver), ["c/back", "c/new", "c/open"]);
    }

    #[test]
    fn keeps_the_newest_of_those_that_ended() {
        let spec = spec();
        let mut driver = Driver::new(&spec, publisher());
        driver.feed(&record(&change("open", 1, IncidentState::Open, 0))).unwrap();
        for n in 0..MAX_ENDED as i64 + 5 {
            driver.feed(&record(&change(&format!("i{n:04}"), 1, IncidentState::Resolved, n))).unwrap();
        }
        let keys = keys(&driver);
        assert_eq!((keys.len(), keys[0].as_str(), keys[MAX_ENDED].as_str()), (MAX_ENDED + 1, "c/i0005", "c/open"));
    }

    #[track_caller]
    fn check_rejected(payload: Option<Vec<u8>>, expected: &str) {
        let spec = spec();
        let mut driver = Driver::new(&spec, publisher());
        let reject = driver.feed(&Record { payload: payload.map(Into::into), ..Record::default() }).unwrap_err();
        assert!(reject.to_string().contains(expected), "{reject}");
        assert!(driver.state().is_empty());
    }

    #[test]
    fn rejects_what_is_no_change() {
        let codec = Codec::single_object();
        check_rejected(None, "a change without payload");
        check_rejected(Some(b"{}".to_vec()), "neither single-object Avro");
        check_rejected(
            Some(codec.encode(&Incident::default()).unwrap()),
            "found incident where incident-change belongs",
        );
        check_rejected(Some(codec.encode(&IncidentChange::default()).unwrap()), "the incident's cluster has 0 bytes");
        let long = change(&"i".repeat(64), 1, IncidentState::Open, 0);
        check_rejected(Some(codec.encode(&long).unwrap()), "the incident's id has 64 bytes; it must have 1 to 63");
    }
}
