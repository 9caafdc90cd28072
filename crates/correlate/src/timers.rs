//! When something is to be done about incidents though no Event comes.

use std::collections::BTreeSet;

use epicenter_model::Timestamp;
use rustc_hash::FxHashMap;

/// When something is to be done though no Event comes. Follows from the incidents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    pub due: BTreeSet<(Timestamp, u64)>,
    /// No later than it is true: each Event puts the end off, which is looked at when the time comes.
    quiet: BTreeSet<(i64, u64)>,
    pub forget: BTreeSet<(Timestamp, u64)>,
    set: FxHashMap<u64, Alarm>,
}

/// An incident's entries in [`Timers`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Alarm {
    pub due: Option<Timestamp>,
    pub quiet: Option<i64>,
    pub forget: Option<Timestamp>,
}

impl Timers {
    pub fn set(&mut self, no: u64, alarm: Alarm) {
        let old = self.set.get(&no).copied().unwrap_or_default();
        let alarm = Alarm { quiet: alarm.quiet.map(|new| old.quiet.map_or(new, |old| new.min(old))), ..alarm };
        if old == alarm {
            return;
        }
        self.set.insert(no, alarm);
        old.due.map(|at| self.due.remove(&(at, no)));
        old.quiet.map(|at| self.quiet.remove(&(at, no)));
        old.forget.map(|at| self.forget.remove(&(at, no)));
        alarm.due.map(|at| self.due.insert((at, no)));
        alarm.quiet.map(|at| self.quiet.insert((at, no)));
        alarm.forget.map(|at| self.forget.insert((at, no)));
    }

    /// How many incidents are open.
    pub fn open(&self) -> usize {
        self.quiet.len()
    }

    pub fn clear(&mut self, no: u64) {
        self.set(no, Alarm::default());
        self.set.remove(&no);
    }

    /// The incident whose quiet time ends first, if that is not after `until`; `end` is when it truly does.
    pub fn quietest(&mut self, until: i64, end: impl Fn(u64) -> Option<i64>) -> Option<u64> {
        loop {
            let (listed, no) = self.quiet.first().copied().filter(|(listed, _)| *listed <= until)?;
            match end(no).filter(|end| *end > listed) {
                None => return Some(no),
                Some(end) => {
                    self.quiet.remove(&(listed, no));
                    self.quiet.insert((end, no));
                    self.set.entry(no).or_default().quiet = Some(end);
                }
            }
        }
    }
}
