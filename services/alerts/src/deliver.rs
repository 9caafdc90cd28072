//! Drives a [`Desk`]: one receiver, one thread, one reader of `incident.changes`.
//!
//! What is told is written down before (with the position in the log, in one commit) and after. While the receiver is away
//! the thread waits with the notice and reads no further: the log is its queue. After a crash what was begun is told again,
//! the same with the same key.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use epicenter_bus::topics::{ALERTS_STATE, INCIDENT_CHANGES};
use epicenter_bus::{Bookmark, Bus, Emit, Fault, Reader, Record, Source, Start, Stop};
use epicenter_model::{Codec, DeadLetter, IncidentChange, Timestamp};
use epicenter_runtime::metric::{ALERTS, ALERTS_BEHIND, ALERTS_OPEN};
use epicenter_runtime::{Backoff, Health, Metrics, now};
use tokio::runtime::Handle;

use crate::alertmanager;
use crate::desk::Desk;
use crate::file::Alerts;
use crate::notice::{Kind, Notice};
use crate::post::{Outcome, Post};
use crate::receiver::{Receiver, Target, line};
use crate::state::{self, Position, Rows};

/// How long to wait for a record before looking at the clock.
const IDLE: Duration = Duration::from_millis(200);
/// A log that gives nothing for that long after it was opened has nothing more: a broker answers later than a directory.
const FIRST: Duration = Duration::from_secs(5);
/// Changes that are read between two commits, at most, when nothing is told.
const CHANGES: usize = 500;
/// A record that is newer than that is read as it is written, ms.
const LIVE: i64 = 10_000;
/// How often incidents that go on are told to a receiver that forgets.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Alerts in one request.
const TOGETHER: usize = 64;
/// Between two attempts, ms.
const RETRY_FIRST_MS: u64 = 500;
const RETRY_LONGEST_MS: u64 = 30_000;
/// A receiver may ask to wait for so long, and no longer.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Wait before opening the log again after a fault that passes.
const PAUSE: Duration = Duration::from_secs(1);

/// What the receivers of a process have in common.
#[derive(Clone)]
pub struct Context {
    /// The log.
    pub bus: Bus,
    /// Reads its records.
    pub codec: Codec,
    /// Who is told of what.
    pub alerts: Arc<Alerts>,
    /// Counts what is told.
    pub metrics: Metrics,
    /// Says who cannot be told.
    pub health: Health,
    /// Where requests are made.
    pub runtime: Handle,
}

/// Tells `receiver` of incidents until `stop`. Blocks: give it a thread. Only one process can do it for a receiver.
///
/// # Errors
/// What somebody must mend; [`Fault::Fenced`] when another process serves the receiver. What passes is tried again.
pub fn run(context: &Context, receiver: &Arc<Receiver>, stop: &Stop) -> Result<(), Fault> {
    let post = Post::new().map_err(|error| Fault::Fatal {
        what: "reading the certificates that are trusted".to_owned(),
        why: error.to_string(),
        mend: "Install ca-certificates, or set SSL_CERT_FILE".to_owned(),
    })?;
    while !stop.requested() {
        match serve(context, receiver, &post, stop) {
            Err(fault @ Fault::Retry { .. }) => {
                tracing::warn!(receiver = receiver.name, %fault, "going on from the last committed position");
                stop.wait(PAUSE);
            }
            outcome => return outcome,
        }
    }
    Ok(())
}

fn serve(context: &Context, receiver: &Arc<Receiver>, post: &Post, stop: &Stop) -> Result<(), Fault> {
    let Context { bus, alerts, .. } = context;
    let id = format!("alerts.{}", receiver.name);
    let (source, rows) = bus.source_in(ALERTS_STATE.name, &id, 0, &state::prefix(&receiver.name))?;
    let (position, threads) = state::read(&receiver.name, &rows);
    let mut desk = Desk::new(Arc::clone(&alerts.rules), &receiver.name, receiver.send_resolved, receiver.repeats());
    desk.restore(threads);
    let partitions: Vec<u32> = (0..bus.partitions()).collect();
    let reader = bus.reader(INCIDENT_CHANGES.name, &partitions, Start::At(id, position.clone()))?;
    let fresh = position.is_empty();
    let lost: Vec<_> = reader.lost().iter().map(|(partition, damage)| (*partition, damage.to_string())).collect();
    let mut delivery = Delivery {
        context,
        receiver,
        post,
        stop,
        source,
        reader,
        desk,
        position,
        moved: Position::new(),
        unsaved: 0,
        kept_alive: None,
        may_send: Instant::now(),
        part: format!("alerts/{}", receiver.name),
    };
    for (partition, why) in &lost {
        // Its offsets were of another log.
        delivery.reach(*partition, Bookmark::default());
        let missed = delivery.missed(*partition, why);
        delivery.save(&[missed])?;
    }
    context.health.well(&delivery.part);
    if fresh {
        delivery.learn()?;
    }
    delivery.run(if fresh || matches!(bus, Bus::Local(_)) { IDLE } else { FIRST })
}

struct Delivery<'c> {
    context: &'c Context,
    receiver: &'c Receiver,
    post: &'c Post,
    stop: &'c Stop,
    source: Source,
    reader: Reader,
    desk: Desk,
    position: Position,
    /// Positions that are not committed yet.
    moved: Position,
    /// Changes since the last commit.
    unsaved: usize,
    kept_alive: Option<Instant>,
    may_send: Instant,
    part: String,
}

impl Delivery<'_> {
    /// Reads what is in the log before the receiver is told of anything: not of what has been over for long, only of what is open then.
    fn learn(&mut self) -> Result<(), Fault> {
        let mut at_end = false;
        while !at_end && !self.stop.requested() {
            let mut records = Vec::new();
            at_end = self.reader.read_on(Instant::now() + PAUSE, &mut |record| {
                records.push(record);
                records.len() < CHANGES
            })?;
            for record in &records {
                if let Some(change) = self.decoded(record) {
                    self.desk.take(&change);
                }
                self.reach(record.partition, Bookmark::after(record));
            }
        }
        if self.stop.requested() {
            // It learns anew when it begins again.
            return Ok(());
        }
        if self.position.is_empty() {
            // An empty log is a position too.
            self.reach(0, Bookmark::default());
        }
        self.tell(None, now())?;
        self.save(&[])
    }

    /// Tells of what is in the log from here on. When nothing comes for as long as `first`, there is nothing yet.
    fn run(&mut self, first: Duration) -> Result<(), Fault> {
        let mut wait = first;
        let mut looked = Instant::now();
        while !self.stop.requested() {
            let Some(record) = self.reader.next(wait)? else {
                wait = IDLE;
                self.tell(None, now())?;
                self.save(&[])?;
                self.behind(None);
                continue;
            };
            let at = record.timestamp;
            self.take(&record)?;
            if self.unsaved >= CHANGES {
                self.save(&[])?;
            }
            if now().as_millis() - at < LIVE && looked.elapsed() > PAUSE {
                looked = Instant::now();
                self.tell(None, now())?;
            }
            self.behind(Some(at));
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> Result<(), Fault> {
        let Record { partition, offset, timestamp, .. } = *record;
        if self.position.get(&partition).is_some_and(|read| offset < read.next) {
            return Ok(());
        }
        let at = Timestamp::from_millis(timestamp);
        let Some(change) = self.decoded(record) else {
            self.reach(partition, Bookmark::after(record));
            return Ok(());
        };
        let cluster = change.incident.cluster.as_str();
        self.tell(Some(cluster), at)?;
        if self.stop.requested() {
            return Ok(());
        }
        self.desk.take(&change);
        self.reach(partition, Bookmark::after(record));
        self.tell(Some(cluster), at)
    }

    fn decoded(&self, record: &Record) -> Option<IncidentChange> {
        let decoded = self.context.codec.decode::<IncidentChange>(record.payload.as_deref().unwrap_or_default());
        let (receiver, Record { partition, offset, .. }) = (&self.receiver.name, record);
        decoded
            .inspect_err(|error| {
                tracing::error!(receiver, partition, offset, %error, "a change of an incident cannot be read");
            })
            .ok()
    }

    /// What comes next of `partition` is at `bookmark`; committed with what is saved next.
    fn reach(&mut self, partition: u32, bookmark: Bookmark) {
        self.position.insert(partition, bookmark);
        self.moved.insert(partition, bookmark);
        self.unsaved += 1;
    }

    /// Tells all that is due at `at`, in `cluster` or in all.
    fn tell(&mut self, cluster: Option<&str>, at: Timestamp) -> Result<(), Fault> {
        while !self.stop.requested()
            && let Some(notice) = self.desk.next(cluster, at)
        {
            // What is begun is known to whoever goes on after a crash.
            self.save(&[])?;
            let Some(outcome) = self.deliver(&notice) else { return Ok(()) };
            self.desk.done(&notice, now());
            let letters: Vec<Emit> = outcome.err().map(|why| self.letter(&notice, &why)).into_iter().collect();
            self.save(&letters)?;
        }
        if self.receiver.keeps_alive()
            && self.kept_alive.is_none_or(|at| at.elapsed() >= KEEP_ALIVE)
            && cluster.is_none()
        {
            self.keep_alive();
        }
        Ok(())
    }

    /// Tries until it is taken, or refused with the reason that is given. `None` when the stop comes first.
    fn deliver(&mut self, notice: &Notice) -> Option<Result<(), String>> {
        let labels = [self.receiver.name.as_str(), notice.kind.name()];
        let count = |outcome: &str| self.context.metrics.add(&ALERTS, &[labels[0], labels[1], outcome], 1.0);
        let mut backoff = Backoff::new(RETRY_FIRST_MS, RETRY_LONGEST_MS);
        loop {
            if self.stop.wait(self.may_send.saturating_duration_since(Instant::now())) {
                return None;
            }
            let now_sent = Instant::now();
            let outcome = match self.receiver.request(notice, now()) {
                Ok(Some(request)) => self.context.runtime.block_on(self.post.send(request)),
                Ok(None) => printed(&line(notice)),
                Err(why) => Outcome::Away { why, retry_after: None },
            };
            self.may_send = now_sent + Duration::from_secs(60) / self.receiver.per_minute;
            match outcome {
                Outcome::Taken => {
                    count("sent");
                    self.context.health.well(&self.part);
                    return Some(Ok(()));
                }
                Outcome::Refused(why) => {
                    count("refused");
                    let (receiver, key) = (&self.receiver.name, notice.key());
                    tracing::error!(receiver, key, why, "a notice is refused for good; it is in dead-letter");
                    return Some(Err(why));
                }
                Outcome::Away { why, retry_after } => {
                    count("failed");
                    self.context.health.unwell(&self.part, why);
                    self.behind(Some(notice.at.as_millis()));
                    if self.stop.wait(backoff.next(retry_after.map(|wait| wait.min(LONGEST_WAIT)))) {
                        return None;
                    }
                }
            }
        }
    }

    /// Tells what goes on, so that it is not taken for over. What fails is told the next time.
    fn keep_alive(&mut self) {
        self.kept_alive = Some(Instant::now());
        let Target::Alertmanager(endpoint) = &self.receiver.target else { return };
        let firing: Vec<Notice> = self.desk.firing().collect();
        let refs: Vec<&Notice> = firing.iter().collect();
        for together in refs.chunks(TOGETHER) {
            let outcome = match endpoint.request("/api/v2/alerts", alertmanager::body(together, now())) {
                Ok(request) => self.context.runtime.block_on(self.post.send(request)),
                Err(why) => Outcome::Away { why, retry_after: None },
            };
            let (said, count) = match outcome {
                Outcome::Taken => (None, "sent"),
                Outcome::Refused(why) => (Some(why), "refused"),
                Outcome::Away { why, .. } => (Some(why), "failed"),
            };
            let labels = [self.receiver.name.as_str(), Kind::Repeat.name(), count];
            self.context.metrics.add(&ALERTS, &labels, together.len() as f64);
            match said {
                None => self.context.health.well(&self.part),
                Some(why) => self.context.health.unwell(&self.part, why),
            }
        }
    }

    /// Commits what the desk knows, how far it has read, and `letters`: wholly or not at all.
    fn save(&mut self, letters: &[Emit]) -> Result<(), Fault> {
        let name = &self.receiver.name;
        let mut rows = Rows::default();
        for (key, thread) in self.desk.changes() {
            rows.thread(name, &key, thread);
        }
        for (partition, bookmark) in &self.moved {
            rows.position(name, *partition, bookmark);
        }
        let rows = rows.rows();
        if rows.is_empty() && letters.is_empty() {
            return Ok(());
        }
        let mut backoff = Backoff::new(RETRY_FIRST_MS, RETRY_LONGEST_MS);
        while let Err(fault) = self.source.change(letters, &rows) {
            match fault {
                Fault::Retry { .. } if !self.stop.wait(backoff.next(None)) => {}
                fault => return Err(explained(fault, name)),
            }
        }
        if !self.moved.is_empty() {
            self.moved.clear();
            self.unsaved = 0;
            // For tools that show lag. The position that counts is in the rows.
            if let Err(fault) = self.reader.commit() {
                tracing::debug!(receiver = name, %fault, "the reader's own position is not committed");
            }
        }
        self.context.metrics.set(&ALERTS_OPEN, &[name], self.desk.len() as f64);
        Ok(())
    }

    fn behind(&self, at: Option<i64>) {
        let seconds = at.map_or(0.0, |at| (now().as_millis() - at).max(0) as f64 / 1000.0);
        self.context.metrics.set(&ALERTS_BEHIND, &[&self.receiver.name], seconds);
    }

    fn letter(&self, notice: &Notice, why: &str) -> Emit {
        let letter = DeadLetter { payload: self.receiver.text(notice).into_bytes(), at: notice.at, ..self.told(why) };
        Emit::dead_letter(&self.context.codec, notice.key(), &letter)
    }

    /// Says that the receiver cannot be told of what a partition had.
    fn missed(&self, partition: u32, why: &str) -> Emit {
        let why = format!("{why}; the receiver was not told of it: `epicenter incidents` shows what is open");
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let letter = DeadLetter { partition, at: now(), ..self.told(&why) };
        Emit::dead_letter(&self.context.codec, self.receiver.name.clone(), &letter)
    }

    fn told(&self, why: &str) -> DeadLetter {
        DeadLetter {
            topic: INCIDENT_CHANGES.name.to_owned(),
            error: why.to_owned(),
            service: format!("alerts.{}", self.receiver.name),
            ..DeadLetter::default()
        }
    }
}

fn explained(fault: Fault, receiver: &str) -> Fault {
    match fault {
        Fault::Fenced { why, .. } => {
            let what = format!("telling {receiver}; only one process can do that, run `epicenter alerts run` once");
            Fault::Fenced { what, why }
        }
        other => other,
    }
}

fn printed(line: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Outcome::Taken,
        // Who reads has gone, such as `head`: nobody is told any more.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Outcome::Taken,
        Err(error) => Outcome::Away { why: format!("standard output: {error}"), retry_after: None },
    }
}
