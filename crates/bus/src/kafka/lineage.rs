//! What a partition's state says of itself, and whether it still fits its input.
//!
//! A topic can be deleted and created again, under services that run or while they are down. Offsets do not show it: those of
//! another log are numbers, too. So each commit renews a [`Mark`] beside the state: how far the input was read, what the last
//! record was, and which *owner* wrote it. An owner writes its name to each of its changelogs once, with its first commit: a
//! changelog that lacks the name was emptied since. The group's committed offset only fences; what counts is the mark.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::DEADLINE;
use super::fetch::{Fetch, Fetched};
use crate::bookmark::Witness;
use crate::loss::Damage;
use crate::{Fault, Record};

/// The key of the mark.
pub(super) const MARK: &[u8] = b"\0mark";
/// The key of the owner's name.
pub(super) const OWNER: &[u8] = b"\0owner";
const VERSION: u8 = 1;

/// How far a partition's state has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Who wrote it.
    pub(super) owner: Vec<u8>,
    /// The input offset to read next.
    pub(super) offset: i64,
    /// The record before it, when one was read.
    pub(super) last: Option<Witness>,
    /// The changelogs, without prefix, that have the owner's name.
    pub(super) stores: Vec<String>,
    /// Partitions of the installation.
    pub(super) partitions: u32,
    /// What holds of the state.
    pub(super) standing: Standing,
}

/// What holds of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// It is what the input up to the offset comes to.
    Whole,
    /// It is being made anew of what the input has before the offset.
    Rebuilding,
    /// It is being moved to an installation of that prefix, or was.
    Moved(String),
    /// It is being moved here.
    Arriving,
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("postcard writes anything of known length into memory")
    }

    /// `None` when another version wrote it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        postcard::from_bytes(rest).ok().filter(|_| *version == VERSION)
    }
}

/// What a changelog has besides the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) owner: Option<Vec<u8>>,
    pub(super) mark: Option<Mark>,
}

impl Kept {
    /// Takes a record of the changelog, if it is none of the state's.
    pub(super) fn take(&mut self, record: &Record) -> bool {
        match record.key.as_ref() {
            OWNER => self.owner = record.payload.as_deref().map(<[u8]>::to_vec),
            MARK => self.mark = record.payload.as_deref().and_then(Mark::decode),
            key => return key.starts_with(b"\0"),
        }
        true
    }
}

/// What the group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// Nothing, or where the first owner found the input's beginning.
    Nothing,
    /// The offset to read next.
    At(i64),
}

/// What is known of a partition that is taken over.
pub(super) struct Findings<'f> {
    pub(super) committed: Committed,
    /// Its changelogs, by name without prefix.
    pub(super) stores: &'f [(&'f str, Kept)],
    /// Offsets of the input's first record, and behind its last one.
    pub(super) begin: i64,
    pub(super) end: i64,
    /// Full name of the input, for people.
    pub(super) input: &'f str,
    /// Put in front of the names of topics.
    pub(super) prefix: &'f str,
}

/// How to go on with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing of the input was processed: from its beginning.
    Fresh,
    /// From that offset, if the record before it is that one.
    From(i64, Option<Witness>),
    /// The state is to be made anew of the records before that offset.
    Rebuild(i64),
    /// Somebody must decide.
    Lost(Damage),
    /// It lives in the installation of that prefix now.
    Moved(String),
    /// It is not complete yet.
    Arriving,
}

impl Findings<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        let mark = self.stores.iter().find_map(|(_, kept)| kept.mark.as_ref());
        let Some(mark) = mark else {
            return match self.committed {
                Committed::Nothing => Verdict::Fresh,
                Committed::At(offset) if self.stores.is_empty() => self.from(offset, None),
                Committed::At(offset) => self.without_state(offset, |_| true),
            };
        };
        let emptied = |(name, kept): &(&str, Kept)| {
            mark.stores.iter().any(|store| store == name) && kept.owner.as_ref() != Some(&mark.owner)
        };
        match &mark.standing {
            Standing::Moved(to) => Verdict::Moved(to.clone()),
            Standing::Arriving => Verdict::Arriving,
            Standing::Rebuilding if self.end < mark.offset => Verdict::Lost(self.cut(mark.offset)),
            Standing::Rebuilding => Verdict::Rebuild(mark.offset),
            Standing::Whole if self.stores.iter().any(emptied) => self.without_state(mark.offset, emptied),
            Standing::Whole => self.from(mark.offset, mark.last),
        }
    }

    fn from(&self, offset: i64, last: Option<Witness>) -> Verdict {
        if self.end < offset {
            Verdict::Lost(self.cut(offset))
        } else if offset < self.begin {
            let (topic, begin) = (self.input.to_owned(), self.begin);
            Verdict::Lost(Damage::InputExpired { topic, offset, begin })
        } else {
            // What retention has deleted is not asked for.
            Verdict::From(offset, last.filter(|_| self.begin < offset))
        }
    }

    /// An input that still has its first record gives the same state again.
    fn without_state(&self, offset: i64, emptied: impl Fn(&(&str, Kept)) -> bool) -> Verdict {
        if self.end < offset {
            return Verdict::Lost(self.cut(offset));
        }
        if self.begin == 0 {
            return Verdict::Rebuild(offset);
        }
        let emptied = self.stores.iter().filter(|store| emptied(store));
        let stores: Vec<_> = emptied.map(|(name, _)| [self.prefix, name].concat()).collect();
        Verdict::Lost(Damage::State { stores: stores.join(" and "), topic: self.input.to_owned() })
    }

    fn cut(&self, offset: i64) -> Damage {
        Damage::InputCut { topic: self.input.to_owned(), offset, end: self.end }
    }
}

/// What is before an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The record that was read there.
    Same,
    /// Another one.
    Other,
    /// None: control records, or it was compacted away.
    None,
}

/// Compares the next record of `fetch`, which is to begin there, with `last`, that was read before `offset`.
pub(super) fn is_behind(fetch: &mut Fetch, offset: i64, last: Witness) -> Result<Before, Fault> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        return Ok(match fetch.poll(Duration::from_millis(100))? {
            Fetched::Record(record) if record.offset >= offset => Before::None,
            Fetched::Record(record) if Witness::of(&record) == last => Before::Same,
            Fetched::Record(_) => Before::Other,
            Fetched::End(_) => Before::None,
            Fetched::Nothing => continue,
        });
    }
    Err(Fault::retry(format!("reading the record before offset {offset}"), "the cluster does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Witness = Witness { timestamp: 7, hash: 9 };

    fn mark(standing: Standing) -> Mark {
        let stores = vec!["objects".to_owned(), "state".to_owned()];
        Mark { owner: b"me".to_vec(), offset: 10, last: Some(LAST), stores, partitions: 12, standing }
    }

    fn kept(owner: &str, mark: Option<Mark>) -> Kept {
        Kept { owner: Some(owner.into()).filter(|_| !owner.is_empty()), mark }
    }

    #[track_caller]
    fn check(committed: Committed, stores: [Kept; 2], (begin, end): (i64, i64), expected: Verdict) {
        let [objects, state] = stores;
        let stores = [("objects", objects), ("state", state)];
        let findings = Findings { committed, stores: &stores, begin, end, input: "e.in", prefix: "e." };
        assert_eq!(findings.verdict(), expected);
    }

    fn whole() -> [Kept; 2] {
        [kept("me", None), kept("me", Some(mark(Standing::Whole)))]
    }

    #[test]
    fn goes_on_where_the_state_is() {
        let none = || [Kept::default(), Kept::default()];
        check(Committed::Nothing, none(), (5, 20), Verdict::Fresh);
        check(Committed::At(10), whole(), (0, 20), Verdict::From(10, Some(LAST)));
        check(Committed::At(10), whole(), (10, 10), Verdict::From(10, None));
        // The group's offset was deleted or set by hand.
        check(Committed::Nothing, whole(), (0, 20), Verdict::From(10, Some(LAST)));
        check(Committed::At(3), whole(), (0, 20), Verdict::From(10, Some(LAST)));
        // A changelog that a new version has besides.
        let older = Mark { stores: vec!["state".to_owned()], ..mark(Standing::Whole) };
        check(Committed::At(10), [kept("", None), kept("me", Some(older))], (0, 20), Verdict::From(10, Some(LAST)));
    }

    #[test]
    fn says_what_is_lost_of_the_input() {
        let topic = || "e.in".to_owned();
        let lost = |damage| Verdict::Lost(damage);
        check(Committed::At(10), whole(), (0, 4), lost(Damage::InputCut { topic: topic(), offset: 10, end: 4 }));
        check(
            Committed::At(10),
            whole(),
            (12, 20),
            lost(Damage::InputExpired { topic: topic(), offset: 10, begin: 12 }),
        );
    }

    #[test]
    fn makes_the_state_anew_while_the_input_has_all_of_it() {
        let topic = || "e.in".to_owned();
        let gone = [Kept::default(), Kept::default()];
        check(Committed::At(10), gone.clone(), (0, 20), Verdict::Rebuild(10));
        let stores = "e.objects and e.state".to_owned();
        check(Committed::At(10), gone.clone(), (1, 20), Verdict::Lost(Damage::State { stores, topic: topic() }));
        check(Committed::At(10), gone, (0, 4), Verdict::Lost(Damage::InputCut { topic: topic(), offset: 10, end: 4 }));
        // One of two was emptied, also while it was written.
        for emptied in ["", "before"] {
            let stores = || [kept(emptied, None), kept("me", Some(mark(Standing::Whole)))];
            check(Committed::At(10), stores(), (0, 20), Verdict::Rebuild(10));
            let objects = Damage::State { stores: "e.objects".to_owned(), topic: topic() };
            check(Committed::At(10), stores(), (1, 20), Verdict::Lost(objects));
        }
        let under_way = [kept("", None), kept("", Some(mark(Standing::Rebuilding)))];
        check(Committed::At(10), under_way, (3, 20), Verdict::Rebuild(10));
    }

    #[test]
    fn does_not_go_on_with_what_was_moved() {
        let moved = [kept("me", None), kept("me", Some(mark(Standing::Moved("f.".to_owned()))))];
        check(Committed::At(10), moved, (0, 20), Verdict::Moved("f.".to_owned()));
        check(
            Committed::Nothing,
            [kept("", None), kept("", Some(mark(Standing::Arriving)))],
            (0, 20),
            Verdict::Arriving,
        );
    }

    #[test]
    fn reads_what_it_wrote() {
        let mark = mark(Standing::Moved("f.".to_owned()));
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        assert_eq!(Mark::decode(b"\x07what"), None);
    }
}
