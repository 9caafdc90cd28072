//! What can be archived, and the columns that all tables have.

use std::sync::Arc;

use deltalake::arrow::datatypes::{Schema, SchemaRef};
use deltalake::arrow::error::ArrowError;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake::kernel::{DataType, StructField, StructType};
use epicenter_model::{Codec, CodecError, Timestamp};
use serde::Serialize;

use crate::column::{Column, field};

/// A table and its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The table's name, and its folder.
    pub name: &'static str,
    /// The topic, without prefix.
    pub topic: &'static str,
    /// The column of its text.
    pub text: &'static str,
}

/// A record that has a row of its own.
pub trait Entry: Serialize + Sized + 'static {
    /// Its table.
    const KIND: Kind;
    /// Columns of this table only.
    const COLUMNS: &'static [Column<Self>];

    /// The cluster's name.
    fn cluster(&self) -> &str;

    /// Log time.
    fn at(&self) -> Timestamp;

    /// Reads a payload of the topic; `None` for records that say nothing which is kept for long.
    ///
    /// # Errors
    /// When it cannot be decoded; retryable as the codec's error says.
    fn read(codec: &Codec, payload: &[u8]) -> Result<Option<Self>, CodecError>;
}

/// The folders that the rows are in.
pub(crate) const PARTITIONED_BY: [&str; 2] = ["date", "cluster"];
/// Texts that are long, of which no file notes the least and the greatest.
pub(crate) const LONG: [&str; 5] = ["message", "title", "record", "raw", "error"];

/// All columns of a table, in order: those that all have, around its own.
pub(crate) fn fields<T: Entry>() -> Vec<StructField> {
    let mut fields = vec![
        field("date", DataType::DATE, "Day of the log time, UTC"),
        field("cluster", DataType::STRING, "The cluster's name"),
        field("time", DataType::TIMESTAMP, "Log time: when its exporter received it"),
    ];
    fields.extend(T::COLUMNS.iter().map(Column::field));
    fields.extend([
        field("record", DataType::STRING, "The whole record, as JSON"),
        field("error", DataType::STRING, "Why the record could not be decoded"),
        field("raw", DataType::BINARY, "The bytes of a record that could not be decoded"),
        field("partition", DataType::INTEGER, "The log's partition that it was read from"),
        field("offset", DataType::LONG, "Its offset there"),
    ]);
    fields
}

/// The same, as rows in memory have them.
pub(crate) fn schema<T: Entry>() -> Result<SchemaRef, ArrowError> {
    let fields = StructType::try_new(fields::<T>()).map_err(|error| ArrowError::SchemaError(error.to_string()))?;
    let schema: Schema = (&fields).try_into_arrow()?;
    Ok(Arc::new(schema))
}
