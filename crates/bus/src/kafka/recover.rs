//! Looks at what is lost of a processor's partitions, and lets them go on with what is left.

use std::time::Instant;

use rdkafka::Offset;

use super::DEADLINE;
use super::client::{Clients, Producer};
use super::fetch::Fetch;
use super::lineage::{Before, Committed, Findings, Kept, MARK, Mark, OWNER, Standing, Verdict, is_behind};
use super::origin::{self, HEARD, ORIGIN, Origin};
use super::restore::{self, BARRIER};
use super::transaction::{Write, fence, transact};
use crate::bookmark::Witness;
use crate::loss::Damage;
use crate::record::now;
use crate::topic::topics::{EVENTS_RAW, POSITIONS};
use crate::topic::{count, partition_in};
use crate::{Fault, Loss, ProcessorSpec, Record, Recovered};

/// What is known of a partition that nobody owns.
struct Seen {
    damage: Option<Damage>,
    /// The input offset to read next.
    offset: i64,
    /// The last record that was read of the input.
    last: Option<Witness>,
    /// Offset of the input's first record.
    begin: i64,
}

/// What is lost of the partitions of `spec`. Changes nothing.
pub(super) fn losses(clients: &Clients, spec: &ProcessorSpec) -> Result<Vec<Loss>, Fault> {
    let mut losses = Vec::new();
    for partition in 0..count(spec.input, clients.config.partitions) {
        let mut fetch = Fetch::new(clients, &spec.name)?;
        let mut kept = Vec::new();
        for store in &spec.stores {
            let mut found = Kept::default();
            let at = partition_in(store.topic, spec.writes_for(partition, clients.config.partitions));
            read_all(clients, &mut fetch, store.topic, at, |record| {
                found.take(&record);
            })?;
            kept.push(found);
        }
        if let Some(damage) = see(clients, spec, partition, &mut fetch, kept)?.damage {
            losses.push(Loss { processor: spec.name.clone(), partition, damage });
        }
    }
    Ok(losses)
}

/// Lets a partition go on with what is left; its owner, who tries again and again, sees it. `None` when nothing is lost.
pub(super) fn recover(clients: &Clients, spec: &ProcessorSpec, partition: u32) -> Result<Option<Recovered>, Fault> {
    let deadline = Instant::now() + DEADLINE;
    let mut listed = None;
    loop {
        match attempt(clients, spec, partition, &mut listed) {
            // The owner opened the partition once more meanwhile, and found what it found before.
            Err(Fault::Fenced { .. }) if Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

/// One try, which the partition's owner may fence. `listed` outlives it: the sources list their clusters once.
fn attempt(
    clients: &Clients,
    spec: &ProcessorSpec,
    partition: u32,
    listed: &mut Option<Vec<String>>,
) -> Result<Option<Recovered>, Fault> {
    let id = format!("{}.{partition}", spec.name);
    let producer = clients.transactional(&id)?;
    fence(clients, &producer, &id)?;
    let nonce = restore::nonce(&id);
    let places: Vec<_> = spec
        .stores
        .iter()
        .map(|store| partition_in(store.topic, spec.writes_for(partition, clients.config.partitions)))
        .zip(spec.stores.iter().map(|store| clients.topic(store.topic)))
        .collect();
    let to_all = |key, payload| {
        places.iter().map(move |(at, topic)| Write {
            topic,
            partition: *at,
            key,
            payload: Some(payload),
            timestamp: now(),
            headers: &[],
        })
    };
    write(&producer, &id, to_all(BARRIER, nonce.as_slice()))?;
    let mut fetch = Fetch::new(clients, &spec.name)?;
    let (mut kept, mut barriers) = (Vec::new(), Vec::new());
    for (store, (at, _)) in spec.stores.iter().zip(&places) {
        let mut found = Kept::default();
        fetch.assign(clients, store.topic, std::iter::once((*at, Offset::Beginning)))?;
        let barrier = restore::replay(
            &mut fetch,
            &nonce,
            || Ok(()),
            |record| {
                found.take(&record);
            },
        )?;
        kept.push(found);
        barriers.push(barrier);
    }
    let Seen { damage, offset, last, begin } = see(clients, spec, partition, &mut fetch, kept)?;
    let Some(damage) = damage else { return Ok(None) };
    let rebuilt = matches!(damage, Damage::State { .. });
    // Before the partition goes on: a source that is told twice lists its cluster twice, which is harmless.
    if spec.input == EVENTS_RAW.name && listed.is_none() {
        let lost_at = if rebuilt { now() } else { last.map_or(0, |last| last.timestamp) };
        *listed = Some(forget_positions(clients, partition, lost_at)?);
    }
    let mark = Mark {
        owner: nonce.clone(),
        offset: if rebuilt { offset } else { begin },
        last: None,
        stores: spec.stores.iter().map(|store| store.topic.to_owned()).collect(),
        partitions: clients.config.partitions,
        standing: if rebuilt { Standing::Rebuilding } else { Standing::Whole },
    };
    let marked = spec.stores.iter().position(|store| Some(store) == spec.marked()).unwrap_or(0);
    let encoded = mark.encode();
    let mark_at = to_all(MARK, encoded.as_slice()).skip(marked).take(1);
    restore::check(clients, &producer, places.iter().map(|(at, topic)| (topic.as_str(), *at)).zip(barriers))?;
    write(&producer, &id, to_all(OWNER, nonce.as_slice()).chain(mark_at))?;
    let loss = Loss { processor: spec.name.clone(), partition, damage };
    Ok(Some(Recovered { loss, from: begin, rebuilt, listed: listed.take().unwrap_or_default() }))
}

fn see(
    clients: &Clients,
    spec: &ProcessorSpec,
    partition: u32,
    fetch: &mut Fetch,
    kept: Vec<Kept>,
) -> Result<Seen, Fault> {
    let committed = restore::committed(clients, fetch, spec.input, partition)?;
    let input = clients.topic(spec.input);
    let (begin, end) = clients.watermarks(fetch.client(), &input, partition)?;
    let stores: Vec<_> = spec.stores.iter().map(|store| store.topic).zip(kept).collect();
    let mark = stores.iter().find_map(|(_, kept)| kept.mark.clone());
    let findings = Findings { committed, stores: &stores, begin, end, input: &input, prefix: &clients.config.prefix };
    let damage = match findings.verdict() {
        Verdict::Lost(damage) => Some(damage),
        Verdict::From(offset, Some(last)) => {
            fetch.assign(clients, spec.input, std::iter::once((partition, Offset::Offset(offset - 1))))?;
            let same = is_behind(fetch, offset, last)? == Before::Same;
            (!same).then_some(Damage::InputOther { topic: input, offset })
        }
        Verdict::Fresh | Verdict::From(_, None) | Verdict::Rebuild(_) | Verdict::Moved(_) | Verdict::Arriving => None,
    };
    let group = if let Committed::At(offset) = committed { offset } else { begin };
    let (offset, last) = mark.map_or((group, None), |mark| (mark.offset, mark.last));
    Ok(Seen { damage, offset, last, begin })
}

/// Tells the sources of a partition that their positions are lost and were good until `lost_at`: they list their clusters
/// anew. Gives their ids.
fn forget_positions(clients: &Clients, partition: u32, lost_at: i64) -> Result<Vec<String>, Fault> {
    let id = format!("recover.{partition}");
    let producer = clients.transactional(&id)?;
    fence(clients, &producer, &id)?;
    let mut fetch = Fetch::new(clients, "recover")?;
    let mut ids = Vec::new();
    read_all(clients, &mut fetch, POSITIONS.name, partition, |record| {
        if let Some(id) = record.key.strip_prefix(HEARD).and_then(|id| std::str::from_utf8(id).ok()) {
            ids.push(id.to_owned());
        }
    })?;
    ids.sort();
    ids.dedup();
    for source in &ids {
        fence(clients, &clients.transactional(source)?, source)?;
    }
    let until = origin::ends(clients, &fetch, partition)?.1;
    let origin = Origin::new(clients, &restore::nonce(&id), Some(lost_at), until).encode();
    let topic = clients.topic(POSITIONS.name);
    let (key, payload) = (ORIGIN, Some(origin.as_slice()));
    let row = Write { topic: &topic, partition, key, payload, timestamp: now(), headers: &[] };
    write(&producer, &id, std::iter::once(row))?;
    Ok(ids)
}

fn write<'w>(producer: &Producer, id: &str, writes: impl Iterator<Item = Write<'w>>) -> Result<(), Fault> {
    transact(producer, id, writes, None).map_err(|unfinished| unfinished.into_fault(format!("committing {id}")))
}

/// Gives every committed record of a partition to `apply`, as it is now.
pub(super) fn read_all(
    clients: &Clients,
    fetch: &mut Fetch,
    topic: &'static str,
    partition: u32,
    mut apply: impl FnMut(Record),
) -> Result<(), Fault> {
    fetch.read_to_end(clients, topic, partition, Offset::Beginning, |record| {
        apply(record);
        Ok(())
    })
}
