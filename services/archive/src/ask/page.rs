//! Events and incidents, the newest first, page by page.

use std::num::NonZeroU32;

use epicenter_model::{EnrichedEvent, IncidentChange, Timestamp};
use serde_json::{Map, Value};

use super::cursor::ORDER;
use super::filter::instant;
use super::{Archive, Cursor, Filter, Malformed};
use crate::{ArchiveError, Entry as _};

/// A row: a member for each column that has a value; `record` is the whole record.
pub type Row = Map<String, Value>;

/// A page of rows, the newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Its rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl Archive {
    /// Events that fit, the newest first: `limit` at most, after `after`.
    ///
    /// # Errors
    /// When the limits are reached, or the archive cannot be read.
    pub async fn events(
        &self,
        filter: &Filter,
        limit: NonZeroU32,
        after: Option<Cursor>,
    ) -> Result<Page, ArchiveError> {
        let mut from = format!("events WHERE {}", filter.condition(EnrichedEvent::KIND));
        if let Some(members) = self.members(filter).await? {
            from = format!("{from} AND {members}");
        }
        if let Some(after) = after {
            from = format!("{from} AND {}", after.after());
        }
        self.page(&from, limit).await
    }

    /// Incidents that changed in the time asked for, each as it was at its end, the newest change first.
    ///
    /// # Errors
    /// When the limits are reached, or the archive cannot be read.
    pub async fn incidents(
        &self,
        filter: &Filter,
        limit: NonZeroU32,
        after: Option<Cursor>,
    ) -> Result<Page, ArchiveError> {
        let mut from = self.newest(filter).await?;
        if let Some(after) = after {
            from = format!("{from} WHERE {}", after.after());
        }
        self.page(&from, limit).await
    }

    /// The newest change of each incident in the time asked for, if it fits. Which one that is, short columns tell; the long ones are
    /// read of no other.
    pub(super) async fn newest(&self, filter: &Filter) -> Result<String, ArchiveError> {
        if let Some(reason) = filter.reason.first() {
            return Err(
                Malformed::new("reason", reason, "is asked of incidents, which have none: their Events have").into()
            );
        }
        let mut when = filter.when();
        when.push("incident IS NOT NULL".to_owned());
        when.extend(filter.incidents());
        if filter.is_of_one_incident() {
            let life = self.life(&when.join(" AND ")).await?;
            when.push(life.map_or("FALSE".to_owned(), |life| life.newest()));
        }
        let when = when.join(" AND ");
        let which: String = filter.which(IncidentChange::KIND).iter().map(|term| format!(" AND {term}")).collect();
        Ok(format!(
            "(SELECT * EXCLUDE (of, which, newest) FROM incident_changes JOIN \
             (SELECT cluster AS of, incident AS which, max(version) AS newest FROM incident_changes WHERE {when} GROUP BY 1, 2) \
             ON cluster = of AND incident = which AND version = newest WHERE {when}{which})"
        ))
    }

    async fn page(&self, from: &str, limit: NonZeroU32) -> Result<Page, ArchiveError> {
        let more = u64::from(limit.get()) + 1;
        // Short columns tell how far back the page goes. A row of all takes a page of each column, and whoever sorts holds those of
        // every row that fits.
        let short = format!("SELECT arrow_cast(time, 'Int64') AS micros FROM {from} ORDER BY {ORDER} LIMIT {more}");
        let Some(oldest) = self.query(&short).await?.last().map(|row| number(row, "micros")) else {
            return Ok(Page { rows: Vec::new(), next: None });
        };
        let query = format!(
            "SELECT *, arrow_cast(time, 'Int64') AS micros FROM (SELECT * FROM {from}) WHERE time >= {} ORDER BY {ORDER} LIMIT {more}",
            instant(Timestamp::from_micros(oldest))
        );
        let mut rows = self.query(&query).await?;
        let is_more = rows.len() as u64 == more;
        rows.truncate(limit.get() as usize);
        let next = rows.last().filter(|_| is_more).map(|row| Cursor {
            time: number(row, "micros"),
            partition: number(row, "partition"),
            offset: number(row, "offset"),
        });
        for row in &mut rows {
            row.remove("micros");
            unfold(row);
        }
        Ok(Page { rows, next })
    }
}

pub(super) fn number(row: &Row, name: &str) -> i64 {
    row.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// Puts the record into its row as the object that it is, not as a text.
fn unfold(row: &mut Row) {
    if let Some(Value::String(json)) = row.get("record")
        && let Ok(record) = serde_json::from_str(json)
    {
        row.insert("record".to_owned(), record);
    }
}
