//! The whole pipeline on a durable log in a temporary directory: what `replay` and `demo` run.
//!
//! The services are the ones of an installation, driven by the same kernel. The log's last record is a heartbeat later
//! than everything else; a service that has taken it is told to stop, and the kernel commits what it has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use epicenter_bus::topics::{DEAD_LETTER, EVENTS_ENRICHED, EVENTS_RAW, INCIDENT_CHANGES, INCIDENTS};
use epicenter_bus::{
    Bus, Emit, Fault, LocalConfig, Processor, ProcessorSpec, Put, Record, Reject, Start, State, Step, Stop,
};
use epicenter_model::{
    Codec, CodecError, DeadLetter, EnrichedEvent, EnrichedRecord, Incident, IncidentChange, RecordType,
};

use crate::engine::Engine;
use crate::history::History;
use crate::replay::timeline::Timeline;

/// Bytes that are committed to the log at once.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// After that time without any progress the pipeline counts as stuck. A bug.
const STALLED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// What came of a timeline.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Incidents with all their members, the first that opened first.
    pub incidents: Vec<Incident>,
    /// The same, as the public table has them: with at most 50 members each.
    pub published: Vec<Incident>,
    /// Records that a service could not process.
    pub dead_letters: Vec<DeadLetter>,
    /// Records that went into the log, heartbeats included.
    pub records: u64,
    /// All changes of incidents, in their order, when they were asked for.
    pub changes: Vec<IncidentChange>,
    /// The Events with their meaning, when they were asked for.
    pub events: Vec<EnrichedEvent>,
}

/// What of an outcome is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heed {
    /// Incidents.
    Incidents,
    /// How they came about, too.
    Changes,
    /// The Events that they are made of, too.
    Events,
}

/// Why the pipeline did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// There is no room for the log.
    #[error("a temporary directory for the log: {0}. Set TMPDIR to a disk that has room")]
    Directory(#[from] std::io::Error),
    /// What the log says.
    #[error(transparent)]
    Bus(#[from] Fault),
    /// A record does not fit its schema. A bug.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A service does not go on. A bug.
    #[error("the {0} stands still: a bug, please report it with the file")]
    Stalled(String),
}

/// How far the services have come: records taken by (enricher, correlator).
#[derive(Debug, Default)]
pub struct Progress {
    written: AtomicU64,
    enriched: AtomicU64,
    correlated: AtomicU64,
}

impl Progress {
    /// Records in the log, taken by the enricher, and taken by the correlator.
    pub fn now(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.written), count(&self.enriched), count(&self.correlated))
    }
}

/// Runs a timeline through enricher, correlator and sink.
pub fn run(engine: &Engine, timeline: Timeline, progress: &Progress, heed: Heed) -> Result<Outcome, PipelineError> {
    let directory = tempfile::Builder::new().prefix("epicenter-").tempdir()?;
    let config = LocalConfig { directory: directory.path().to_owned(), partitions: 1, retention: Duration::MAX };
    let bus = Bus::local(config)?;
    let end = write(&bus, &engine.codec, timeline, progress)?;

    let last = |record: &Record| {
        let payload = record.payload.as_deref().unwrap_or_default();
        record.timestamp >= end && engine.codec.record_type(payload).is_ok_and(|of| of == RecordType::Heartbeat)
    };
    let (enriching, correlating) = (Stop::new(), Stop::new());
    std::thread::scope(|scope| {
        let stages = [
            scope.spawn(|| {
                let tap = || Tap { inner: engine.enricher(), last: &last, done: &enriching, seen: &progress.enriched };
                drive(&bus, &epicenter_enricher::spec(), tap, &enriching, &correlating)
            }),
            scope.spawn(|| {
                let inner = || engine.correlator();
                let tap = || Tap { inner: inner(), last: &last, done: &correlating, seen: &progress.correlated };
                drive(&bus, &epicenter_correlator::spec(), tap, &correlating, &enriching)
            }),
        ];
        let stalled = watch(progress, || stages.iter().all(std::thread::ScopedJoinHandle::is_finished));
        enriching.request();
        correlating.request();
        for stage in stages {
            stage.join().expect("a stage returns its faults")?;
        }
        stalled.map_err(PipelineError::Stalled)
    })?;

    let mut history = History::default();
    let mut changes = Vec::new();
    let mut newest = None;
    for record in all(&bus, INCIDENT_CHANGES.name)? {
        let change: IncidentChange = engine.codec.decode(record.payload.as_deref().unwrap_or_default())?;
        if heed == Heed::Changes {
            changes.push(change.clone());
        }
        history.take(change);
        newest = Some(record.offset);
    }
    if let Some(newest) = newest {
        let (done, seen) = (Stop::new(), AtomicU64::new(0));
        let last = |record: &Record| record.offset >= newest;
        let tap = || Tap { inner: engine.publisher(), last: &last, done: &done, seen: &seen };
        bus.run(&epicenter_sink::spec(), tap, &|_, _, _| {}, &done)?;
    }
    let mut published = Vec::new();
    for value in bus.table(INCIDENTS.name)?.values() {
        published.push(engine.codec.decode::<Incident>(value)?);
    }
    published.sort_by(|a, b| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
    let mut dead_letters = Vec::new();
    for record in all(&bus, DEAD_LETTER.name)? {
        dead_letters.push(engine.codec.decode(record.payload.as_deref().unwrap_or_default())?);
    }
    let mut events = Vec::new();
    if heed == Heed::Events {
        for record in all(&bus, EVENTS_ENRICHED.name)? {
            let payload = record.payload.as_deref().unwrap_or_default();
            if let EnrichedRecord::Event(event) = EnrichedRecord::decode(&engine.codec, payload)? {
                events.push(*event);
            }
        }
    }
    let records = progress.written.load(Ordering::Relaxed);
    Ok(Outcome { incidents: history.into_incidents(), published, dead_letters, records, changes, events })
}

/// Writes the timeline to events.raw; gives the timestamp of the last record, which no other has.
fn write(bus: &Bus, codec: &Codec, timeline: Timeline, progress: &Progress) -> Result<i64, PipelineError> {
    let (mut source, _) = bus.source("replay", 0, b"")?;
    let mut batch = Vec::new();
    let (mut size, mut end) = (0, i64::MIN);
    for record in timeline.records() {
        end = record.at().as_millis();
        let emit = Emit {
            topic: EVENTS_RAW.name,
            timestamp: end,
            key: record.key().into(),
            payload: Some(record.encode(codec)?.into()),
            headers: Vec::new(),
        };
        size += emit.size();
        batch.push(emit);
        progress.written.fetch_add(1, Ordering::Relaxed);
        if size >= BATCH_BYTES {
            source.commit(&batch, &[])?;
            batch.clear();
            size = 0;
        }
    }
    source.commit(&batch, &[])?;
    Ok(end)
}

/// Runs a stage; when it fails, the other has nothing to wait for.
fn drive<P: Processor>(
    bus: &Bus,
    spec: &ProcessorSpec,
    make: impl Fn() -> P + Send + Sync,
    stop: &Stop,
    other: &Stop,
) -> Result<(), Fault> {
    let outcome = bus.run(spec, make, &|_, _, _| {}, stop);
    if outcome.is_err() {
        other.request();
    }
    outcome
}

/// Waits until all stages have ended; an error names the one that does not go on.
fn watch(progress: &Progress, ended: impl Fn() -> bool) -> Result<(), String> {
    let clock = Stop::new();
    let mut before = (progress.now(), Duration::ZERO);
    while !ended() {
        clock.wait(LOOK);
        let now = progress.now();
        before = if now == before.0 { (now, before.1 + LOOK) } else { (now, Duration::ZERO) };
        if before.1 >= STALLED {
            return Err(if now.1 < now.0 { "enricher" } else { "correlator" }.to_owned());
        }
    }
    Ok(())
}

fn all(bus: &Bus, topic: &'static str) -> Result<Vec<Record>, Fault> {
    let mut reader = bus.reader(topic, &[0], Start::Earliest)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next(Duration::ZERO)? {
        records.push(record);
    }
    Ok(records)
}

/// A processor that is told to stop when it has taken the last record.
struct Tap<'t, P, L> {
    inner: P,
    last: &'t L,
    done: &'t Stop,
    seen: &'t AtomicU64,
}

impl<P: Processor, L: Fn(&Record) -> bool + Sync> Processor for Tap<'_, P, L> {
    fn restore(&mut self, state: &State) -> Result<(), Reject> {
        self.inner.restore(state)
    }

    fn process(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Reject> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        // The kernel commits what a processor has taken before it heeds the stop.
        if (self.last)(record) {
            self.done.request();
        }
        self.inner.process(record, step)
    }

    fn flush(&mut self, put: &mut Put<'_>) {
        self.inner.flush(put);
    }
}
