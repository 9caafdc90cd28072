//! An incident, put together of its changes, and which Events are in it.
//!
//! Ids tell no time, and uids of Events are in no order, so that no file could stay closed for them. When an incident was, its
//! newest change tells; that one is looked for first, from the newest file back.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{Act, Incident, IncidentChange, IncidentState, Timestamp};
use epicenter_runtime::Access;
use serde_json::Value;

use super::filter::{between, is_incident, one_of};
use super::page::number;
use super::{Archive, Filter, Row};
use crate::ArchiveError;

/// Events that are looked for by name when an incident's are asked for.
const MEMBERS: usize = 20_000;
/// What is in an incident may have come so long before it was opened, ms.
const BEFORE: i64 = 24 * 3_600_000;

/// Where the changes of an incident are, as the newest of them tells.
pub(super) struct Life {
    cluster: String,
    opened_at: Timestamp,
    /// Log time of the newest.
    newest: Timestamp,
}

impl Life {
    /// The condition on time and cluster that holds for all of them.
    fn whole(&self) -> String {
        self.since(self.opened_at)
    }

    /// The one that holds for the newest.
    pub(super) fn newest(&self) -> String {
        self.since(self.newest)
    }

    fn since(&self, from: Timestamp) -> String {
        let mut all = between(from, Some(after(self.newest)));
        all.extend(one_of("cluster", [self.cluster.as_str()]));
        all.join(" AND ")
    }
}

impl Archive {
    /// The incident of that id as it was last, with what its changes tell of its members, `most` at most; whenever that was, as far as
    /// `access` shows it.
    ///
    /// # Errors
    /// When the limits are reached, or the archive cannot be read.
    pub async fn incident(&self, id: &str, most: usize, access: &Access) -> Result<Option<Incident>, ArchiveError> {
        let this = is_incident(id);
        let Some(life) = self.life(&this).await? else { return Ok(None) };
        let mut whole = Incident::default();
        for change in self.changes(&format!("{this} AND {}", life.whole())).await? {
            whole.apply(&change, most);
        }
        Ok(Some(whole).filter(|whole| whole.version > 0).and_then(|whole| access.show(whole)))
    }

    /// Where the changes of an incident are, by the newest one that fits; `None` when none does. Files that are older than that one
    /// stay closed.
    pub(super) async fn life(&self, condition: &str) -> Result<Option<Life>, ArchiveError> {
        let query = format!(
            "SELECT cluster, arrow_cast(opened_at, 'Int64') AS opened, arrow_cast(time, 'Int64') AS micros FROM incident_changes \
             WHERE {condition} ORDER BY time DESC LIMIT 1"
        );
        let rows = self.query(&query).await?;
        Ok(rows.first().map(|row| {
            let at = |name: &str| Timestamp::from_micros(number(row, name));
            let cluster = row.get("cluster").and_then(Value::as_str).unwrap_or_default().to_owned();
            Life { cluster, opened_at: at("opened"), newest: at("micros") }
        }))
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
        changes.sort_by(|a, b| (place(a), a.incident.version).cmp(&(place(b), b.incident.version)));
        Ok(changes)
    }

    /// The condition that an Event is in one of the incidents asked for; `None` when none is.
    pub(super) async fn members(&self, filter: &Filter) -> Result<Option<String>, ArchiveError> {
        let Some(ids) = filter.incidents() else { return Ok(None) };
        // Whatever the time asked for: an incident's members are told when they join it.
        let mut all = filter.clusters();
        all.push(ids.clone());
        if filter.is_of_one_incident() {
            // One that has Events of that time changed when they came, or later.
            let mut since = Filter { to: None, ..filter.clone() }.when();
            since.push(ids);
            all.push(self.life(&since.join(" AND ")).await?.map_or("FALSE".to_owned(), |life| life.whole()));
        }
        let changes = self.changes(&all.join(" AND ")).await?;
        let mut events = Events::default();
        changes.chunk_by(|a, b| place(a) == place(b)).for_each(|changes| events.add(changes));
        if events.uids.len() > MEMBERS {
            return Err(ArchiveError::Many { found: events.uids.len(), most: MEMBERS });
        }
        Ok(Some(events.condition()))
    }
}

/// The Events of some incidents: their uids, and between what they came.
#[derive(Default)]
struct Events<'c> {
    uids: BTreeSet<&'c str>,
    clusters: BTreeSet<&'c str>,
    span: Option<(Timestamp, Option<Timestamp>)>,
}

impl<'c> Events<'c> {
    /// Adds those of the incident whose changes these are, in order.
    fn add(&mut self, changes: &'c [IncidentChange]) {
        let Some(IncidentChange { incident: last, .. }) = changes.last() else { return };
        let told = changes.iter().flat_map(|change| &change.incident.members);
        let told: BTreeMap<_, _> = told.map(|member| (member.event_uid.as_str(), member.is_moved())).collect();
        self.uids.extend(told.into_iter().filter(|(_, moved)| !moved).map(|(uid, _)| uid));
        self.clusters.insert(&last.cluster);
        // What was parted from another incident may have come whenever that one was.
        let is_parted = changes.iter().flat_map(|change| &change.incident.notes).any(|note| note.act == Act::Split);
        let from = if is_parted { Timestamp::default() } else { last.opened_at.plus_millis(-BEFORE) };
        let to = (last.state != IncidentState::Open).then(|| after(last.last_event_at));
        self.span = Some(match self.span {
            None => (from, to),
            Some((first, end)) => (first.min(from), end.zip(to).map(|(end, to)| end.max(to))),
        });
    }

    fn condition(&self) -> String {
        let uids = one_of("event_uid", self.uids.iter().copied());
        // An incident that is not there has no Events.
        let (Some(uids), Some((from, to))) = (uids, self.span) else { return "FALSE".to_owned() };
        let mut all = between(from, to);
        all.extend(one_of("cluster", self.clusters.iter().copied()));
        all.push(uids);
        all.join(" AND ")
    }
}

/// Whose change it is.
fn place(change: &IncidentChange) -> (&str, &str) {
    (&change.incident.cluster, &change.incident.id)
}

/// The first instant that is later.
fn after(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Member, Note};

    use super::*;

    const A_DAY: i64 = 86_400_000_000;

    /// A change of `id`, which was opened after so many days, and tells of these members.
    fn change(id: &str, days: i64, state: IncidentState, members: &[(&str, &str)]) -> IncidentChange {
        let opened_at = Timestamp::from_micros(days * A_DAY);
        let member = |(uid, role): &(&str, &str)| Member {
            event_uid: (*uid).to_owned(),
            role: (*role).to_owned(),
            ..Member::default()
        };
        let incident = Incident {
            id: id.to_owned(),
            cluster: id.to_owned(),
            state,
            opened_at,
            last_event_at: opened_at,
            members: members.iter().map(member).collect(),
            ..Incident::default()
        };
        IncidentChange { incident, ..IncidentChange::default() }
    }

    #[track_caller]
    fn check(incidents: &[&[IncidentChange]], from: i64, to: Option<i64>, rest: &str) {
        let mut events = Events::default();
        incidents.iter().for_each(|changes| events.add(changes));
        let at = Timestamp::from_micros;
        assert_eq!(events.condition(), format!("{} AND {rest}", between(at(from), to.map(at)).join(" AND ")));
    }

    #[test]
    fn events_of_an_incident_came_while_it_was_open_or_a_day_before() {
        use IncidentState::{Open, Resolved};
        let a = [
            change("a", 5, Open, &[("1", "root"), ("2", "symptom")]),
            change("a", 5, Resolved, &[("2", "moved"), ("3", "symptom")]),
        ];
        check(&[&a], 4 * A_DAY, Some(5 * A_DAY + 1), "cluster IN ('a') AND event_uid IN ('1', '3')");
        check(&[&a[..1]], 4 * A_DAY, None, "cluster IN ('a') AND event_uid IN ('1', '2')");
        let b = [change("b", 8, Resolved, &[("4", "root")])];
        let both = "cluster IN ('a', 'b') AND event_uid IN ('1', '3', '4')";
        check(&[&a, &b], 4 * A_DAY, Some(8 * A_DAY + 1), both);
        let mut parted = b;
        parted[0].incident.notes.push(Note { act: Act::Split, ..Note::default() });
        check(&[&parted], 0, Some(8 * A_DAY + 1), "cluster IN ('b') AND event_uid IN ('4')");
        let (mut none, nobody) = (Events::default(), [change("c", 1, Open, &[])]);
        none.add(&nobody);
        assert_eq!((none.condition(), Events::default().condition()), ("FALSE".to_owned(), "FALSE".to_owned()));
    }
}
