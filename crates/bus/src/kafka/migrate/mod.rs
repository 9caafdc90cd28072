//! Moves an installation to another number of partitions: into topics of another prefix, beside the old ones.
//!
//! 1. When nobody works on the old one and all is read, and nothing is where it is to move, it is *sealed*: its marks and origins
//!    say where it moves, and fencing keeps out who was missed. It stays as it is.
//! 2. The new one says that it *arrives*: who begins there too early stands still.
//! 3. Each topic is *copied*, a batch in one transaction with how far it has come, so that it can be killed.
//! 4. Old and new are *compared*, cluster by cluster.
//! 5. Those who keep a position of their own are told where they go on.
//! 6. One transaction writes how far the states have come, in the new one, and it is open.

mod compare;
mod copy;
mod seal;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Clients, Producer, fault, is_stale_member, number};
use super::fetch::Fetch;
use super::lineage::{Findings, Kept, Mark, Standing, Verdict};
use super::recover::read_all;
use super::transaction::{Write, fence, transact};
use super::{admin, restore};
use crate::migration::{Bookmarks, Moved};
use crate::topic::topics::{ALERTS_STATE, ALL, INCIDENT_CHANGES};
use crate::topic::{count, partition_in};
use crate::{Fault, ProcessorSpec};

/// Under which it writes.
const ID: &str = "migrate";

/// What an installation has, and how to write to it.
struct Side<'c> {
    clients: &'c Clients,
    specs: &'c [ProcessorSpec],
}

/// Moves the installation `old` to `new`, which may have begun. `tell` hears how it goes; `ready` is called before `new` is open.
pub(super) fn migrate(
    old: &Clients,
    new: &Clients,
    specs: &[ProcessorSpec],
    bookmarks: &dyn Bookmarks,
    tell: &mut dyn FnMut(&str),
    ready: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Moved, Fault> {
    let (old, new) = (Side { clients: old, specs }, Side { clients: new, specs });
    let to = new.clients.config.prefix.clone();
    let under_way = old.is_sealed_for(&to)?;
    if !under_way {
        old.check_idle(bookmarks)?;
        tell("nobody works on it, and all is read");
    }
    admin::create(new.clients, ALL)?;
    admin::until_known(new.clients, ALL)?;
    if !under_way {
        new.check_free()?;
    }
    old.seal(&Standing::Moved(to))?;
    tell("it is sealed");
    if new.begin(under_way)? {
        let copied = copy::all(&old, &new, bookmarks, tell)?;
        compare::all(&old, &new, bookmarks, tell)?;
        // Whoever is killed in here, or right after it, is not told that it is done.
        ready()?;
        new.open()?;
        return Ok(copied);
    }
    tell("it was moved before");
    Ok(Moved::default())
}

/// Lets services work on `old` again.
pub(super) fn undo(old: &Clients, specs: &[ProcessorSpec]) -> Result<(), Fault> {
    Side { clients: old, specs }.seal(&Standing::Whole)
}

/// A partition of a processor: what its changelogs keep besides the state.
struct Owned<'s> {
    spec: &'s ProcessorSpec,
    partition: u32,
    kept: Vec<Kept>,
}

impl Owned<'_> {
    fn mark(&self) -> Option<&Mark> {
        self.kept.iter().find_map(|kept| kept.mark.as_ref())
    }
}

impl<'c> Side<'c> {
    fn full(&self, topic: &str) -> String {
        self.clients.topic(topic)
    }

    /// Every partition of every processor.
    fn owned(&self) -> Result<Vec<Owned<'c>>, Fault> {
        let partitions = self.clients.config.partitions;
        let mut owned = Vec::new();
        for spec in self.specs {
            let mut fetch = Fetch::new(self.clients, &spec.name)?;
            for partition in 0..count(spec.input, partitions) {
                let mut kept = Vec::new();
                for store in &spec.stores {
                    let mut found = Kept::default();
                    let at = partition_in(store.topic, spec.writes_for(partition, partitions));
                    read_all(self.clients, &mut fetch, store.topic, at, |record| {
                        found.take(&record);
                    })?;
                    kept.push(found);
                }
                owned.push(Owned { spec, partition, kept });
            }
        }
        Ok(owned)
    }

    /// A move to `to` has sealed all of it, or a part.
    fn is_sealed_for(&self, to: &str) -> Result<bool, Fault> {
        let mut sealed = false;
        for owned in self.owned()? {
            match owned.mark().map(|mark| &mark.standing) {
                Some(Standing::Moved(other)) if other != to => {
                    let why = format!("a move to the topics {other}* is under way, or was made");
                    let mend = format!("Finish it with --to {other}, or take it back with --undo");
                    return Err(Fault::fatal("moving the installation", why, mend));
                }
                Some(Standing::Moved(_)) => sealed = true,
                _ => {}
            }
        }
        Ok(sealed)
    }

    /// No service is in a group, and everything was read. Says all that is in the way.
    fn check_idle(&self, bookmarks: &dyn Bookmarks) -> Result<(), Fault> {
        let mut ways = Vec::new();
        for spec in self.specs {
            if self.has_members(spec)? {
                ways.push(format!("{} still runs, or ended a moment ago", spec.name));
            }
        }
        for owned in self.owned()? {
            let Owned { spec, partition, .. } = owned;
            let left = self.left_of(&owned)?;
            if left > 0 {
                ways.push(format!("{}/{partition} has not read {left} record(s) of {}", spec.name, spec.input));
            }
        }
        for (reader, partition, bookmark) in self.readers(bookmarks)? {
            let left = self.left(INCIDENT_CHANGES.name, partition, bookmark)?;
            if left > 0 {
                ways.push(format!(
                    "alerts: {reader} has not read {left} record(s) of {}/{partition}",
                    INCIDENT_CHANGES.name
                ));
            }
        }
        if ways.is_empty() {
            return Ok(());
        }
        let mend =
            "Stop the exporters, let the other services read what there is, then stop them all, and run this again";
        Err(Fault::fatal("moving the installation", ways.join("; "), mend))
    }

    /// Offsets can be set from outside only while a group is empty: the brokers themselves say whether it is, of either
    /// protocol of groups.
    fn has_members(&self, spec: &ProcessorSpec) -> Result<bool, Fault> {
        let fetch = Fetch::new(self.clients, &spec.name)?;
        let (full, what) = (self.full(spec.input), format!("looking who is in group {}", self.full(&spec.name)));
        let (offset, beside) =
            restore::offset_of(self.clients, &fetch, spec.input, 0)?.unwrap_or((0, restore::FIRST.to_owned()));
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&full, number(0));
        element.set_offset(Offset::Offset(offset)).map_err(|error| fault(what.clone(), &error))?;
        element.set_metadata(beside);
        match fetch.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Ok(false),
            Err(error) if is_stale_member(&error) => Ok(true),
            Err(error) => Err(fault(what, &error)),
        }
    }

    /// Records that a processor has not read.
    fn left_of(&self, owned: &Owned<'_>) -> Result<u64, Fault> {
        let Owned { spec, partition, kept } = owned;
        let fetch = Fetch::new(self.clients, &spec.name)?;
        let input = self.full(spec.input);
        let committed = restore::committed(self.clients, &fetch, spec.input, *partition)?;
        let (begin, end) = self.clients.watermarks(fetch.client(), &input, *partition)?;
        let stores: Vec<_> = spec.stores.iter().map(|store| store.topic).zip(kept.iter().cloned()).collect();
        let prefix = &self.clients.config.prefix;
        let findings = Findings { committed, stores: &stores, begin, end, input: &input, prefix };
        let from = match findings.verdict() {
            Verdict::Fresh => begin,
            Verdict::From(offset, _) => offset,
            // It was sealed by a move that was killed.
            Verdict::Moved(_) => return Ok(0),
            Verdict::Rebuild(_) | Verdict::Lost(_) | Verdict::Arriving => {
                let what = format!("looking at {}/{partition}", spec.name);
                let mend = "Let the services recover first: docs/operations.md, A topic was lost";
                return Err(Fault::fatal(what, "its state is not whole", mend));
            }
        };
        self.left(spec.input, *partition, from)
    }

    /// Records of a partition from `from` on.
    fn left(&self, topic: &'static str, partition: u32, from: i64) -> Result<u64, Fault> {
        let mut fetch = Fetch::new(self.clients, ID)?;
        let (begin, end) = self.clients.watermarks(fetch.client(), &self.full(topic), partition)?;
        let from = from.max(begin);
        if from >= end {
            return Ok(0);
        }
        let mut left = 0;
        fetch.read_to_end(self.clients, topic, partition, Offset::Offset(from), |_| {
            left += 1;
            Ok(())
        })?;
        Ok(left)
    }

    /// Receivers of alerts, and how far they have read each partition.
    fn readers(&self, bookmarks: &dyn Bookmarks) -> Result<Vec<(String, u32, i64)>, Fault> {
        let known = bookmarks.read(&copy::table(self.clients, ALERTS_STATE.name, 0)?.rows());
        let mut names: Vec<_> = known.iter().map(|(reader, ..)| reader.clone()).collect();
        names.dedup();
        let of = |reader: &str, partition: u32| {
            let found = known.iter().find(|(name, at, _)| name == reader && *at == partition);
            found.map_or(0, |(.., bookmark)| bookmark.next)
        };
        let partitions = self.clients.config.partitions;
        let all = names.iter().flat_map(|reader| (0..partitions).map(move |partition| (reader, partition)));
        Ok(all.map(|(reader, partition)| (reader.clone(), partition, of(reader, partition))).collect())
    }

    /// The one producer of a move: who begins it again fences who is still at it.
    fn producer(&self) -> Result<Producer, Fault> {
        let producer = self.clients.transactional(ID)?;
        fence(self.clients, &producer, ID)?;
        Ok(producer)
    }
}

fn write<'w>(producer: &Producer, writes: impl Iterator<Item = Write<'w>>) -> Result<(), Fault> {
    transact(producer, ID, writes, None).map_err(|unfinished| unfinished.into_fault("moving the installation"))
}
