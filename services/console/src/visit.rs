//! The console as somebody sees it: with what their token is for (docs/adr/0031), and nothing else.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use epicenter_model::{CodecError, FLEET, Incident, Silence};
use epicenter_runtime::Access;

use crate::board::{Cluster, Heard, Held, Shown};
use crate::serve::Site;

/// A request to the console: what pages are made of, and for whom.
pub(crate) struct Visit {
    site: Arc<Site>,
    pub access: Access,
}

impl Deref for Visit {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// Of whom the guard let in; nobody, where it did not.
impl FromRequestParts<Arc<Site>> for Visit {
    type Rejection = <Access as FromRequestParts<()>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Self::Rejection> {
        let access = Access::from_request_parts(parts, site).await?;
        Ok(Self { site: Arc::clone(site), access })
    }
}

impl Visit {
    /// All of an incident that is held, as it is shown.
    ///
    /// # Errors
    /// When its document cannot be decoded.
    pub fn incident(&self, id: &str) -> Result<Option<Incident>, CodecError> {
        Ok(self.console.board.incident(id)?.and_then(|incident| self.access.show(incident)))
    }

    /// The head of an incident that is held, if it is shown.
    pub fn head<'h>(&self, held: &'h Held, id: &str) -> Option<&'h Incident> {
        held.find(id).map(|shown| &shown.head).filter(|head| self.access.sees_incident(head))
    }

    /// Incidents that are open, the worst first, then the newest.
    pub fn open<'h>(&'h self, held: &'h Held) -> impl Iterator<Item = &'h Shown> {
        held.open().filter(|shown| self.access.sees_incident(&shown.head))
    }

    /// Incidents that are over, the last first.
    pub fn ended<'h>(&'h self, held: &'h Held) -> impl Iterator<Item = &'h Shown> {
        held.ended().filter(|shown| self.access.sees_incident(&shown.head))
    }

    /// How many are open.
    pub fn open_count(&self, held: &Held) -> usize {
        if self.access.sees_all() { held.open_count() } else { self.open(held).count() }
    }

    /// Events, the newest first.
    pub fn events<'h>(&'h self, held: &'h Held) -> impl Iterator<Item = &'h Arc<Heard>> {
        held.events().filter(|event| self.access.sees(&event.cluster, &event.namespace))
    }

    /// Silences, in order of their end.
    pub fn silences(&self, held: &Held) -> Vec<Silence> {
        let is_shown = |silence: &&&Silence| match silence.matcher.incident.as_str() {
            "" => self.access.sees_silence(&silence.cluster, &silence.matcher),
            incident => self.access.sees_all() || self.head(held, incident).is_some(),
        };
        held.silences().iter().filter(is_shown).map(|silence| (*silence).clone()).collect()
    }

    /// Clusters by name.
    pub fn clusters<'h>(&'h self, held: &'h Held) -> impl Iterator<Item = (&'h String, &'h Cluster)> {
        held.clusters().iter().filter(|(name, _)| self.access.clusters.hold(name))
    }

    /// Clusters that have a log of their own.
    pub fn logs(&self, held: &Held) -> Vec<String> {
        self.clusters(held).map(|(name, _)| name).filter(|name| *name != FLEET).cloned().collect()
    }
}
