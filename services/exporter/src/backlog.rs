//! Commits between the committer, which makes them, and the writer, which brings them into the log: one in memory, and, while
//! the log is away, more on disk.

use std::time::Duration;

use epicenter_model::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio_util::sync::CancellationToken;

use crate::committer::Commit;
use crate::spool::{Fill, Spool, SpoolError};

/// How often it is looked whether the disk has room again, or whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// The writer takes nothing more.
#[derive(Debug)]
pub(crate) struct Ended;

/// A commit that is to be written.
pub(crate) struct Next {
    pub(crate) commit: Commit,
    /// It is on disk.
    pub(crate) spooled: bool,
}

pub(crate) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Comes before `next`.
    spool: Option<Spool>,
    next: Option<Commit>,
    /// Log time of the newest commit that was put.
    newest: Timestamp,
    /// The writer waits.
    idle: bool,
    /// Nothing more is put.
    closed: bool,
    /// Nothing more is taken.
    ended: bool,
    /// Why the disk takes nothing more.
    problem: Option<String>,
}

impl State {
    fn is_spooling(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| !spool.is_empty())
    }

    /// Puts a commit on disk; says whether it is there.
    fn append(&mut self, commit: &Commit) -> bool {
        let Some(spool) = &mut self.spool else { return false };
        let outcome = spool.append(commit);
        self.problem = match &outcome {
            Ok(true) => None,
            Ok(false) => Some("the spool is full, and the cluster is not read".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        outcome.unwrap_or(false)
    }

    /// Puts what is in memory behind what is on disk.
    fn spill(&mut self) {
        if self.is_spooling()
            && let Some(next) = self.next.take()
            && !self.append(&next)
        {
            self.next = Some(next);
        }
    }
}

impl Backlog {
    /// With what an earlier process left on disk. `newest` is the log time of the newest commit, there or in the log.
    pub(crate) fn new(spool: Option<Spool>, newest: Timestamp) -> Self {
        let state = State { spool, next: None, newest, idle: false, closed: false, ended: false, problem: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// There is a spool, whether anything is in it or not.
    pub(crate) fn has_spool(&self) -> bool {
        self.state.lock().spool.is_some()
    }

    /// Commits go to disk: the log is away, or does not have all of them yet.
    pub(crate) fn is_spooling(&self) -> bool {
        self.state.lock().is_spooling()
    }

    /// How full the spool is, and why it takes nothing more.
    pub(crate) fn fill(&self) -> Option<(Fill, Option<String>)> {
        let state = self.state.lock();
        Some((state.spool.as_ref()?.fill(), state.problem.clone()))
    }

    /// Waits until a commit would be taken: by a writer that waits, or by the disk.
    pub(crate) fn ready(&self) -> Result<(), Ended> {
        let mut state = self.state.lock();
        loop {
            state.spill();
            if state.ended {
                return Err(Ended);
            }
            if state.next.is_none() && (state.idle || state.is_spooling()) {
                return Ok(());
            }
            self.changed.wait_for(&mut state, LOOK);
        }
    }

    /// Puts a commit behind the others, when it is [`Backlog::ready`].
    pub(crate) fn put(&self, commit: Commit) -> Result<(), Ended> {
        self.ready()?;
        let mut state = self.state.lock();
        state.newest = commit.at;
        state.next = Some(commit);
        state.spill();
        self.changed.notify_all();
        Ok(())
    }

    /// The oldest commit; `None` when there will be none, or when it is to stop and the rest is on disk. One on disk stays
    /// there until [`Backlog::done`].
    pub(crate) fn first(&self, stop: &CancellationToken) -> Result<Option<Next>, SpoolError> {
        let mut state = self.state.lock();
        loop {
            if state.is_spooling() && !stop.is_cancelled() {
                let first = state.spool.as_ref().map(Spool::first).transpose()?.flatten();
                return Ok(first.map(|commit| Next { commit, spooled: true }));
            }
            if state.is_spooling() && state.closed {
                state.spill();
                return Ok(None);
            }
            if !state.is_spooling()
                && let Some(commit) = state.next.take()
            {
                return Ok(Some(Next { commit, spooled: false }));
            }
            if state.closed {
                return Ok(None);
            }
            state.idle = true;
            self.changed.notify_all();
            self.changed.wait_for(&mut state, LOOK);
            state.idle = false;
        }
    }

    /// Puts a commit on disk that the log does not take, in front of what comes. Says whether it is there.
    pub(crate) fn spool(&self, commit: &Commit) -> bool {
        let mut state = self.state.lock();
        let there = state.append(commit);
        self.changed.notify_all();
        there
    }

    /// The log has the oldest commit, which was on disk.
    pub(crate) fn done(&self) -> Result<(), SpoolError> {
        let mut state = self.state.lock();
        let removed = state.spool.as_mut().map_or(Ok(()), Spool::remove_first);
        self.changed.notify_all();
        removed
    }

    /// The newest commit of the log is that of `committed`: what it has already is removed, and when the rest does not follow from
    /// it, all of it.
    pub(crate) fn settle(&self, committed: Timestamp) -> Result<(), SpoolError> {
        let mut state = self.state.lock();
        let State { spool: Some(spool), next, newest, .. } = &mut *state else { return Ok(()) };
        let follows = spool.settle(committed)?
            && (!spool.is_empty() || next.as_ref().map_or(*newest, |next| next.after) == committed);
        self.changed.notify_all();
        if follows { Ok(()) } else { Err(SpoolError::Astray { commits: spool.clear()? + usize::from(next.is_some()) }) }
    }

    /// Nothing more is put.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Nothing more is taken.
    pub(crate) fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::health::Committed;
    use crate::spool::SpoolConfig;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn commit(number: i64) -> Commit {
        let (after, at) = (at(number - 1), at(number));
        Commit { records: vec![], changed: vec![], all: vec![], after, at, done: Committed::default() }
    }

    fn spool(directory: &tempfile::TempDir, max_bytes: u64) -> Spool {
        let directory = directory.path().to_str().unwrap().to_owned();
        Spool::open(&SpoolConfig { directory, max_bytes }, "c", "uid").unwrap().0
    }

    /// Puts commits 1 to `last`, and closes.
    fn put(backlog: &Arc<Backlog>, last: i64) -> std::thread::JoinHandle<Result<(), Ended>> {
        let backlog = Arc::clone(backlog);
        std::thread::spawn(move || {
            let outcome = (1..=last).try_for_each(|number| backlog.put(commit(number)));
            backlog.close();
            outcome
        })
    }

    #[test]
    fn keeps_the_order_whatever_goes_to_disk() {
        let directory = tempfile::tempdir().unwrap();
        // Full after four.
        let backlog = Arc::new(Backlog::new(Some(spool(&directory, 4 * 4096)), at(0)));
        let stop = CancellationToken::new();
        let putting = put(&backlog, 40);
        let mut found = Vec::new();
        while let Some(Next { commit, mut spooled }) = backlog.first(&stop).unwrap() {
            // Every seventh is refused at first.
            if commit.at.as_micros() % 7 == 0 && !spooled {
                spooled = backlog.spool(&commit);
                assert!(spooled);
                continue;
            }
            found.push(commit.at.as_micros());
            if spooled {
                backlog.done().unwrap();
            }
        }
        putting.join().unwrap().unwrap();
        assert_eq!(found, (1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn leaves_on_disk_what_is_there_when_it_is_to_stop() {
        let directory = tempfile::tempdir().unwrap();
        let backlog = Arc::new(Backlog::new(Some(spool(&directory, 1 << 20)), at(0)));
        let stop = CancellationToken::new();
        let putting = put(&backlog, 9);
        let first = backlog.first(&stop).unwrap().unwrap();
        assert!(backlog.spool(&first.commit));
        stop.cancel();
        assert!(backlog.first(&stop).unwrap().is_none());
        putting.join().unwrap().unwrap();
        drop(backlog);
        let mut left = spool(&directory, 1 << 20);
        assert!(left.settle(at(8)).unwrap() && !left.is_empty(), "the ninth is the last one, and follows");
    }

    #[test]
    fn gives_up_what_does_not_follow_from_the_log() {
        for (committed, astray) in [(0, false), (3, false), (4, true)] {
            let directory = tempfile::tempdir().unwrap();
            let backlog = Arc::new(Backlog::new(Some(spool(&directory, 1 << 20)), at(0)));
            (1..=3).for_each(|number| assert!(backlog.spool(&commit(number))));
            backlog.state.lock().newest = at(3);
            let outcome = backlog.settle(at(committed));
            assert_eq!(matches!(outcome, Err(SpoolError::Astray { .. })), astray, "{committed}");
            assert_eq!(backlog.is_spooling(), committed == 0);
        }
    }

    #[test]
    fn lets_go_of_who_puts_when_nobody_takes() {
        let backlog = Arc::new(Backlog::new(None, at(0)));
        let putting = put(&backlog, 2);
        backlog.end();
        assert!(putting.join().unwrap().is_err());
    }
}
