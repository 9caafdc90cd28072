//! Records on their way into a table, in memory: bounded, column by column, apart by day and cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deltalake::arrow::array::{
    Array as _, ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Array, Int32Builder, Int64Builder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondBuilder,
};
use deltalake::arrow::datatypes::SchemaRef;
use deltalake::arrow::error::ArrowError;
use epicenter_bus::{Bookmark, Record};
use epicenter_model::{Codec, CodecError, Timestamp};
use epicenter_runtime::BatchSection;

use crate::column::{Column, Get};
use crate::entry::Entry;
use crate::position::Positions;

/// The cluster of a record that does not tell its own.
const UNKNOWN: &str = "unknown";
/// Bytes that a row's own columns take, about.
const ROW: usize = 512;
const MICROS_A_DAY: i64 = 86_400_000_000;
/// Days of clusters that are written together at most: each is a file.
const FOLDERS: usize = 4096;
/// Rows that lie in memory as one piece. The allocator has room for columns of that size at hand again, when one is written.
const PIECE: usize = 256;

/// Where rows lie in a table: the day since the epoch, and the cluster.
pub(crate) type Folder = (i32, String);

/// Records that are written together. Those of a folder come in order of log time, as the log has them.
pub(crate) struct Batch<T: Entry> {
    /// Those that are being filled, by cluster and day.
    pieces: BTreeMap<String, BTreeMap<i32, Piece<T>>>,
    /// How many these are.
    folders: usize,
    /// Those that are full.
    full: Vec<(Folder, Vec<ArrayRef>)>,
    /// The last record that was read of each partition: also when it has no row.
    last: BTreeMap<u32, Last>,
    kept: u64,
    undecodable: u64,
    bytes: usize,
    began: Instant,
    /// Log time of its first row.
    oldest: Option<Timestamp>,
    /// No row is dated after that.
    latest: Timestamp,
    /// Room for a record as JSON.
    json: Vec<u8>,
}

/// Of a record, what tells it from others.
struct Last {
    offset: i64,
    timestamp: i64,
    payload: Option<Bytes>,
}

impl<T: Entry> Batch<T> {
    pub(crate) fn new() -> Self {
        Self {
            pieces: BTreeMap::new(),
            folders: 0,
            full: Vec::new(),
            last: BTreeMap::new(),
            kept: 0,
            undecodable: 0,
            bytes: 0,
            began: Instant::now(),
            oldest: None,
            latest: epicenter_runtime::now().plus_millis(MICROS_A_DAY / 1000),
            json: Vec::new(),
        }
    }

    /// Takes a record in; one that cannot be decoded goes in raw, with the reason, which is told.
    ///
    /// # Errors
    /// Only for what passes: the record is not taken in.
    pub(crate) fn take(&mut self, codec: &Codec, record: &Record) -> Result<Option<String>, CodecError> {
        let payload = record.payload.as_deref().unwrap_or_default();
        let place = (record.partition, record.offset);
        let mut wrong = None;
        match T::read(codec, payload) {
            Ok(None) => {}
            Ok(Some(entry)) => {
                let mut json = std::mem::take(&mut self.json);
                json.clear();
                // A record that Avro can write, JSON can, too; if not, the bytes stay.
                match serde_json::to_writer(&mut json, &entry).map(|()| std::str::from_utf8(&json)) {
                    Ok(Ok(json)) => {
                        self.bytes += json.len() + ROW;
                        let at = self.dated(entry.at());
                        self.row(at, entry.cluster(), |piece| piece.push(&entry, at, json, place));
                        self.kept += 1;
                    }
                    Ok(Err(error)) => wrong = Some(error.to_string()),
                    Err(error) => wrong = Some(error.to_string()),
                }
                self.json = json;
            }
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => wrong = Some(error.to_string()),
        }
        if let Some(error) = &wrong {
            self.keep_raw(record, payload, error);
        }
        let last = Last { offset: record.offset, timestamp: record.timestamp, payload: record.payload.clone() };
        self.last.insert(record.partition, last);
        Ok(wrong)
    }

    fn keep_raw(&mut self, record: &Record, payload: &[u8], error: &str) {
        // Keys begin with the cluster's name.
        let key = std::str::from_utf8(&record.key).unwrap_or_default();
        let cluster = key.split('/').next().filter(|cluster| !cluster.is_empty()).unwrap_or(UNKNOWN);
        let at = self.dated(Timestamp::from_millis(record.timestamp));
        self.bytes += payload.len() + ROW;
        self.row(at, cluster, |piece| piece.push_raw(at, payload, error, (record.partition, record.offset)));
        self.undecodable += 1;
    }

    /// Nothing is dated after tomorrow: else each wrong clock would have days of its own.
    fn dated(&self, at: Timestamp) -> Timestamp {
        at.min(self.latest)
    }

    fn row(&mut self, at: Timestamp, cluster: &str, push: impl FnOnce(&mut Piece<T>)) {
        if self.oldest.is_none() {
            self.oldest = Some(at);
            self.began = Instant::now();
        }
        let day = i32::try_from(at.as_micros().div_euclid(MICROS_A_DAY)).unwrap_or_default();
        // An empty partition value is no value in Delta.
        let cluster = if cluster.is_empty() { UNKNOWN } else { cluster };
        let days = match self.pieces.get_mut(cluster) {
            Some(days) => days,
            None => self.pieces.entry(cluster.to_owned()).or_default(),
        };
        let piece = days.entry(day).or_insert_with(|| {
            self.folders += 1;
            Piece::new()
        });
        push(piece);
        if piece.rows() >= PIECE {
            let next = piece.like();
            let full = std::mem::replace(piece, next);
            self.full.push(((day, cluster.to_owned()), full.finish()));
        }
    }

    /// There is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Pieces are full.
    pub(crate) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// It is as large as it may be.
    pub(crate) fn is_full(&self, limits: &BatchSection) -> bool {
        let rows = usize::try_from(self.kept + self.undecodable).unwrap_or(usize::MAX);
        rows >= limits.rows || self.bytes >= limits.bytes || self.folders >= FOLDERS
    }

    /// It is time to write it.
    pub(crate) fn is_due(&self, limits: &BatchSection) -> bool {
        !self.is_empty() && (self.is_full(limits) || self.began.elapsed() >= Duration::from_secs(limits.seconds))
    }

    /// Nothing was read.
    pub(crate) fn is_unmoved(&self) -> bool {
        self.last.is_empty()
    }

    /// How far the log is read, by partition.
    pub(crate) fn positions(&self) -> Positions {
        let bookmark = |(partition, Last { offset, timestamp, payload }): (&u32, &Last)| {
            let (offset, timestamp) = (*offset, *timestamp);
            (*partition, Bookmark::after(&Record { offset, timestamp, payload: payload.clone(), ..Record::default() }))
        };
        self.last.iter().map(bookmark).collect()
    }

    /// Rows that are decoded, and those that are not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.kept, self.undecodable)
    }

    /// Log time of its first row.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.oldest
    }

    /// Its full pieces, by folder and in order; it has them no more.
    pub(crate) fn full(&mut self, schema: &SchemaRef) -> Result<Vec<(Folder, RecordBatch)>, ArrowError> {
        self.full.drain(..).map(|(folder, columns)| whole(folder, columns, schema)).collect()
    }

    /// All its rows, by folder and in order; it has none any more.
    pub(crate) fn drain(&mut self, schema: &SchemaRef) -> Result<Vec<(Folder, RecordBatch)>, ArrowError> {
        let mut rows = self.full(schema)?;
        for (cluster, days) in std::mem::take(&mut self.pieces) {
            for (day, piece) in days {
                if piece.rows() > 0 {
                    rows.push(whole((day, cluster.clone()), piece.finish(), schema)?);
                }
            }
        }
        self.folders = 0;
        Ok(rows)
    }
}

/// The rows of `columns`, with the columns of their folder.
fn whole(folder: Folder, columns: Vec<ArrayRef>, schema: &SchemaRef) -> Result<(Folder, RecordBatch), ArrowError> {
    let rows = columns.first().map_or(0, |column| column.len());
    let date: ArrayRef = Arc::new(Date32Array::from_value(folder.0, rows));
    let cluster: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&folder.1, rows)));
    let rows = RecordBatch::try_new(Arc::clone(schema), [vec![date, cluster], columns].concat())?;
    Ok((folder, rows))
}

/// The columns without those of the folders, of some rows.
struct Piece<T: Entry> {
    time: TimestampMicrosecondBuilder,
    own: Vec<Builder<T>>,
    record: StringBuilder,
    error: StringBuilder,
    raw: BinaryBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
}

/// A column that is being filled, and from what.
enum Builder<T: 'static> {
    Time(fn(&T) -> Option<Timestamp>, TimestampMicrosecondBuilder),
    Text(for<'r> fn(&'r T) -> Cow<'r, str>, StringBuilder),
    Number(fn(&T) -> i64, Int64Builder),
    Flag(fn(&T) -> bool, BooleanBuilder),
}

impl<T> Builder<T> {
    fn new(column: &Column<T>) -> Self {
        match column.get {
            Get::Time(get) => Self::Time(get, time(0)),
            Get::Text(get) => Self::Text(get, StringBuilder::with_capacity(0, 0)),
            Get::Number(get) => Self::Number(get, Int64Builder::with_capacity(0)),
            Get::Flag(get) => Self::Flag(get, BooleanBuilder::with_capacity(0)),
        }
    }

    /// An empty one, with room for as much.
    fn like(&self) -> Self {
        match self {
            Self::Time(get, column) => Self::Time(*get, time(column.len())),
            Self::Text(get, column) => Self::Text(*get, text(column)),
            Self::Number(get, column) => Self::Number(*get, Int64Builder::with_capacity(column.len())),
            Self::Flag(get, column) => Self::Flag(*get, BooleanBuilder::with_capacity(column.len())),
        }
    }

    fn push(&mut self, entry: Option<&T>) {
        match self {
            Self::Time(get, column) => column.append_option(entry.and_then(*get).map(Timestamp::as_micros)),
            Self::Text(get, column) => match entry.map(|e| get(e)) {
                Some(text) if !text.is_empty() => column.append_value(text),
                _ => column.append_null(),
            },
            Self::Number(get, column) => column.append_option(entry.map(*get)),
            Self::Flag(get, column) => column.append_option(entry.map(*get)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Time(_, column) => ArrayBuilder::finish(column),
            Self::Text(_, column) => ArrayBuilder::finish(column),
            Self::Number(_, column) => ArrayBuilder::finish(column),
            Self::Flag(_, column) => ArrayBuilder::finish(column),
        }
    }
}

fn time(rows: usize) -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC")
}

fn text(like: &StringBuilder) -> StringBuilder {
    let bytes = like.values_slice().len();
    StringBuilder::with_capacity(like.len(), bytes + bytes / 8)
}

impl<T: Entry> Piece<T> {
    /// An empty one without any room: there are as many as clusters, and most have a few rows.
    fn new() -> Self {
        Self {
            time: time(0),
            own: T::COLUMNS.iter().map(Builder::new).collect(),
            record: StringBuilder::with_capacity(0, 0),
            error: StringBuilder::with_capacity(0, 0),
            raw: BinaryBuilder::with_capacity(0, 0),
            partition: Int32Builder::with_capacity(0),
            offset: Int64Builder::with_capacity(0),
        }
    }

    /// An empty one, with room for as much: the next is often as large, and what grows is copied.
    fn like(&self) -> Self {
        let rows = self.rows();
        Self {
            time: time(rows),
            own: self.own.iter().map(Builder::like).collect(),
            record: text(&self.record),
            error: text(&self.error),
            raw: BinaryBuilder::with_capacity(rows, self.raw.values_slice().len()),
            partition: Int32Builder::with_capacity(rows),
            offset: Int64Builder::with_capacity(rows),
        }
    }

    fn rows(&self) -> usize {
        self.offset.len()
    }

    fn push(&mut self, entry: &T, at: Timestamp, json: &str, place: (u32, i64)) {
        self.row(at, Some(entry), place);
        self.record.append_value(json);
        self.error.append_null();
        self.raw.append_null();
    }

    fn push_raw(&mut self, at: Timestamp, payload: &[u8], error: &str, place: (u32, i64)) {
        self.row(at, None, place);
        self.record.append_null();
        self.error.append_value(error);
        self.raw.append_value(payload);
    }

    fn row(&mut self, at: Timestamp, entry: Option<&T>, (partition, offset): (u32, i64)) {
        self.time.append_value(at.as_micros());
        self.own.iter_mut().for_each(|column| column.push(entry));
        self.partition.append_value(i32::try_from(partition).unwrap_or(i32::MAX));
        self.offset.append_value(offset);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let mut columns = vec![ArrayBuilder::finish(&mut self.time)];
        columns.extend(self.own.iter_mut().map(Builder::finish));
        columns.extend([
            ArrayBuilder::finish(&mut self.record),
            ArrayBuilder::finish(&mut self.error),
            ArrayBuilder::finish(&mut self.raw),
            ArrayBuilder::finish(&mut self.partition),
            ArrayBuilder::finish(&mut self.offset),
        ]);
        columns
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use deltalake::arrow::array::AsArray as _;
    use deltalake::arrow::datatypes::Int64Type;
    use epicenter_model::{EnrichedEvent, EnrichedRecord};

    use super::*;

    fn record(offset: i64, at: Timestamp) -> Record {
        let event = EnrichedEvent { cluster: "a".to_owned(), at, ..EnrichedEvent::default() };
        let payload = EnrichedRecord::Event(Box::new(event)).encode(&Codec::single_object()).unwrap();
        Record { offset, payload: Some(payload.into()), ..Record::default() }
    }

    #[test]
    fn rows_of_a_day_come_in_pieces_and_in_order() {
        let (codec, schema) = (Codec::single_object(), crate::entry::schema::<EnrichedEvent>().unwrap());
        let mut batch = Batch::<EnrichedEvent>::new();
        let take = |batch: &mut Batch<_>, offsets: Range<usize>| {
            for offset in offsets {
                let offset = i64::try_from(offset).unwrap();
                assert_eq!(batch.take(&codec, &record(offset, Timestamp::from_micros(offset))).unwrap(), None);
            }
        };
        let offsets = |(folder, rows): &(Folder, RecordBatch)| {
            assert_eq!(*folder, (0, "a".to_owned()));
            rows["offset"]
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .map(|offset| *offset as usize)
                .collect::<Vec<_>>()
        };
        take(&mut batch, 0..PIECE - 1);
        assert_eq!(batch.full(&schema).unwrap(), []);
        take(&mut batch, PIECE - 1..2 * PIECE);
        let full = batch.full(&schema).unwrap();
        assert_eq!(
            full.iter().map(offsets).collect::<Vec<_>>(),
            [Vec::from_iter(0..PIECE), Vec::from_iter(PIECE..2 * PIECE)]
        );
        assert!(!batch.is_empty() && batch.drain(&schema).unwrap().is_empty());
        take(&mut batch, 2 * PIECE..3 * PIECE + 1);
        let rest = batch.drain(&schema).unwrap();
        assert_eq!(
            rest.iter().map(offsets).collect::<Vec<_>>(),
            [Vec::from_iter(2 * PIECE..3 * PIECE), vec![3 * PIECE]]
        );
    }

    #[test]
    fn a_clock_that_runs_wild_makes_no_batch_of_files_without_end() {
        let codec = Codec::single_object();
        let limits = BatchSection { rows: usize::MAX, bytes: usize::MAX, seconds: u64::MAX };
        let mut batch = Batch::<EnrichedEvent>::new();
        for day in 0..i64::try_from(FOLDERS).unwrap() {
            assert!(!batch.is_due(&limits), "{day}");
            let record = record(day, Timestamp::from_micros(day * MICROS_A_DAY));
            assert_eq!(batch.take(&codec, &record).unwrap(), None);
        }
        assert!(batch.is_due(&limits));
    }
}
