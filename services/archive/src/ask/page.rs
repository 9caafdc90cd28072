//! Events and incidents, the newest first, page by page.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use epicenter_model::{EnrichedEvent, Incident, IncidentChange, Timestamp};
use epicenter_runtime::Access;
use serde_json::{Map, Value};

use super::cursor::ORDER;
use super::filter::{instant, quoted};
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

/// Characters of a whole incident's id.
const WHOLE_ID: usize = 14;
/// Events that are looked for by name when an incident's are asked for.
const MEMBERS: usize = 20_000;

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
        let mut from = newest(filter)?;
        if let Some(after) = after {
            from = format!("{from} WHERE {}", after.after());
        }
        self.page(&from, limit).await
    }

    /// The incident of that id as it was last, with what its changes tell of its members, `most` at most; whenever that was, as far as
    /// `access` shows it.
    ///
    /// # Errors
    /// When the limits are reached, or the archive cannot be read.
    pub async fn incident(&self, id: &str, most: usize, access: &Access) -> Result<Option<Incident>, ArchiveError> {
        let mut whole = Incident::default();
        for change in self.changes(&format!("incident = {}", quoted(id))).await? {
            whole.apply(&change, most);
        }
        Ok(Some(whole).filter(|whole| whole.version > 0).and_then(|whole| access.show(whole)))
    }

    /// Changes of incidents that fit, each incident's in their order.
    async fn changes(&self, condition: &str) -> Result<Vec<IncidentChange>, ArchiveError> {
        let query = format!("SELECT record FROM incident_changes WHERE {condition} AND record IS NOT NULL");
        let rows = self.query(&query).await?;
        let read = |row: &Row| {
            let record = row.get("record").and_then(Value::as_str).unwrap_or_default();
            serde_json::from_str(record).map_err(|error| ArchiveError::Record { error })
        };
        let mut changes = rows.iter().map(read).collect::<Result<Vec<IncidentChange>, _>>()?;
        changes.sort_by(|IncidentChange { incident: a, .. }, IncidentChange { incident: b, .. }| {
            (&a.cluster, &a.id, a.version).cmp(&(&b.cluster, &b.id, b.version))
        });
        Ok(changes)
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

    /// The condition that an Event is in one of the incidents asked for; `None` when none is.
    pub(super) async fn members(&self, filter: &Filter) -> Result<Option<String>, ArchiveError> {
        if filter.incident.is_empty() {
            return Ok(None);
        }
        // Whatever the time asked for: an incident's members are told when they join it.
        let ids = of_incidents(filter);
        let clusters = filter.when().into_iter().filter(|term| term.starts_with("cluster"));
        let condition = clusters.chain([ids]).collect::<Vec<_>>().join(" AND ");
        let mut members = BTreeMap::new();
        for IncidentChange { incident, .. } in self.changes(&condition).await? {
            let Incident { cluster, id, members: told, .. } = incident;
            members.extend(
                told.into_iter().map(|it| ((cluster.clone(), id.clone(), it.event_uid.clone()), it.is_moved())),
            );
        }
        let mut uids: Vec<_> = members.iter().filter(|(_, moved)| !**moved).map(|((.., uid), _)| quoted(uid)).collect();
        uids.sort_unstable();
        uids.dedup();
        if uids.len() > MEMBERS {
            return Err(ArchiveError::Many { found: uids.len(), most: MEMBERS });
        }
        // An incident that is not there has no Events.
        Ok(Some(if uids.is_empty() { "FALSE".to_owned() } else { format!("event_uid IN ({})", uids.join(", ")) }))
    }
}

fn number(row: &Row, name: &str) -> i64 {
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

/// The newest change of each incident in the time asked for, if it fits. Which one that is, short columns tell; the long ones are
/// read of no other.
pub(super) fn newest(filter: &Filter) -> Result<String, Malformed> {
    if let Some(reason) = filter.reason.first() {
        return Err(Malformed::new("reason", reason, "is asked of incidents, which have none: their Events have"));
    }
    let mut when = filter.when();
    when.push("incident IS NOT NULL".to_owned());
    if !filter.incident.is_empty() {
        when.push(of_incidents(filter));
    }
    let when = when.join(" AND ");
    let which: String = filter.which(IncidentChange::KIND).iter().map(|term| format!(" AND {term}")).collect();
    Ok(format!(
        "(SELECT * EXCLUDE (of, which, newest) FROM incident_changes JOIN \
         (SELECT cluster AS of, incident AS which, max(version) AS newest FROM incident_changes WHERE {when} GROUP BY 1, 2) \
         ON cluster = of AND incident = which AND version = newest WHERE {when}{which})"
    ))
}

fn of_incidents(filter: &Filter) -> String {
    let each = filter.incident.iter().map(|id| match id.len() {
        WHOLE_ID => format!("incident = {}", quoted(id)),
        _ => format!("starts_with(incident, {})", quoted(id)),
    });
    format!("({})", each.collect::<Vec<_>>().join(" OR "))
}
