//! A table as the query engine sees it: the files of one version, and the rows that the log has beyond them.
//!
//! The tables' library has a provider of its own. It reads Delta's log again for each question, takes no filter that is found
//! while the question is answered, and knows of no rows but the files' (docs/adr/0029).

use std::sync::Arc;

use async_trait::async_trait;
use deltalake::arrow::array::RecordBatch;
use deltalake::arrow::compute::SortOptions;
use deltalake::arrow::datatypes::{Schema, SchemaRef};
use deltalake::datafusion::catalog::{Session, TableProvider};
use deltalake::datafusion::common::config::TableParquetOptions;
use deltalake::datafusion::common::stats::Precision;
use deltalake::datafusion::common::{Statistics, ToDFSchema as _};
use deltalake::datafusion::datasource::TableType;
use deltalake::datafusion::datasource::memory::MemorySourceConfig;
use deltalake::datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use deltalake::datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use deltalake::datafusion::datasource::source::DataSourceExec;
use deltalake::datafusion::datasource::table_schema::TableSchema;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::object_store::ObjectStoreUrl;
use deltalake::datafusion::logical_expr::utils::conjunction;
use deltalake::datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use deltalake::datafusion::physical_expr::PhysicalSortExpr;
use deltalake::datafusion::physical_expr::expressions::col;
use deltalake::datafusion::physical_plan::union::UnionExec;
use deltalake::datafusion::physical_plan::{ExecutionPlan, SortOrderPushdownResult};

use super::files::Files;

/// One table, as of a moment.
#[derive(Debug)]
pub(super) struct Rows {
    /// As the table has its columns.
    pub schema: SchemaRef,
    /// As the engine reads them of files.
    pub columns: TableSchema,
    pub store: ObjectStoreUrl,
    pub files: Files,
    /// Beyond the files, with the columns of `schema`.
    pub live: Vec<RecordBatch>,
}

/// The columns of a table in its own order, with the types that files are read as.
pub(super) fn schema(table: &Schema, columns: &TableSchema) -> Result<SchemaRef, DataFusionError> {
    let all = columns.table_schema();
    let fields = table.fields().iter().map(|field| Ok(all.field_with_name(field.name())?.clone()));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, DataFusionError>>()?)))
}

#[async_trait]
impl TableProvider for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Files and row groups are left out by filters here; rows are by those that the engine pushes into the scan.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let archived = self.archived(session, &wanted, filters, limit)?;
        if self.live.is_empty() {
            return Ok(archived);
        }
        let live =
            MemorySourceConfig::try_new_exec(std::slice::from_ref(&self.live), Arc::clone(&self.schema), Some(wanted))?;
        UnionExec::try_new(vec![archived, live])
    }
}

impl Rows {
    fn archived(
        &self,
        session: &dyn Session,
        wanted: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let all = self.columns.table_schema();
        let predicate = conjunction(filters.to_vec());
        let known = Arc::clone(all).to_dfschema()?;
        let predicate = predicate.map(|predicate| session.create_physical_expr(predicate, &known)).transpose()?;
        let files = self.files.fitting(predicate.as_ref(), all)?;

        let environment = session.runtime_env();
        let reader = CachedParquetFileReaderFactory::new(
            environment.object_store(&self.store)?,
            environment.cache_manager.get_file_metadata_cache(),
        );
        let parquet =
            TableParquetOptions { global: session.config_options().execution.parquet.clone(), ..Default::default() };
        let source = ParquetSource::new(self.columns.clone())
            .with_table_parquet_options(parquet)
            .with_parquet_file_reader_factory(Arc::new(reader));
        let mut statistics = Statistics::new_unknown(all);
        let rows = files.iter().map(|file| file.statistics.as_ref().map_or(Precision::Absent, |about| about.num_rows));
        statistics.num_rows = rows.fold(Precision::Exact(0), |sum, rows| sum.add(&rows));
        let places = wanted.iter().map(|index| all.index_of(self.schema.field(*index).name()));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(vec![FileGroup::new(files)])
            .with_statistics(statistics)
            .with_projection_indices(Some(places))?
            .with_limit(limit)
            .build();
        newest_first(DataSourceExec::from_data_source(scan))
    }
}

/// Files and row groups are read the newest first, so that whoever wants the newest rows soon knows what to leave out: also
/// below a union, which passes no order on.
fn newest_first(scan: Arc<DataSourceExec>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let schema = scan.schema();
    if schema.column_with_name("time").is_none() {
        return Ok(scan);
    }
    let options = SortOptions { descending: true, nulls_first: true };
    let order = [PhysicalSortExpr { expr: col("time", &schema)?, options }];
    Ok(match scan.try_pushdown_sort(&order)? {
        SortOrderPushdownResult::Exact { inner } | SortOrderPushdownResult::Inexact { inner } => inner,
        SortOrderPushdownResult::Unsupported => scan,
    })
}
