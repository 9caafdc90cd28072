//! The schemas of a registry, as services use them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use epicenter_bus::Stop;
use epicenter_model::{Codec, NoWriter, RecordType, Schemas, Writer};
use parking_lot::{Mutex, RwLock};

use super::cache::{Cache, Known};
use super::{Client, RegistryConfig, RegistryError, subject};
use crate::{Backoff, Health};

/// What [`Health`] calls it.
const PART: &str = "schema registry";
/// How long an id counts as unknown before the registry is asked again.
const UNKNOWN: Duration = Duration::from_secs(60);
/// Ids that count as unknown, at most.
const MOST_UNKNOWN: usize = 1024;

/// A registry whose answers are kept.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    cache: Cache,
    health: Health,
    writers: RwLock<BTreeMap<u32, Result<Arc<Writer>, NoWriter>>>,
    asking: Mutex<Asking>,
}

/// Of those who ask: one at a time.
#[derive(Debug)]
struct Asking {
    known: Known,
    unknown: BTreeMap<u32, Instant>,
    backoff: Backoff,
    /// It could not be asked: until when it is left alone, and why.
    outage: Option<(Instant, String)>,
}

impl Registry {
    /// The registry that `config` names, with what is kept of it. Nothing is asked yet.
    pub fn open(config: &RegistryConfig, health: Health) -> Result<Arc<Self>, RegistryError> {
        let client = Client::new(config)?;
        let cache = Cache::new(config.cache.as_deref());
        let known = cache.read(client.url());
        let writers = known.schemas.iter().map(|(id, text)| (*id, Writer::parse(text).map(Arc::new))).collect();
        let asking = Asking { known, unknown: BTreeMap::new(), backoff: Backoff::new(500, 15_000), outage: None };
        Ok(Arc::new(Self { client, cache, health, writers: RwLock::new(writers), asking: Mutex::new(asking) }))
    }

    /// For requests of one's own.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A codec that reads its ids, and writes none.
    pub fn reader(self: &Arc<Self>) -> Codec {
        Codec::single_object().reading(Arc::clone(self) as Arc<dyn Schemas>)
    }

    /// A codec that reads and writes its ids, for topics that begin with `prefix`. While the registry cannot be asked,
    /// with those that are kept.
    pub fn writer(self: &Arc<Self>, prefix: &str) -> Result<Codec, RegistryError> {
        let ids = self.ids(prefix).or_else(|error| {
            let unasked = !matches!(error, RegistryError::Unregistered { .. });
            let kept = if unasked { self.kept(prefix) } else { None };
            kept.inspect(|_| tracing::warn!(%error, "going on with the schema ids that are kept")).ok_or(error)
        })?;
        Ok(Codec::confluent(ids).reading(Arc::clone(self) as Arc<dyn Schemas>))
    }

    /// The same, as soon as it can be had: what is missing is said, and tried again until `stop`. Blocks.
    pub fn wait_for_writer(self: &Arc<Self>, prefix: &str, stop: &Stop) -> Result<Codec, RegistryError> {
        let mut backoff = Backoff::new(500, 15_000);
        loop {
            match self.writer(prefix) {
                Ok(codec) => {
                    self.health.well(PART);
                    return Ok(codec);
                }
                Err(error) => self.health.unwell(PART, error.to_string()),
            }
            if stop.wait(backoff.next(None)) {
                return Err(RegistryError::Stopped);
            }
        }
    }

    /// The ids of this version's schemas.
    fn ids(&self, prefix: &str) -> Result<BTreeMap<RecordType, u32>, RegistryError> {
        let (mut ids, mut missing) = (BTreeMap::new(), Vec::new());
        for record in RecordType::ALL {
            let subject = subject(*record, prefix);
            match self.client.id(&subject, record.schema_text())? {
                Some(id) => drop(ids.insert(*record, id)),
                None => missing.push(subject),
            }
        }
        if !missing.is_empty() {
            return Err(RegistryError::Unregistered { url: self.client.url().to_owned(), subjects: missing });
        }
        let mut asking = self.asking.lock();
        for (record, id) in &ids {
            asking.known.subjects.insert(subject(*record, prefix), *id);
            asking.known.schemas.insert(*id, record.schema_text().to_owned());
            self.writers.write().insert(*id, Ok(Arc::new(Writer::own(*record))));
        }
        self.cache.write(&asking.known);
        Ok(ids)
    }

    /// The same from what is kept, if all are there.
    fn kept(&self, prefix: &str) -> Option<BTreeMap<RecordType, u32>> {
        let asking = self.asking.lock();
        let writers = self.writers.read();
        let id = |record: &RecordType| {
            let id = asking.known.subjects.get(&subject(*record, prefix))?;
            let writer = writers.get(id)?.as_ref().ok()?;
            (writer.is_own() && writer.record_type() == *record).then_some((*record, *id))
        };
        RecordType::ALL.iter().map(id).collect()
    }

    fn ask(&self, id: u32, asking: &mut Asking) -> Result<Arc<Writer>, NoWriter> {
        if let Some((until, why)) = &asking.outage
            && Instant::now() < *until
        {
            return Err(NoWriter::Unavailable(why.clone()));
        }
        match self.client.schema(id) {
            Ok(found) => {
                if asking.outage.take().is_some() {
                    asking.backoff.reset();
                    self.health.well(PART);
                }
                let Some(text) = found else {
                    if asking.unknown.len() >= MOST_UNKNOWN {
                        asking.unknown.clear();
                    }
                    asking.unknown.insert(id, Instant::now() + UNKNOWN);
                    return Err(NoWriter::Unknown);
                };
                let writer = Writer::parse(&text).map(Arc::new);
                asking.known.schemas.insert(id, text);
                self.cache.write(&asking.known);
                self.writers.write().insert(id, writer.clone());
                writer
            }
            Err(error) => {
                let why = format!("{error}; records of that schema wait");
                self.health.unwell(PART, format!("schema id {id}: {why}"));
                asking.outage = Some((Instant::now() + asking.backoff.next(None), why.clone()));
                Err(NoWriter::Unavailable(why))
            }
        }
    }
}

impl Schemas for Registry {
    fn writer(&self, id: u32) -> Result<Arc<Writer>, NoWriter> {
        if let Some(known) = self.writers.read().get(&id) {
            return known.clone();
        }
        let mut asking = self.asking.lock();
        // Another may have asked meanwhile.
        if let Some(known) = self.writers.read().get(&id) {
            return known.clone();
        }
        if asking.unknown.get(&id).is_some_and(|until| Instant::now() < *until) {
            return Err(NoWriter::Unknown);
        }
        self.ask(id, &mut asking)
    }
}
