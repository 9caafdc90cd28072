//! The incidents of which something can be said, kept up by reading on.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Fault, Reader, Start, topics};
use epicenter_model::{Codec, CodecError, FLEET, Incident, IncidentState};
use epicenter_runtime::Access;

/// Incidents that are over and still known: those that ended last. The engine hears of one until ten minutes after its end.
const OVER: usize = 20_000;
/// For so long is read on at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an incident of the fleet: so many are named of those that it is made of.
const PARTS: usize = 3;

/// Id and cluster.
type Key = (String, String);

/// What has to be known of an incident before something is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub id: String,
    pub cluster: String,
    pub state: IncidentState,
    pub is_acknowledged: bool,
    /// Of one of the fleet: some of the clusters' incidents that it is made of, with their clusters.
    pub parts: Vec<(String, String)>,
    /// Those that it touches, and that of its cause.
    namespaces: Vec<String>,
}

impl Known {
    fn of(incident: Incident) -> Self {
        let Incident { id, cluster, state, acknowledged, members, cause, impact, .. } = incident;
        let members = members.into_iter().filter(|_| cluster == FLEET).take(PARTS);
        let parts = members.map(|member| (member.name, member.regarding.name)).collect();
        let namespaces = impact.namespaces.into_iter().chain([cause.object.namespace]).collect();
        Self { parts, namespaces, id, cluster, state, is_acknowledged: acknowledged.is_some() }
    }

    /// Whether it is shown.
    pub fn is_for(&self, access: &Access) -> bool {
        access.sees_any(&self.cluster, self.namespaces.iter().map(String::as_str))
    }
}

/// Those that are open, and the newest of those that are over. Empty until somebody asks.
#[derive(Default)]
pub(crate) struct Incidents {
    reader: Option<Reader>,
    known: BTreeMap<Key, Known>,
    /// The first to end first.
    over: VecDeque<Key>,
}

impl Incidents {
    /// The incident of that id, in that cluster if one is named, as the table is now. Blocks: the first time it reads all of the
    /// table, and then what is new.
    ///
    /// # Errors
    /// [`Fault::Retry`] too when there is more than can be read at once; it goes on from there.
    pub fn find(&mut self, id: &str, cluster: &str, bus: &Bus, codec: &Codec) -> Result<Option<Known>, Fault> {
        self.read_on(bus, codec)?;
        let first = (id.to_owned(), String::new());
        let mut found = self.known.range(first..).take_while(|((of, _), _)| of == id).map(|(_, known)| known);
        Ok(found.find(|known| cluster.is_empty() || known.cluster == cluster).cloned())
    }

    fn read_on(&mut self, bus: &Bus, codec: &Codec) -> Result<(), Fault> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open(bus, codec)?,
        };
        let mut taken = Ok(());
        let read = reader.read_on(Instant::now() + PATIENCE, &mut |record| {
            taken = self.take(&record.key, record.payload.as_deref(), codec);
            taken.is_ok()
        });
        // Whatever was not taken is read again from the beginning, without the reader.
        taken.map_err(unread)?;
        if matches!(read, Ok(_) | Err(Fault::Retry { .. })) {
            self.reader = Some(reader);
        }
        match read? {
            true => Ok(()),
            false => Err(unread("there are more than could be read by now; ask again, it goes on from there")),
        }
    }

    fn open(&mut self, bus: &Bus, codec: &Codec) -> Result<Reader, Fault> {
        self.known.clear();
        self.over.clear();
        let partitions: Vec<u32> = (0..bus.partitions()).collect();
        let topic = topics::INCIDENTS.name;
        if matches!(bus, Bus::Kafka(_)) {
            return bus.reader(topic, &partitions, Start::Earliest);
        }
        // A directory keeps its tables apart from its log, which it trims. What changes meanwhile comes again, without effect.
        let reader = bus.reader(topic, &partitions, Start::Latest)?;
        for (key, row) in bus.table(topic)? {
            let taken = self.take(&key, Some(&row), codec);
            taken.map_err(unread)?;
        }
        Ok(reader)
    }

    /// Takes a row of the table over; `None` when it was deleted. One that can never be read is left out.
    fn take(&mut self, key: &[u8], row: Option<&[u8]>, codec: &Codec) -> Result<(), CodecError> {
        let Some(row) = row else {
            let key = std::str::from_utf8(key).ok().and_then(|key| key.rsplit_once('/'));
            if let Some((cluster, id)) = key {
                self.known.remove(&(id.to_owned(), cluster.to_owned()));
            }
            return Ok(());
        };
        match codec.decode::<Incident>(row) {
            Ok(incident) => self.know(Known::of(incident)),
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::warn!(key = %String::from_utf8_lossy(key), %error, "an incident that cannot be read");
            }
        }
        Ok(())
    }

    fn know(&mut self, known: Known) {
        let key = (known.id.clone(), known.cluster.clone());
        let is_over = known.state != IncidentState::Open;
        let before = self.known.insert(key.clone(), known);
        if is_over && before.is_none_or(|before| before.state == IncidentState::Open) {
            self.over.push_back(key);
        }
        while self.over.len() > OVER
            && let Some(oldest) = self.over.pop_front()
        {
            if self.known.get(&oldest).is_some_and(|known| known.state != IncidentState::Open) {
                self.known.remove(&oldest);
            }
        }
    }
}

fn unread(why: impl Display) -> Fault {
    Fault::Retry { what: "reading the incidents".to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(incidents: &mut Incidents, id: &str, state: IncidentState) {
        incidents.know(Known::of(Incident { id: id.into(), cluster: "c".into(), state, ..Incident::default() }));
    }

    #[test]
    fn knows_all_that_are_open_and_the_newest_of_the_others() {
        let mut incidents = Incidents::default();
        put(&mut incidents, "open", IncidentState::Open);
        put(&mut incidents, "back", IncidentState::Resolved);
        put(&mut incidents, "back", IncidentState::Open);
        for number in 0..OVER + 10 {
            put(&mut incidents, &format!("over-{number}"), IncidentState::Resolved);
            put(&mut incidents, &format!("over-{number}"), IncidentState::Resolved);
        }
        assert_eq!((incidents.known.len(), incidents.over.len()), (OVER + 2, OVER));
        let is_known = |id: &str| incidents.known.contains_key(&(id.to_owned(), "c".to_owned()));
        let newest = format!("over-{}", OVER + 9);
        assert!(is_known("open") && is_known("back") && is_known(&newest) && !is_known("over-0"));
        incidents.take(b"c/open", None, &Codec::single_object()).unwrap();
        incidents.take(b"c/other", Some(b"nonsense"), &Codec::single_object()).unwrap();
        assert_eq!(incidents.known.len(), OVER + 1);
    }
}
