//! What joins make of their inputs, taken so that it can be ended and that its memory is counted.
//!
//! A join may make any number of rows of a few. `DataFusion` stops between rows that it reads, to see whether it is to end; between
//! those of a join it does not (`ensure_coop.rs` of `datafusion-physical-optimizer` looks at leaves and exchanges only). And a cross
//! join that holds what another one makes counts the memory of its columns: where nobody asks for a column, it holds any number of
//! batches for nothing (`load_left_input` in `joins/cross_join.rs` of `datafusion-physical-plan`).

use std::fmt;
use std::sync::Arc;

use deltalake::arrow::array::RecordBatch;
use deltalake::arrow::datatypes::Schema;
use deltalake::datafusion::common::Result;
use deltalake::datafusion::common::config::ConfigOptions;
use deltalake::datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::TaskContext;
use deltalake::datafusion::physical_expr::PhysicalExpr;
use deltalake::datafusion::physical_optimizer::PhysicalOptimizerRule;
use deltalake::datafusion::physical_plan::coalesce::LimitedBatchCoalescer;
use deltalake::datafusion::physical_plan::coop::make_cooperative;
use deltalake::datafusion::physical_plan::execution_plan::{CardinalityEffect, SchedulingType};
use deltalake::datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use deltalake::datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::stream::try_unfold;
use futures::{Stream, TryStreamExt as _};

/// Puts [`Portions`] on each operator that may give more rows than it is given.
#[derive(Debug)]
pub(super) struct PortionJoins;

impl PhysicalOptimizerRule for PortionJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        // Joins do not say what they do to the number of rows; what reads tables, or passes rows on, is in order as it is.
        let multiplies = |plan: &Arc<dyn ExecutionPlan>| {
            !plan.children().is_empty() && matches!(plan.cardinality_effect(), CardinalityEffect::Unknown)
        };
        let portion =
            |plan| Ok(if multiplies(&plan) { Transformed::yes(Portions::of(plan)) } else { Transformed::no(plan) });
        plan.transform_up(portion).data()
    }

    fn name(&self) -> &'static str {
        "portion_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Gives the rows of its input in batches of the usual size, and stops between them when it is to end.
#[derive(Debug)]
struct Portions {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Portions {
    fn of(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::clone(input.properties()).with_scheduling_type(SchedulingType::Cooperative);
        Arc::new(Self { input, properties: Arc::new(properties) })
    }
}

impl DisplayAs for Portions {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Portions {
    fn name(&self) -> &'static str {
        "Portions"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|children| DataFusionError::Internal(format!("Portions has 1 input, not {}", children.len())))?;
        Ok(Self::of(input))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let size = context.session_config().batch_size();
        let input = make_cooperative(self.input.execute(partition, context)?);
        let schema = input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, portions(input, size))))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// The rows of `input` in batches of `size` rows; those without columns in one.
fn portions(input: SendableRecordBatchStream, size: usize) -> impl Stream<Item = Result<RecordBatch>> {
    let schema = input.schema();
    // Half of what a number of rows can be: so many and as many more are still a number.
    let size = if *schema == Schema::empty() { usize::MAX / 2 } else { size };
    try_unfold(Some((input, LimitedBatchCoalescer::new(schema, size, None))), |rows| async {
        let Some((mut input, mut portion)) = rows else { return Ok(None) };
        loop {
            if let Some(whole) = portion.next_completed_batch() {
                return Ok(Some((whole, Some((input, portion)))));
            }
            let Some(more) = input.try_next().await? else {
                portion.finish()?;
                return Ok(portion.next_completed_batch().map(|last| (last, None)));
            };
            portion.push_batch(more)?;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use deltalake::arrow::array::{Int32Array, RecordBatch, RecordBatchOptions};
    use deltalake::arrow::datatypes::{DataType, Field, Schema};
    use deltalake::datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::TryStreamExt as _;
    use futures::stream::iter;

    use super::portions;

    /// The numbers of rows that come of batches with these.
    async fn sizes(columns: Vec<Field>, given: &[usize]) -> Vec<usize> {
        let schema = Arc::new(Schema::new(columns));
        let batch = |rows: &usize| {
            let numbers = || Arc::new(Int32Array::from(vec![7; *rows])) as _;
            let columns = schema.fields().iter().map(|_| numbers()).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(*rows));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?)
        };
        let batches = iter(given.iter().map(batch).collect::<Vec<_>>());
        let input = RecordBatchStreamAdapter::new(Arc::clone(&schema), batches);
        portions(Box::pin(input), 100).map_ok(|batch| batch.num_rows()).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn rows_come_in_batches_of_the_usual_size_and_mere_numbers_of_rows_in_one() {
        let column = || vec![Field::new("n", DataType::Int32, false)];
        assert_eq!(sizes(column(), &[]).await, [] as [usize; 0]);
        assert_eq!(sizes(column(), &[1; 250]).await, [100, 100, 50]);
        assert_eq!(sizes(column(), &[80, 1, 90]).await, [80, 91]);
        assert_eq!(sizes(vec![], &[120; 1000]).await, [120_000]);
        assert_eq!(sizes(vec![], &[]).await, [] as [usize; 0]);
    }
}
