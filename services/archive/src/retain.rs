//! Which rows are too old, as a condition on them.

use std::fmt::Write as _;

use deltalake::arrow::array::AsArray as _;
use deltalake::arrow::compute::cast;
use deltalake::arrow::datatypes::{DataType, Int64Type};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::SessionContext;
use epicenter_runtime::{RetentionRule, RetentionSection};
use jiff::civil::Date;

use crate::maintain::LIMIT;
use crate::table::within;
use crate::{ArchiveError, Table};

/// Rows that are too old, of one category and severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// What they are about; empty for rows that could not be decoded.
    pub category: String,
    /// How bad it is; empty for rows that could not be decoded.
    pub severity: String,
    /// How many.
    pub rows: u64,
}

/// The condition on rows that are too old on the day `today`; `None` when all are kept for ever.
///
/// Of incidents the whole history is kept as long as the longest rule keeps anything: an incident that became worse would
/// lose its beginning otherwise.
pub(crate) fn expired(retention: &RetentionSection, by_row: bool, today: Date) -> Option<String> {
    let before = |days: u32| {
        let span = jiff::Span::new().try_days(days);
        span.and_then(|span| today.checked_sub(span)).map_or("FALSE".to_owned(), |date| format!("date < DATE '{date}'"))
    };
    if !by_row {
        let all = retention.rules.iter().map(|rule| rule.days).chain([retention.days]);
        let longest = all.map(|days| if days == 0 { u32::MAX } else { days }).max().filter(|days| *days != u32::MAX);
        return longest.map(before);
    }
    let mut terms = Vec::new();
    let mut earlier = String::new();
    for rule in &retention.rules {
        let fits = fits(rule);
        if rule.days > 0 {
            terms.push(format!("({} AND {fits}{earlier})", before(rule.days)));
        }
        // Writing to a String cannot fail.
        let _ = write!(earlier, " AND NOT {fits}");
    }
    if retention.days > 0 {
        terms.push(format!("({}{earlier})", before(retention.days)));
    }
    (!terms.is_empty()).then(|| terms.join(" OR "))
}

/// The condition that a rule fits. It is true or false for every row: one that has no value fits what asks for none.
fn fits(rule: &RetentionRule) -> String {
    let one_of = |column: &str, names: Vec<&str>| match names.as_slice() {
        [] => "TRUE".to_owned(),
        names => format!("coalesce({column}, '') IN ('{}')", names.join("', '")),
    };
    let category = one_of("category", rule.category.iter().map(|category| category.name()).collect());
    let severity = one_of("severity", rule.severity.iter().map(|severity| severity.name()).collect());
    format!("({category} AND {severity})")
}

impl Table {
    /// Rows that are kept no longer on the day `today`; deletes nothing.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn expired(&self, retention: &RetentionSection, today: Date) -> Result<Vec<Expired>, ArchiveError> {
        let Some(condition) = expired(retention, self.by_row(), today) else { return Ok(Vec::new()) };
        let what = || format!("looking for old rows of {}", self.kind.name);
        let session = SessionContext::new();
        let ask = async {
            session.register_table("archive", self.delta.table_provider().await?)?;
            let query = format!(
                "SELECT coalesce(category, ''), coalesce(severity, ''), count(*) FROM archive WHERE {condition} \
                 GROUP BY 1, 2 ORDER BY 1, 2"
            );
            session.sql(&query).await?.collect().await
        };
        let batches: Vec<_> = ask.await.map_err(|error: DataFusionError| ArchiveError::query(what(), error))?;
        let mut expired = Vec::new();
        for batch in &batches {
            let text = |column: usize| {
                cast(batch.column(column), &DataType::Utf8).map_err(|error| ArchiveError::query(what(), error.into()))
            };
            let (category, severity) = (text(0)?, text(1)?);
            let (category, severity) = (category.as_string::<i32>(), severity.as_string::<i32>());
            let rows = batch.column(2).as_primitive::<Int64Type>();
            expired.extend((0..batch.num_rows()).map(|row| Expired {
                category: category.value(row).to_owned(),
                severity: severity.value(row).to_owned(),
                rows: rows.value(row).unsigned_abs(),
            }));
        }
        Ok(expired)
    }

    /// Deletes the rows that are kept no longer on the day `today`; says how many. Their files go with the next vacuum.
    ///
    /// # Errors
    /// Retryable.
    pub async fn retain(&mut self, retention: &RetentionSection, today: Date) -> Result<u64, ArchiveError> {
        let Some(condition) = expired(retention, self.by_row(), today) else { return Ok(0) };
        let what = || format!("deleting old rows of {}", self.kind.name);
        let delete = self.delta.clone().delete().with_predicate(condition).with_writer_properties(self.merged.clone());
        let (delta, metrics) = within(LIMIT, &what, async { delete.await }).await?;
        self.delta = delta;
        Ok(metrics.num_deleted_rows.unwrap_or_default() as u64)
    }

    fn by_row(&self) -> bool {
        self.kind.topic == epicenter_bus::topics::EVENTS_ENRICHED.name
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Category, Severity};

    use super::*;

    fn rule(category: &[Category], severity: &[Severity], days: u32) -> RetentionRule {
        RetentionRule { category: category.to_vec(), severity: severity.to_vec(), days }
    }

    #[track_caller]
    fn check(rules: Vec<RetentionRule>, days: u32, by_row: bool, expected: Option<&str>) {
        let today = Date::constant(2026, 3, 1);
        assert_eq!(expired(&RetentionSection { rules, days }, by_row, today).as_deref(), expected);
    }

    #[test]
    fn says_which_rows_are_too_old() {
        check(vec![], 0, true, None);
        check(vec![], 30, true, Some("(date < DATE '2026-01-30')"));
        check(
            vec![rule(&[], &[Severity::High, Severity::Critical], 0), rule(&[Category::Probe], &[], 3)],
            30,
            true,
            Some(
                "(date < DATE '2026-02-26' AND (coalesce(category, '') IN ('probe') AND TRUE) \
                 AND NOT (TRUE AND coalesce(severity, '') IN ('high', 'critical'))) \
                 OR (date < DATE '2026-01-30' AND NOT (TRUE AND coalesce(severity, '') IN ('high', 'critical')) \
                 AND NOT (coalesce(category, '') IN ('probe') AND TRUE))",
            ),
        );
    }

    #[test]
    fn keeps_incidents_whole_and_longest() {
        check(vec![rule(&[], &[Severity::Info], 3)], 30, false, Some("date < DATE '2026-01-30'"));
        check(vec![rule(&[], &[Severity::Critical], 365)], 30, false, Some("date < DATE '2025-03-01'"));
        check(vec![rule(&[], &[Severity::Critical], 0)], 30, false, None);
    }
}
