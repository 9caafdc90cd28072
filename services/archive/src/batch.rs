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
const PARTS: usize = 4096;
/// Rows that lie in memory as one piece.
const PIECE: usize = 1024;

/// Records that are written together.
pub(crate) struct Batch<T: Entry> {
    /// By day since the epoch, and cluster.
    parts: BTreeMap<(i32, String), Part<T>>,
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
            parts: BTreeMap::new(),
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
                        self.part(at, entry.cluster()).push(&entry, at, json, place);
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
        self.part(at, cluster).push_raw(at, payload, error, (record.partition, record.offset));
        self.undecodable += 1;
    }

    /// Nothing is dated after tomorrow: else each wrong clock would have days of its own.
    fn dated(&self, at: Timestamp) -> Timestamp {
        at.min(self.latest)
    }

    fn part(&mut self, at: Timestamp, cluster: &str) -> &mut Part<T> {
        if self.oldest.is_none() {
            self.oldest = Some(at);
            self.began = Instant::now();
        }
        let day = i32::try_from(at.as_micros().div_euclid(MICROS_A_DAY)).unwrap_or_default();
        // An empty partition value is no value in Delta.
        let cluster = if cluster.is_empty() { UNKNOWN } else { cluster };
        self.parts.entry((day, cluster.to_owned())).or_insert_with(Part::new)
    }

    /// There is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// It is time to write it.
    pub(crate) fn is_due(&self, limits: &BatchSection) -> bool {
        let rows = usize::try_from(self.kept + self.undecodable).unwrap_or(usize::MAX);
        let age = Duration::from_secs(limits.seconds);
        !self.is_empty()
            && (rows >= limits.rows
                || self.bytes >= limits.bytes
                || self.parts.len() >= PARTS
                || self.began.elapsed() >= age)
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

    /// Its rows by their partitions in the table, and in order of these, piece by piece; it has none any more.
    pub(crate) fn drain(
        &mut self,
        schema: &SchemaRef,
    ) -> impl Iterator<Item = Result<Vec<RecordBatch>, ArrowError>> + use<T> {
        let schema = Arc::clone(schema);
        std::mem::take(&mut self.parts)
            .into_iter()
            .map(move |((day, cluster), part)| part.finish(day, &cluster, &schema))
    }
}

/// The rows of one day of one cluster. They come in order of log time, as the log has them.
struct Part<T: Entry> {
    /// Columns without those of the folders, of [`PIECE`] rows each.
    pieces: Vec<Vec<ArrayRef>>,
    /// Those that are being filled.
    piece: Piece<T>,
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
            Get::Time(get) => Self::Time(get, time()),
            Get::Text(get) => Self::Text(get, StringBuilder::with_capacity(0, 0)),
            Get::Number(get) => Self::Number(get, Int64Builder::with_capacity(0)),
            Get::Flag(get) => Self::Flag(get, BooleanBuilder::with_capacity(0)),
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

// There are as many as clusters, and most have a few rows: none takes room before it needs it.
fn time() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(0).with_timezone("UTC")
}

impl<T: Entry> Part<T> {
    fn new() -> Self {
        Self { pieces: Vec::new(), piece: Piece::new(0) }
    }

    fn push(&mut self, entry: &T, at: Timestamp, json: &str, place: (u32, i64)) {
        let piece = self.row(at, Some(entry), place);
        piece.record.append_value(json);
        piece.error.append_null();
        piece.raw.append_null();
    }

    fn push_raw(&mut self, at: Timestamp, payload: &[u8], error: &str, place: (u32, i64)) {
        let piece = self.row(at, None, place);
        piece.record.append_null();
        piece.error.append_value(error);
        piece.raw.append_value(payload);
    }

    fn row(&mut self, at: Timestamp, entry: Option<&T>, place: (u32, i64)) -> &mut Piece<T> {
        if self.piece.offset.len() >= PIECE {
            // The next will be about as large: what grows is copied.
            let record = self.piece.record.values_slice().len();
            let next = Piece::new(record + record / 8);
            self.pieces.push(std::mem::replace(&mut self.piece, next).finish());
        }
        self.piece.row(at, entry, place);
        &mut self.piece
    }

    fn finish(mut self, day: i32, cluster: &str, schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
        self.pieces.push(self.piece.finish());
        let whole = |piece: Vec<ArrayRef>| {
            let rows = piece.first().map_or(0, |column| column.len());
            let date: ArrayRef = Arc::new(Date32Array::from_value(day, rows));
            let cluster: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(cluster, rows)));
            RecordBatch::try_new(Arc::clone(schema), [vec![date, cluster], piece].concat())
        };
        self.pieces.into_iter().map(whole).collect()
    }
}

impl<T: Entry> Piece<T> {
    /// With room for so many bytes of whole records.
    fn new(record: usize) -> Self {
        Self {
            time: time(),
            own: T::COLUMNS.iter().map(Builder::new).collect(),
            record: StringBuilder::with_capacity(0, record),
            error: StringBuilder::with_capacity(0, 0),
            raw: BinaryBuilder::with_capacity(0, 0),
            partition: Int32Builder::with_capacity(0),
            offset: Int64Builder::with_capacity(0),
        }
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
        let mut batch = Batch::<EnrichedEvent>::new();
        let rows = 2 * PIECE + 1;
        for offset in 0..i64::try_from(rows).unwrap() {
            let record = record(offset, Timestamp::from_micros(offset));
            assert_eq!(batch.take(&Codec::single_object(), &record).unwrap(), None);
        }
        let parts: Vec<_> = batch.drain(&crate::entry::schema::<EnrichedEvent>().unwrap()).collect();
        let [Ok(pieces)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [PIECE, PIECE, 1]);
        let offsets = pieces.iter().flat_map(|rows| rows["offset"].as_primitive::<Int64Type>().values().to_vec());
        assert!(offsets.eq(0..i64::try_from(rows).unwrap()));
    }

    #[test]
    fn a_clock_that_runs_wild_makes_no_batch_of_files_without_end() {
        let codec = Codec::single_object();
        let limits = BatchSection { rows: usize::MAX, bytes: usize::MAX, seconds: u64::MAX };
        let mut batch = Batch::<EnrichedEvent>::new();
        for day in 0..i64::try_from(PARTS).unwrap() {
            assert!(!batch.is_due(&limits), "{day}");
            let record = record(day, Timestamp::from_micros(day * MICROS_A_DAY));
            assert_eq!(batch.take(&codec, &record).unwrap(), None);
        }
        assert!(batch.is_due(&limits));
    }
}
