//! Keeps services away from an installation that moves.

use super::{Owned, Side, read_all, write};
use crate::kafka::client::Clients;
use crate::kafka::fetch::Fetch;
use crate::kafka::lineage::{MARK, Mark, OWNER, Standing};
use crate::kafka::origin::{HEARD, ORIGIN, Origin};
use crate::kafka::restore;
use crate::kafka::transaction::{Write, fence};
use crate::record::now;
use crate::topic::topics::{ALERTS_STATE, ALL, POSITIONS};
use crate::topic::{count, partition_in};
use crate::{Fault, ProcessorSpec};

/// How to mend a prefix that is taken.
const TAKEN: &str = "Choose another prefix with --to, or delete the topics that have this one";

/// A row of a table: topic, partition, key, value.
type Row = (String, u32, Vec<u8>, Option<Vec<u8>>);

fn writes(rows: &[Row]) -> impl Iterator<Item = Write<'_>> {
    rows.iter().map(|(topic, partition, key, payload)| Write {
        topic,
        partition: *partition,
        key,
        payload: payload.as_deref(),
        timestamp: now(),
        headers: &[],
    })
}

impl Side<'_> {
    /// Gives all of it that standing, and fences whoever worked on it.
    pub(super) fn seal(&self, standing: &Standing) -> Result<(), Fault> {
        let mut rows = Vec::new();
        for owned in self.owned()? {
            let Owned { spec, partition, .. } = &owned;
            let id = format!("{}.{partition}", spec.name);
            fence(self.clients, &self.clients.transactional(&id)?, &id)?;
            let value = match owned.mark() {
                // Nothing was processed, and nothing says so.
                Some(mark) if mark.stores.is_empty() && *standing == Standing::Whole => None,
                Some(mark) => Some(Mark { standing: standing.clone(), ..mark.clone() }),
                None => Some(self.mark(Vec::new(), 0, &[], standing)),
            };
            rows.push(self.mark_row(spec, *partition, value.map(|mark| mark.encode())));
        }
        let mut fetch = Fetch::new(self.clients, super::ID)?;
        for partition in 0..self.clients.config.partitions {
            let (mut ids, mut origin) = (Vec::new(), None);
            read_all(self.clients, &mut fetch, POSITIONS.name, partition, |record| {
                if let Some(id) = record.key.strip_prefix(HEARD) {
                    ids.push(String::from_utf8_lossy(id).into_owned());
                } else if record.key == ORIGIN {
                    origin = record.payload.as_deref().and_then(Origin::decode);
                }
            })?;
            self.fence_all(ids)?;
            let nonce = restore::nonce(super::ID);
            let origin = match origin {
                Some(origin) => origin,
                None => Origin::found(self.clients, &fetch, partition, &nonce)?,
            };
            let value = Origin { standing: standing.clone(), ..origin };
            rows.push((self.full(POSITIONS.name), partition, ORIGIN.to_vec(), Some(value.encode())));
        }
        let told = super::copy::table(self.clients, ALERTS_STATE.name, 0)?.rows();
        let receivers = told.keys().filter_map(|key| std::str::from_utf8(key).ok()?.split_once('/'));
        self.fence_all(receivers.map(|(receiver, _)| format!("alerts.{receiver}")).collect())?;
        rows.push(self.alerts_row(standing));
        write(&self.producer()?, writes(&rows))
    }

    fn fence_all(&self, mut ids: Vec<String>) -> Result<(), Fault> {
        ids.sort();
        ids.dedup();
        ids.iter().try_for_each(|id| fence(self.clients, &self.clients.transactional(id)?, id))
    }

    /// Nobody has begun anything there. A fault when somebody has.
    pub(super) fn check_free(&self) -> Result<(), Fault> {
        if self.standings()?.iter().all(|standing| *standing == Some(Standing::Arriving)) {
            let why = format!("a move to the topics {}* was begun and taken back", self.clients.config.prefix);
            return Err(Fault::fatal("moving the installation", why, TAKEN));
        }
        self.check_empty()
    }

    fn check_empty(&self) -> Result<(), Fault> {
        let fetch = Fetch::new(self.clients, super::ID)?;
        for topic in ALL {
            for partition in 0..count(topic.name, self.clients.config.partitions) {
                if self.clients.watermarks(fetch.client(), &self.full(topic.name), partition)?.1 > 0 {
                    let why = format!("{}/{partition} has records already", self.full(topic.name));
                    return Err(Fault::fatal("moving the installation", why, TAKEN));
                }
            }
        }
        Ok(())
    }

    fn standings(&self) -> Result<Vec<Option<Standing>>, Fault> {
        Ok(self.owned()?.iter().map(|owned| owned.mark().map(|mark| mark.standing.clone())).collect())
    }

    /// Says that it arrives, when it has not done so in a move that is `under_way`. `false` when that move is done: it is open.
    pub(super) fn begin(&self, under_way: bool) -> Result<bool, Fault> {
        if under_way {
            let standings = self.standings()?;
            let are_all = |standing| standings.iter().all(|found| found.as_ref() == Some(&standing));
            if are_all(Standing::Arriving) {
                return Ok(true);
            }
            if are_all(Standing::Whole) {
                return Ok(false);
            }
            self.check_empty()?;
        }
        let (standing, partitions) = (Standing::Arriving, self.clients.config.partitions);
        let arriving = self.mark(Vec::new(), 0, &[], &standing).encode();
        let owned = self.specs.iter().flat_map(|spec| (0..count(spec.input, partitions)).map(move |at| (spec, at)));
        let mut rows: Vec<_> =
            owned.map(|(spec, partition)| self.mark_row(spec, partition, Some(arriving.clone()))).collect();
        rows.extend((0..partitions).map(|partition| self.origin_row(partition, &standing)));
        rows.push(self.alerts_row(&standing));
        write(&self.producer()?, writes(&rows))?;
        Ok(true)
    }

    /// Says how far its states have come: to the ends. From then on it is an installation like any other.
    pub(super) fn open(&self) -> Result<(), Fault> {
        let nonce = restore::nonce(super::ID);
        let fetch = Fetch::new(self.clients, super::ID)?;
        let partitions = self.clients.config.partitions;
        let mut rows = Vec::new();
        for spec in self.specs {
            for partition in 0..count(spec.input, partitions) {
                let end = self.clients.watermarks(fetch.client(), &self.full(spec.input), partition)?.1;
                let stores: Vec<_> = spec.stores.iter().map(|store| store.topic).collect();
                for topic in &stores {
                    let at = partition_in(topic, spec.writes_for(partition, partitions));
                    rows.push((self.full(topic), at, OWNER.to_vec(), Some(nonce.clone())));
                }
                let mark = self.mark(nonce.clone(), end, &stores, &Standing::Whole);
                rows.push(self.mark_row(spec, partition, Some(mark.encode())));
            }
        }
        rows.extend((0..partitions).map(|partition| self.origin_row(partition, &Standing::Whole)));
        rows.push(self.alerts_row(&Standing::Whole));
        let progress = super::copy::progress(self.clients)?;
        rows.extend(progress.into_keys().map(|key| (self.full(POSITIONS.name), 0, key, None)));
        write(&self.producer()?, writes(&rows))
    }

    fn mark(&self, owner: Vec<u8>, offset: i64, stores: &[&str], standing: &Standing) -> Mark {
        let stores = stores.iter().map(|store| (*store).to_owned()).collect();
        Mark {
            owner,
            offset,
            last: None,
            stores,
            partitions: self.clients.config.partitions,
            standing: standing.clone(),
        }
    }

    fn mark_row(&self, spec: &ProcessorSpec, partition: u32, value: Option<Vec<u8>>) -> Row {
        let store = spec.marked().expect("a processor of an installation has a store");
        let at = partition_in(store.topic, spec.writes_for(partition, self.clients.config.partitions));
        (self.full(store.topic), at, MARK.to_vec(), value)
    }

    fn origin_row(&self, partition: u32, standing: &Standing) -> Row {
        let value = origin(self.clients, standing).encode();
        (self.full(POSITIONS.name), partition, ORIGIN.to_vec(), Some(value))
    }

    fn alerts_row(&self, standing: &Standing) -> Row {
        let value = (*standing != Standing::Whole).then(|| origin(self.clients, standing).encode());
        (self.full(ALERTS_STATE.name), 0, ORIGIN.to_vec(), value)
    }
}

fn origin(clients: &Clients, standing: &Standing) -> Origin {
    Origin { standing: standing.clone(), ..Origin::new(clients, &restore::nonce(super::ID), None, 0) }
}
