//! The files of a table, as the query engine reads them: what Delta's log says of each is enough to leave most of them closed.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use deltalake::datafusion::common::pruning::PrunableStatistics;
use deltalake::datafusion::common::stats::Precision;
use deltalake::datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use deltalake::datafusion::datasource::listing::PartitionedFile;
use deltalake::datafusion::datasource::table_schema::TableSchema;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::physical_expr::PhysicalExpr;
use deltalake::datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use deltalake::kernel::LogicalFileView;
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::ObjectMeta;
use serde::Deserialize;

use crate::ArchiveError;
use crate::entry::PARTITIONED_BY;

const TIME: &str = "time";
/// Delta's log tells times in whole milliseconds.
const MILLI: i64 = 1000;

/// The files of one version of a table, the newest first, each with what leaves it closed: its folder, and between what times its rows
/// are, or a little less.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(Vec<PartitionedFile>);

/// What Delta's log says of a file's rows.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    num_records: Option<usize>,
    min_values: Times,
    max_values: Times,
    null_count: Nulls,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Times {
    time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Nulls {
    time: Option<usize>,
}

/// The columns of files and those of their folders, in the engine's order; texts as it reads them quickest.
pub(super) fn columns(schema: &Schema) -> TableSchema {
    let viewed = |field: &FieldRef| -> FieldRef {
        let kind = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            other => other.clone(),
        };
        Arc::new(Field::new(field.name(), kind, true))
    };
    let (folders, own): (Vec<FieldRef>, Vec<FieldRef>) =
        schema.fields().iter().map(viewed).partition(|field| PARTITIONED_BY.contains(&field.name().as_str()));
    TableSchema::builder(Arc::new(Schema::new(own))).with_table_partition_cols(folders).build()
}

impl Files {
    /// Those of the version of `table` that is known; what `before` has of them is not read again.
    pub(super) fn of(table: &DeltaTable, columns: &TableSchema, before: &Self) -> Result<Self, ArchiveError> {
        let what = || format!("listing the files of {}", table.log_store().root_url());
        let state = table.snapshot().map_err(|error| ArchiveError::store(what(), error))?;
        if state.protocol().min_reader_version() > 1 {
            return Err(ArchiveError::Changed { url: table.log_store().root_url().to_string() });
        }
        let known: HashMap<_, _> = before.0.iter().map(|file| (file.path(), file)).collect();
        let mut files = Vec::new();
        for view in state.log_data().iter() {
            files.push(match known.get(&view.object_store_path()) {
                Some(file) => (*file).clone(),
                None => file(&view, columns).map_err(|error| ArchiveError::store(what(), error))?,
            });
        }
        files.sort_by(|a, b| latest(b).partial_cmp(&latest(a)).unwrap_or(std::cmp::Ordering::Equal));
        Ok(Self(files))
    }

    /// Those that may have rows that fit.
    pub(super) fn fitting(
        &self,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        schema: &SchemaRef,
    ) -> Result<Vec<PartitionedFile>, DataFusionError> {
        let Some(predicate) = predicate else { return Ok(self.0.clone()) };
        let pruning = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
        let pruning = pruning.try_build(Arc::clone(predicate))?;
        let bounds = self.0.iter().map(|file| file.statistics.clone().unwrap_or_default()).collect();
        let fits = pruning.prune(&PrunableStatistics::new(bounds, Arc::clone(schema)))?;
        Ok(self.0.iter().zip(fits).filter(|(_, fits)| *fits).map(|(file, _)| file.clone()).collect())
    }
}

/// What Delta's log says of a file.
fn file(view: &LogicalFileView, columns: &TableSchema) -> Result<PartitionedFile, deltalake::DeltaTableError> {
    let said: Said = view.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default();
    let mut values = view.partition_values_map();
    let folders = columns.table_partition_cols().iter().map(|field| {
        let value = values.remove(field.name()).flatten();
        match field.data_type() {
            DataType::Date32 => ScalarValue::Date32(value.and_then(|text| text.parse().ok()).map(days)),
            _ => ScalarValue::Utf8View(value),
        }
    });
    let folders: Vec<_> = folders.collect();
    let meta = ObjectMeta {
        location: view.object_store_path(),
        last_modified: view.modification_datetime()?,
        size: view.size().unsigned_abs(),
        e_tag: None,
        version: None,
    };
    let mut about = Statistics::new_unknown(columns.file_schema());
    about.num_rows = said.num_records.map_or(Precision::Absent, Precision::Exact);
    if let Some((time, _)) = columns.file_schema().column_with_name(TIME) {
        // Only what is exact leaves a file closed, also while a question is answered. The least and the greatest time are never told as
        // an answer: those of the whole scan are not known.
        let micros = |at: Timestamp, more: i64| {
            Precision::Exact(ScalarValue::TimestampMicrosecond(Some(at.as_microsecond() + more), Some("UTC".into())))
        };
        about.column_statistics[time] = ColumnStatistics {
            min_value: said.min_values.time.map_or(Precision::Absent, |at| micros(at, 0)),
            max_value: said.max_values.time.map_or(Precision::Absent, |at| micros(at, MILLI)),
            null_count: said.null_count.time.map_or(Precision::Absent, Precision::Exact),
            ..ColumnStatistics::new_unknown()
        };
    }
    Ok(PartitionedFile::from(meta).with_partition_values(folders).with_statistics(Arc::new(about)))
}

/// Until when its rows are.
fn latest(file: &PartitionedFile) -> Option<&ScalarValue> {
    let mut times =
        file.statistics.iter().flat_map(|about| &about.column_statistics).filter_map(|it| it.max_value.get_value());
    times.find(|value| matches!(value, ScalarValue::TimestampMicrosecond(..)))
}

fn days(date: Date) -> i32 {
    let epoch = Date::constant(1970, 1, 1);
    epoch.until(date).map_or(0, |span| span.get_days())
}
