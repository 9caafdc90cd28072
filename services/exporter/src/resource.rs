//! What is watched.

use std::fmt;

use crate::project::Kind;

/// A resource of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Events, by core/v1; events.k8s.io shows the same objects.
    Events,
    /// Objects of which something is kept.
    Objects(Kind),
}

impl Resource {
    /// Its name, such as `pods`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Objects(kind) => kind.plural(),
        }
    }

    /// Its path on the API server, all namespaces.
    pub(crate) fn path(self) -> String {
        let api_version = match self {
            Self::Events => "v1",
            Self::Objects(kind) => kind.api_version(),
        };
        let root = if api_version.contains('/') { "apis" } else { "api" };
        format!("/{root}/{api_version}/{}", self.name())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
