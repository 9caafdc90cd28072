//! Whole incidents, with all members, from the changes that build them.

use std::collections::{BTreeMap, HashMap};

use epicenter_model::{Incident, IncidentChange};

/// Folds `incident.changes`. Unlike [`Incident::apply`] it keeps all members, and stays fast when there are many.
#[derive(Debug, Default)]
pub struct History {
    incidents: BTreeMap<(String, String), Whole>,
}

#[derive(Debug, Default)]
struct Whole {
    incident: Incident,
    /// Where each Event stands among the members.
    place: HashMap<String, usize>,
}

impl History {
    /// Takes a change over. One that is not newer has no effect.
    pub fn take(&mut self, change: IncidentChange) {
        let IncidentChange { mut incident, backfill, .. } = change;
        let whole = self.incidents.entry((incident.cluster.clone(), incident.id.clone())).or_default();
        if incident.version <= whole.incident.version {
            return;
        }
        let mut members = std::mem::take(&mut whole.incident.members);
        // What has moved keeps its place here, and is left out in the end.
        for member in incident.members.drain(..) {
            match whole.place.get(&member.event_uid) {
                Some(place) => members[*place] = member,
                None => {
                    whole.place.insert(member.event_uid.clone(), members.len());
                    members.push(member);
                }
            }
        }
        whole.incident = Incident { members, truncated: 0, backfill, ..incident };
    }

    /// The incidents, the first that opened first.
    pub fn into_incidents(self) -> Vec<Incident> {
        let mut incidents: Vec<_> = self.incidents.into_values().map(|whole| whole.incident).collect();
        incidents.iter_mut().for_each(|incident| incident.members.retain(|member| !member.is_moved()));
        incidents.sort_by(|a, b| (a.opened_at, &a.cluster, &a.id).cmp(&(b.opened_at, &b.cluster, &b.id)));
        incidents
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::Member;

    use super::*;

    fn change(version: i64, members: &[(&str, i64)]) -> IncidentChange {
        let member = |(uid, occurrences): &(&str, i64)| Member {
            event_uid: (*uid).to_owned(),
            occurrences: *occurrences,
            ..Member::default()
        };
        let members = members.iter().map(member).collect();
        let incident = Incident { id: "epc-a".into(), version, members, truncated: 9, ..Incident::default() };
        IncidentChange { incident, ..IncidentChange::default() }
    }

    #[test]
    fn keeps_all_members_and_their_newest_form() {
        let mut history = History::default();
        history.take(change(1, &[("a", 1), ("b", 1)]));
        history.take(change(2, &[("c", 1), ("a", 5)]));
        history.take(change(2, &[("d", 1)]));
        let mut moved = change(3, &[("b", 1)]);
        moved.incident.members[0].role = Member::MOVED.to_owned();
        history.take(moved);
        let incidents = history.into_incidents();
        let members: Vec<_> = incidents[0].members.iter().map(|m| (m.event_uid.as_str(), m.occurrences)).collect();
        assert_eq!(members, [("a", 5), ("c", 1)]);
        assert_eq!((incidents[0].version, incidents[0].truncated), (3, 0));
    }
}
