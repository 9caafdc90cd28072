//! Clusters of which nothing is heard, while others go on.

use epicenter_model::{FLEET, FleetRecord, Timestamp, Transition, incident_id};
use serde::{Deserialize, Serialize};

use super::Step;
use super::state::Key;
use super::tell::Head;

/// A cluster that was silent for so long, ms, is forgotten: as long as the log keeps what it said.
const FORGET_MS: i64 = 7 * 24 * 3600 * 1000;

/// What is known of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// When it was heard last, by the log's time and by the quiet clock.
    pub at: Timestamp,
    pub heard: i64,
    /// The incident of its silence, and the quiet clock when it was noticed.
    pub silent: Option<(Head, i64)>,
}

impl Step<'_> {
    /// Whoever speaks is not silent. Heartbeats make a cluster known; the last one, and what is told after it, do not.
    pub(super) fn hear(&mut self, record: &FleetRecord) {
        let name = record.cluster();
        let begins = match record {
            FleetRecord::Heartbeat(beat) if beat.last => return,
            FleetRecord::Heartbeat(_) => true,
            FleetRecord::Signal(_) => false,
            FleetRecord::Command(_) => return,
        };
        let clock = self.fleet.clock;
        let Some(mut cluster) = self.take(name).or_else(|| begins.then(Cluster::default)) else { return };
        (cluster.at, cluster.heard) = (clock.now, clock.quiet);
        if let Some((mut head, _)) = cluster.silent.take() {
            self.tell_silence(name, &mut head, Transition::Resolved, "It is heard again.");
            self.fall_silent(&head.id);
        }
        self.keep(name, cluster);
    }

    /// Opens the incidents of those that have been silent for too long.
    pub(super) fn notice_silence(&mut self) {
        let quiet = self.fleet.clock.quiet;
        let after = self.rules.silent.after_s * 1000;
        while let Some((_, name)) = self.fleet.speaking.first().filter(|(heard, _)| quiet - heard >= after).cloned() {
            let Some(mut cluster) = self.take(&name) else { return };
            let id = incident_id(FLEET, &format!("silent/{name}"), cluster.at.as_micros());
            let mut head = Head { id, opened_at: cluster.at, ..Head::default() };
            self.tell_silence(&name, &mut head, Transition::Opened, "");
            cluster.silent = Some((head, quiet));
            self.keep(&name, cluster);
        }
        while let Some((_, name)) = self.fleet.silent.first().filter(|(since, _)| quiet - since >= FORGET_MS).cloned() {
            self.drop(&name, "It was silent for a week, and nothing more is expected of it.");
        }
    }

    /// A cluster was taken out on purpose.
    pub(super) fn leave(&mut self, name: &str) {
        self.drop(name, "It was taken out of Epicenter's configuration.");
    }

    fn drop(&mut self, name: &str, why: &str) {
        let Some(mut cluster) = self.take(name) else { return };
        if let Some((head, _)) = &mut cluster.silent {
            self.tell_silence(name, head, Transition::Resolved, why);
            let id = head.id.clone();
            self.fall_silent(&id);
        }
        self.delete(&Key::Cluster(name.to_owned()));
        self.end_all(name);
    }

    fn take(&mut self, name: &str) -> Option<Cluster> {
        let cluster = self.fleet.clusters.remove(name)?;
        let (set, at) = self.fleet.place_of(&cluster);
        set.remove(&(at, name.to_owned()));
        Some(cluster)
    }

    fn keep(&mut self, name: &str, cluster: Cluster) {
        self.put(&Key::Cluster(name.to_owned()), &cluster);
        self.fleet.know(name.to_owned(), cluster);
    }
}
