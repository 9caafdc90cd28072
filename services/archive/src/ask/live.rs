//! The rows that the log has beyond a table: read when somebody asks, kept until the table has them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use deltalake::arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use deltalake::arrow::compute::{cast, concat_batches, filter_record_batch};
use deltalake::arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use deltalake::arrow::error::ArrowError;
use epicenter_bus::{Bookmark, Bus, Damage, Fault, Reader, Start};
use epicenter_model::{Codec, CodecError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use crate::Entry;
use crate::batch::Batch;
use crate::position::Positions;
use crate::run::READER;

/// How long a question waits for the log.
const PATIENCE: Duration = Duration::from_secs(3);
/// Brokers that did not answer are asked again after that time.
const AGAIN: Duration = Duration::from_secs(10);
/// Records that are turned into rows at a time.
const CHUNK: usize = 2048;
/// Pieces, above which they are put together.
const PIECES: usize = 32;
/// Records between what was read and what the table has, above which it is read from there anew.
const FAR: i64 = 50_000;

/// Why answers lack the newest records of the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blind {
    #[error("{0}")]
    Log(#[from] Fault),
    #[error("{0}")]
    Schema(#[from] CodecError),
    #[error("{0}")]
    Arrow(#[from] ArrowError),
    #[error("{0}")]
    Lost(Damage),
    #[error("the brokers do not answer; /readyz says why")]
    Away,
    #[error("the log was not read to its end within {} s", PATIENCE.as_secs())]
    Slow,
    #[error(
        "more of it is not archived yet than {} MiB: the archive is behind, or does not run",
        .0 >> 20
    )]
    TooMuch(usize),
}

/// What reads the topic.
enum Following {
    Nothing,
    /// That may take longer than a question has.
    Opening(JoinHandle<Result<Reader, Blind>>),
    Reader(Box<Reader>),
}

/// Follows the topic of `T`.
pub(super) struct Live<T: Entry> {
    bus: Bus,
    codec: Codec,
    /// Bytes of rows that it keeps.
    limit: usize,
    /// The columns as they are made of records, and as files have them.
    made: SchemaRef,
    schema: SchemaRef,
    reader: Following,
    /// When the brokers were last found to be away.
    away: Option<Instant>,
    /// The offset behind each partition's last record that is in the rows, or before them.
    read: BTreeMap<u32, i64>,
    /// What the table had when rows were last dropped.
    dropped: Positions,
    rows: Vec<RecordBatch>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Entry> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("topic", &T::KIND.topic).field("read", &self.read).finish_non_exhaustive()
    }
}

impl<T: Entry> Live<T> {
    /// Rows have the columns `made`, with the types of `schema`; `limit` bytes of them are kept at most.
    pub(super) fn new(bus: Bus, codec: Codec, limit: usize, made: SchemaRef, schema: SchemaRef) -> Self {
        let (away, read, dropped, rows) = Default::default();
        let reader = Following::Nothing;
        Self { bus, codec, limit, made, schema, reader, away, read, dropped, rows, kind: PhantomData }
    }

    /// The rows beyond `positions`, which is where the table stands, to the end of the log as it is now: each once. What could not
    /// be read is told beside those that could. Blocks; to be called in a runtime.
    pub(super) fn look(&mut self, positions: &Positions) -> (Vec<RecordBatch>, Option<Blind>) {
        let blind = self.follow(positions).err();
        (self.rows.clone(), blind)
    }

    fn follow(&mut self, positions: &Positions) -> Result<(), Blind> {
        self.drop_up_to(positions)?;
        if self.away.is_some_and(|at| at.elapsed() < AGAIN) {
            return Err(Blind::Away);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut reader = match std::mem::replace(&mut self.reader, Following::Nothing) {
            Following::Reader(reader) => reader,
            Following::Opening(opening) => self.opened(opening, deadline)?,
            Following::Nothing => {
                let opening = self.open(positions);
                self.opened(opening, deadline)?
            }
        };
        let read = self.read_on(&mut reader, deadline)?;
        if self.rows.len() > PIECES {
            self.rows = vec![concat_batches(&self.schema, &self.rows)?];
        }
        self.reader = Following::Reader(reader);
        match read {
            None => Ok(()),
            Some(blind) => Err(blind),
        }
    }

    /// Reads on to the end, or says why not, though it can be read on later. After an error the log is to be opened again, behind the
    /// last record that is here.
    fn read_on(&mut self, reader: &mut Reader, deadline: Instant) -> Result<Option<Blind>, Blind> {
        let mut room = self.limit.saturating_sub(self.rows.iter().map(RecordBatch::get_array_memory_size).sum());
        while room > 0 {
            let (mut batch, mut fault, mut count) = (Batch::<T>::new(), None, 0);
            let at_end = reader.read_on(deadline, &mut |record| {
                let known = self.read.get(&record.partition).is_some_and(|next| record.offset < *next);
                if !known {
                    match batch.take(&self.codec, &record) {
                        Ok(_) => count += 1,
                        Err(error) => fault = Some(error),
                    }
                }
                count < CHUNK && fault.is_none()
            })?;
            let made = batch.drain(&self.made)?;
            let made = made.iter().map(|(_, rows)| self.viewed(rows)).collect::<Result<Vec<_>, _>>()?;
            self.read.extend(batch.positions().iter().map(|(partition, bookmark)| (*partition, bookmark.next)));
            for rows in made {
                room = room.saturating_sub(rows.get_array_memory_size());
                self.rows.push(rows);
            }
            if let Some(error) = fault {
                return Err(error.into());
            }
            let in_time = Instant::now() < deadline;
            if at_end || !in_time {
                // An end that is known may have moved since the brokers are away.
                self.away = self.bus.trouble().map(|_| Instant::now());
                let away = self.away.map(|_| Blind::Away);
                return Ok(away.or((!at_end).then_some(Blind::Slow)));
            }
        }
        Ok(Some(Blind::TooMuch(self.limit)))
    }

    fn opened(
        &mut self,
        mut opening: JoinHandle<Result<Reader, Blind>>,
        deadline: Instant,
    ) -> Result<Box<Reader>, Blind> {
        let opened = Handle::current().block_on(timeout_at(deadline.into(), &mut opening));
        match opened {
            Ok(Ok(reader)) => Ok(Box::new(reader?)),
            Ok(Err(_)) => Err(Blind::Slow),
            Err(_) => {
                self.reader = Following::Opening(opening);
                Err(Blind::Slow)
            }
        }
    }

    fn open(&self, positions: &Positions) -> JoinHandle<Result<Reader, Blind>> {
        let partitions: Vec<u32> = (0..self.bus.partitions()).collect();
        let mut start = BTreeMap::new();
        for (partition, next) in &self.read {
            // The table tells another log from the one that it was made of.
            let archived = positions.get(partition).filter(|bookmark| bookmark.next == *next);
            start.insert(*partition, archived.copied().unwrap_or(Bookmark::at(*next)));
        }
        let bus = self.bus.clone();
        tokio::task::spawn_blocking(move || {
            let reader = bus.reader(T::KIND.topic, &partitions, Start::At(READER.to_owned(), start))?;
            // What was deleted unread is not there to be shown; of another log it is not known what the table has.
            match reader.lost().values().find(|damage| !matches!(damage, Damage::InputExpired { .. })) {
                Some(damage) => Err(Blind::Lost(damage.clone())),
                None => Ok(reader),
            }
        })
    }

    /// The table has what is up to `positions`.
    fn drop_up_to(&mut self, positions: &Positions) -> Result<(), Blind> {
        if *positions == self.dropped {
            return Ok(());
        }
        if self
            .dropped
            .iter()
            .any(|(partition, before)| positions.get(partition).is_none_or(|now| now.next < before.next))
        {
            // The log lost its end, and offsets are given out again.
            (self.reader, self.read, self.rows) = (Following::Nothing, BTreeMap::new(), Vec::new());
        }
        for (partition, bookmark) in positions {
            let read = self.read.entry(*partition).or_insert(0);
            if bookmark.next - *read > FAR {
                self.reader = Following::Nothing;
            }
            *read = (*read).max(bookmark.next);
        }
        let mut left = Vec::with_capacity(self.rows.len());
        for rows in &self.rows {
            let (Some(partition), Some(offset)) = (rows.column_by_name("partition"), rows.column_by_name("offset"))
            else {
                continue;
            };
            let places = partition.as_primitive::<Int32Type>().values().iter();
            let places = places.zip(offset.as_primitive::<Int64Type>().values());
            let beyond: BooleanArray = places
                .map(|(partition, offset)| {
                    let position = u32::try_from(*partition).ok().and_then(|partition| positions.get(&partition));
                    Some(position.is_none_or(|bookmark| *offset >= bookmark.next))
                })
                .collect();
            match beyond.true_count() {
                0 => {}
                all if all == rows.num_rows() => left.push(rows.clone()),
                _ => left.push(filter_record_batch(rows, &beyond)?),
            }
        }
        (self.rows, self.dropped) = (left, positions.clone());
        Ok(())
    }

    /// As the files have them.
    fn viewed(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.schema.fields().iter().zip(rows.columns());
        let columns = columns.map(|(field, column)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)
    }
}
