//! Makes one cluster's objects show what the documents say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use epicenter_model::{Incident, Timestamp};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior};

use crate::api::{ApiFault, Blocked, INSTALL, call};
use crate::crd::{IncidentObject, IncidentSpec, IncidentStatus};
use crate::event;
use crate::objects::ObjectsConfig;
use crate::rank::{Rank, surplus};

pub(crate) const FIELD_MANAGER: &str = "epicenter-sink";
const CLUSTER_LABEL: &str = "epicenter.dev/cluster";
const SEVERITY_LABEL: &str = "epicenter.dev/severity";
const STATE_LABEL: &str = "epicenter.dev/state";
const CATEGORY_LABEL: &str = "epicenter.dev/category";
/// Objects in one page of a list.
const PAGE: u32 = 100;

/// Something to do in the cluster. Doing it again has no effect.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// Look at what is there, and remove what is there no longer any use for.
    Sweep,
    /// Show this document.
    Apply(Box<Incident>),
    /// The incident's document no longer exists.
    Remove(String),
}

/// Writes the objects of one cluster, never faster than configured.
pub(crate) struct Writer {
    client: Client,
    incidents: Api<IncidentObject>,
    cluster: String,
    config: ObjectsConfig,
    pace: Interval,
    /// The objects that are there, as the last sweep and the writes since left them.
    objects: BTreeMap<String, Rank>,
    /// Namespaces in which Events cannot be written: said once.
    silent: BTreeSet<String>,
}

impl Writer {
    pub(crate) fn new(client: Client, cluster: String, config: ObjectsConfig) -> Self {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / config.writes_per_second.max(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let incidents = Api::all(client.clone());
        Self { client, incidents, cluster, config, pace, objects: BTreeMap::new(), silent: BTreeSet::new() }
    }

    /// Does `work`. What the API server refuses for good is logged and left.
    pub(crate) async fn perform(&mut self, work: &Work, now: Timestamp) -> Result<(), Blocked> {
        let outcome = match work {
            Work::Sweep => self.sweep(now).await,
            Work::Apply(document) => self.apply(document, now).await,
            Work::Remove(id) => self.remove(id).await,
        };
        match outcome {
            Ok(()) | Err(ApiFault::Newer | ApiFault::Exists) => Ok(()),
            Err(ApiFault::Missing) => Err(Blocked::new(format!(
                "the custom resource incidents.epicenter.dev does not exist in cluster {}, or not as v1alpha1: {INSTALL}",
                self.cluster
            ))),
            Err(ApiFault::Forbidden(why)) => Err(Blocked::new(format!(
                "{why}. Allow get, list, create, patch and delete of incidents.epicenter.dev and patch of \
                 incidents/status; if the custom resource does not exist yet, {INSTALL}"
            ))),
            Err(ApiFault::Refused(why)) => {
                tracing::error!(cluster = self.cluster, why, "the API server refuses an incident; it is left out");
                Ok(())
            }
            Err(ApiFault::Blocked(blocked)) => Err(blocked),
        }
    }

    async fn sweep(&mut self, now: Timestamp) -> Result<(), ApiFault> {
        let mut objects = BTreeMap::new();
        let mut page = ListParams::default().limit(PAGE).labels(&format!("{CLUSTER_LABEL}={}", label(&self.cluster)));
        loop {
            let list = call("list incidents", self.incidents.list(&page)).await?;
            for object in list.items {
                if object.spec.cluster == self.cluster {
                    // One without status was created just before a crash: the document that it is for comes again.
                    let rank = Rank::of_object(&object.status.unwrap_or_default(), self.config.log_epoch);
                    objects.insert(object.metadata.name.unwrap_or_default(), rank);
                }
            }
            match list.metadata.continue_ {
                Some(token) if !token.is_empty() => page = page.continue_token(&token),
                _ => break,
            }
        }
        self.objects = objects;
        let surplus = surplus(&self.objects, self.oldest_kept(now), self.config.max_objects);
        for (id, rank) in surplus {
            self.drop_from_cluster(&id, rank).await?;
        }
        Ok(())
    }

    fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        now.plus_millis(-self.config.retention_hours.saturating_mul(3600 * 1000))
    }

    async fn drop_from_cluster(&mut self, id: &str, rank: Rank) -> Result<(), ApiFault> {
        if let Rank::Open(severity, _) = rank {
            let (cluster, limit) = (&self.cluster, self.config.max_objects);
            tracing::warn!(cluster, id, %severity, limit, "too many open incidents: the least severe has no object in the cluster");
        }
        self.remove(id).await
    }

    async fn remove(&mut self, id: &str) -> Result<(), ApiFault> {
        if self.objects.contains_key(id) {
            self.pace.tick().await;
            match call("delete incident", self.incidents.delete(id, &DeleteParams::default())).await {
                Ok(_) | Err(ApiFault::Missing) => {}
                Err(fault) => return Err(fault),
            }
            self.objects.remove(id);
        }
        Ok(())
    }

    async fn apply(&mut self, document: &Incident, now: Timestamp) -> Result<(), ApiFault> {
        let rank = Rank::of(document);
        if rank.expired(self.oldest_kept(now)) {
            return self.remove(&document.id).await;
        }
        if !self.make_room(document, rank).await? {
            return Ok(());
        }
        // Twice, in case somebody deletes the object meanwhile.
        match self.show(document, now).await {
            Err(ApiFault::Missing) => self.show(document, now).await?,
            outcome => outcome?,
        }
        self.objects.insert(document.id.clone(), rank);
        Ok(())
    }

    /// Whether there is room for an object of that rank, if need be that of a lower one.
    async fn make_room(&mut self, document: &Incident, rank: Rank) -> Result<bool, ApiFault> {
        if self.objects.contains_key(&document.id) || self.objects.len() < self.config.max_objects {
            return Ok(true);
        }
        let lowest = self.objects.iter().min_by_key(|(_, rank)| **rank).map(|(id, rank)| (id.clone(), *rank));
        match lowest {
            Some((id, lowest)) if lowest < rank => {
                self.drop_from_cluster(&id, lowest).await?;
                Ok(true)
            }
            _ => {
                let (cluster, id, limit) = (&self.cluster, &document.id, self.config.max_objects);
                tracing::warn!(cluster, id, limit, "too many incidents: this one has no object in the cluster");
                Ok(false)
            }
        }
    }

    async fn show(&mut self, document: &Incident, now: Timestamp) -> Result<(), ApiFault> {
        let id = &document.id;
        let shown = call("get incident", self.incidents.get_opt(id)).await?;
        let labels = self.labels(document);
        let labelled = shown
            .as_ref()
            .is_some_and(|object| labels.iter().all(|(name, value)| object.labels().get(name) == Some(value)));
        let exists = shown.is_some();
        let before = shown.and_then(|object| object.status);
        let position = (self.config.log_epoch, document.version);
        if before.as_ref().is_some_and(|before| before.position() > position) {
            return Ok(());
        }
        if !exists {
            self.patch_object(document, &labels).await?;
        }
        if before.as_ref().is_none_or(|before| before.position() < position) {
            // The Event first: once the status is written, nobody sees any more that something happened.
            self.tell(before.as_ref().map(|before| &before.document), document, now).await?;
            self.patch_status(document, before.as_ref()).await?;
        }
        // Labels after the status, which is guarded: they cannot go back alone.
        if exists && !labelled {
            self.patch_object(document, &labels).await?;
        }
        Ok(())
    }

    async fn patch_object(&mut self, document: &Incident, labels: &BTreeMap<String, String>) -> Result<(), ApiFault> {
        let spec = IncidentSpec { cluster: document.cluster.clone(), id: document.id.clone() };
        let mut object = IncidentObject::new(&document.id, spec);
        object.metadata = ObjectMeta { labels: Some(labels.clone()), ..object.metadata };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.pace.tick().await;
        call("apply incident", self.incidents.patch(&document.id, &params, &Patch::Apply(&object))).await?;
        Ok(())
    }

    async fn patch_status(&mut self, document: &Incident, before: Option<&IncidentStatus>) -> Result<(), ApiFault> {
        let status = IncidentStatus::new(document, self.config.log_epoch, before);
        let patch = Patch::Apply(json!({
            "apiVersion": IncidentObject::api_version(&()),
            "kind": IncidentObject::kind(&()),
            "metadata": {"name": document.id},
            "status": status,
        }));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.pace.tick().await;
        call("apply incident status", self.incidents.patch_status(&document.id, &params, &patch)).await?;
        Ok(())
    }

    /// An Event that cannot be written is no reason to hold the incidents up.
    async fn tell(&mut self, before: Option<&Incident>, document: &Incident, now: Timestamp) -> Result<(), ApiFault> {
        let Some(event) = event::of(before, document, now, &self.config.instance) else { return Ok(()) };
        let namespace = event.namespace().unwrap_or_default();
        let events = Api::namespaced(self.client.clone(), &namespace);
        self.pace.tick().await;
        match call("create event", events.create(&PostParams::default(), &event)).await {
            Ok(_) | Err(ApiFault::Exists) => {}
            // The namespace has gone, with the workload.
            Err(ApiFault::Missing | ApiFault::Newer) => {}
            Err(ApiFault::Forbidden(why) | ApiFault::Refused(why)) => {
                if self.silent.insert(namespace.clone()) {
                    let mend = "allow create of events.events.k8s.io";
                    tracing::warn!(cluster = self.cluster, namespace, why, mend, "incidents are not told of by Events");
                }
            }
            Err(ApiFault::Blocked(blocked)) => return Err(ApiFault::Blocked(blocked)),
        }
        Ok(())
    }

    fn labels(&self, document: &Incident) -> BTreeMap<String, String> {
        let labels = [
            (CLUSTER_LABEL, label(&self.cluster)),
            (SEVERITY_LABEL, document.severity.name().to_owned()),
            (STATE_LABEL, document.state.name().to_owned()),
            (CATEGORY_LABEL, document.category.name().to_owned()),
        ];
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// `text` as the value of a label: at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn label(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let value: String = text.chars().map(allowed).take(63).collect();
    value.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests;
