//! Columns: a name, and how a record fills it.

use std::borrow::Cow;

use deltalake::kernel::{DataType, StructField};
use epicenter_model::Timestamp;

/// A column of records `T`.
pub struct Column<T: 'static> {
    pub name: &'static str,
    /// For the table's own documentation.
    pub what: &'static str,
    pub get: Get<T>,
    /// A filter in each file says whether it has a value at all.
    pub sought: bool,
}

/// How a record fills a column; an empty text is no value.
pub enum Get<T: 'static> {
    Time(fn(&T) -> Option<Timestamp>),
    Text(for<'r> fn(&'r T) -> Cow<'r, str>),
    Number(fn(&T) -> i64),
    Flag(fn(&T) -> bool),
}

impl<T> Column<T> {
    pub(crate) const fn new(name: &'static str, what: &'static str, get: Get<T>) -> Self {
        Self { name, what, get, sought: false }
    }

    pub(crate) const fn sought(name: &'static str, what: &'static str, get: Get<T>) -> Self {
        Self { sought: true, ..Self::new(name, what, get) }
    }

    /// Its field in the table's schema.
    pub(crate) fn field(&self) -> StructField {
        let kind = match self.get {
            Get::Time(_) => DataType::TIMESTAMP,
            Get::Text(_) => DataType::STRING,
            Get::Number(_) => DataType::LONG,
            Get::Flag(_) => DataType::BOOLEAN,
        };
        field(self.name, kind, self.what)
    }
}

/// A field with its documentation, which other engines show.
pub(crate) fn field(name: &str, kind: DataType, what: &str) -> StructField {
    StructField::nullable(name, kind).with_metadata([("comment", what)])
}
