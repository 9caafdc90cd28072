//! How far each watch of a cluster has come, as the log has it.

use std::collections::{BTreeMap, BTreeSet};

use epicenter_model::{Codec, CodecError, Timestamp, WatchPosition};

use crate::committer::Row;
use crate::observation::{Progress, Reached};
use crate::resource::{Resource, Scope};

/// The row that carries the cluster's log time.
const CLOCK: &str = "heartbeat";

/// How far Events were read by a scope that is no longer read.
pub(crate) struct Elsewhere {
    pub(crate) namespace: String,
    pub(crate) epoch: i64,
    pub(crate) version: String,
}

/// The positions of one cluster, and its log time.
pub(crate) struct Positions {
    cluster: String,
    cluster_uid: String,
    rows: BTreeMap<String, WatchPosition>,
    changed: BTreeSet<String>,
    /// The newest log time that was given out.
    now: Timestamp,
}

impl Positions {
    /// The prefix of the keys of a cluster's positions.
    pub(crate) fn prefix(cluster: &str) -> Vec<u8> {
        format!("{cluster}/").into_bytes()
    }

    /// Reads them. Those of another cluster that had the same name are of no use.
    pub(crate) fn read(
        codec: &Codec,
        cluster: &str,
        cluster_uid: &str,
        rows: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Self, CodecError> {
        let mut positions = Self {
            cluster: cluster.to_owned(),
            cluster_uid: cluster_uid.to_owned(),
            rows: BTreeMap::new(),
            changed: BTreeSet::new(),
            now: Timestamp::default(),
        };
        for row in rows.values() {
            let row: WatchPosition = codec.decode(row)?;
            positions.now = positions.now.max(row.at);
            if row.cluster_uid != cluster_uid {
                tracing::warn!(
                    cluster,
                    resource = row.resource,
                    was = row.cluster_uid,
                    is = cluster_uid,
                    "another cluster had this name: it is read from the beginning. Give each cluster a name of its own"
                );
            } else if row.resource != CLOCK {
                positions.rows.insert(row.resource.clone(), row);
            }
        }
        Ok(positions)
    }

    /// They were lost, and were good until `lost_at`: every scope is to be listed, as after a gap.
    pub(crate) fn begin_anew(&mut self, scopes: &[Scope], lost_at: Timestamp, now: Timestamp) {
        self.now = self.now.max(lost_at);
        self.rows.clear();
        for scope in scopes {
            let row = WatchPosition {
                cluster: self.cluster.clone(),
                cluster_uid: self.cluster_uid.clone(),
                resource: scope.name.clone(),
                // How many histories there were is not known: none had such a number.
                epoch: now.as_millis() / 1000,
                at: lost_at,
                selection: scope.selection.clone(),
                lost_at: Some(lost_at),
                ..WatchPosition::default()
            };
            self.rows.insert(scope.name.clone(), row);
            self.changed.insert(scope.name.clone());
        }
    }

    pub(crate) fn of(&self, scope: &Scope) -> Option<&WatchPosition> {
        self.rows.get(&scope.name)
    }

    /// How far Events were read by other scopes than that: in one namespace, or in all (an empty one).
    pub(crate) fn elsewhere(&self, scope: &Scope) -> Vec<Elsewhere> {
        let others = self.rows.values().filter(|row| row.resource != scope.name && scope.resource == Resource::Events);
        let read = |row: &WatchPosition| {
            let (namespace, resource) = row.resource.rsplit_once('/').unwrap_or(("", &row.resource));
            (resource == Resource::Events.name()).then(|| Elsewhere {
                namespace: namespace.to_owned(),
                epoch: row.epoch,
                version: row.resource_version.clone(),
            })
        };
        others.filter_map(read).collect()
    }

    /// The newest log time.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Log time goes on: to `clock`, but never back, and never twice the same.
    pub(crate) fn advance(&mut self, clock: Timestamp) -> Timestamp {
        self.now = clock.max(Timestamp::from_micros(self.now.as_micros().saturating_add(1)));
        self.now
    }

    /// The watch of `scope` has come that far.
    pub(crate) fn reach(&mut self, scope: &Scope, epoch: i64, reached: Reached) {
        let (list, version) = match reached {
            Reached::Same => return,
            Reached::Listed(progress) => (Some(progress), None),
            Reached::Version(version) => (None, Some(version)),
        };
        if !self.rows.contains_key(&scope.name) {
            let (cluster, cluster_uid) = (self.cluster.clone(), self.cluster_uid.clone());
            let resource = scope.name.clone();
            let row = WatchPosition { cluster, cluster_uid, resource, epoch, ..WatchPosition::default() };
            self.rows.insert(scope.name.clone(), row);
        }
        let Some(row) = self.rows.get_mut(&scope.name) else { return };
        (row.list_resource_version, row.list_key) =
            list.map_or_else(Default::default, |Progress { version, key }| (version, key));
        if let Some(version) = version {
            row.resource_version = version;
            row.at = self.now;
            row.epoch = epoch;
            row.selection.clone_from(&scope.selection);
            row.lost_at = None;
        }
        if !self.changed.contains(&scope.name) {
            self.changed.insert(scope.name.clone());
        }
    }

    /// A position moved since [`Positions::committed`].
    pub(crate) fn moved(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The rows that moved, and the cluster's log time.
    pub(crate) fn rows(&self, codec: &Codec) -> Result<Vec<Row>, CodecError> {
        self.encoded(codec, self.changed.iter().filter_map(|name| self.rows.get(name)))
    }

    /// All rows, and the cluster's log time.
    pub(crate) fn all(&self, codec: &Codec) -> Result<Vec<Row>, CodecError> {
        self.encoded(codec, self.rows.values())
    }

    fn encoded<'r>(
        &'r self,
        codec: &Codec,
        rows: impl Iterator<Item = &'r WatchPosition>,
    ) -> Result<Vec<Row>, CodecError> {
        let clock = WatchPosition {
            cluster: self.cluster.clone(),
            cluster_uid: self.cluster_uid.clone(),
            resource: CLOCK.to_owned(),
            at: self.now,
            ..WatchPosition::default()
        };
        let encode =
            |row: &WatchPosition| Ok((format!("{}/{}", self.cluster, row.resource).into_bytes(), codec.encode(row)?));
        rows.map(encode).chain(std::iter::once(encode(&clock))).collect()
    }

    /// What moved is in a commit.
    pub(crate) fn committed(&mut self) {
        self.changed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Scope {
        Scope::new(Resource::Events, "", "")
    }

    fn positions(uid: &str, rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Positions {
        Positions::read(&Codec::single_object(), "a", uid, rows).unwrap()
    }

    #[test]
    fn log_time_never_goes_back_not_even_over_a_restart() {
        let mut before = positions("1", &BTreeMap::new());
        assert_eq!(before.advance(Timestamp::from_micros(50)).as_micros(), 50);
        assert_eq!(before.advance(Timestamp::from_micros(7)).as_micros(), 51);
        let rows = before.rows(&Codec::single_object()).unwrap().into_iter().collect();
        assert_eq!(positions("1", &rows).advance(Timestamp::from_micros(7)).as_micros(), 52);
    }

    #[test]
    fn is_lost_until_a_list_has_ended() {
        let mut before = positions("1", &BTreeMap::new());
        before.begin_anew(&[events()], Timestamp::from_millis(7_000), Timestamp::from_millis(9_000));
        before.reach(&events(), 9, Reached::Listed(Progress { version: "20".into(), key: "ns/x".into() }));
        let rows = before.rows(&Codec::single_object()).unwrap().into_iter().collect();
        let mut after = positions("1", &rows);
        let row = after.of(&events()).unwrap();
        assert_eq!((row.lost_at, row.epoch), (Some(Timestamp::from_millis(7_000)), 9), "killed while it was listed");
        after.reach(&events(), 9, Reached::Version("20".into()));
        assert_eq!(after.of(&events()).unwrap().lost_at, None);
    }

    #[test]
    fn keeps_the_old_version_while_a_list_is_under_way() {
        let mut before = positions("1", &BTreeMap::new());
        before.reach(&events(), 0, Reached::Version("9".into()));
        before.reach(&events(), 1, Reached::Listed(Progress { version: "20".into(), key: "ns/x".into() }));
        let rows: BTreeMap<_, _> = before.rows(&Codec::single_object()).unwrap().into_iter().collect();
        let after = positions("1", &rows);
        let row = after.of(&events()).unwrap();
        assert_eq!((row.resource_version.as_str(), row.epoch, row.list_key.as_str()), ("9", 0, "ns/x"));
        assert!(positions("2", &rows).of(&events()).is_none(), "another cluster");
    }
}
