//! What is watched.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::ExporterConfig;
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

    fn is_namespaced(self) -> bool {
        match self {
            Self::Events => true,
            Self::Objects(kind) => kind.is_namespaced(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// As its name.
impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == Self::Events.name() {
            return Ok(Self::Events);
        }
        Kind::deserialize(serde::de::value::StringDeserializer::new(name)).map(Self::Objects)
    }
}

/// A resource, as far as it is read: in one namespace or in all, by selectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) resource: Resource,
    /// Empty for all namespaces.
    pub(crate) namespace: String,
    /// The selectors as a query; empty for everything.
    pub(crate) selection: String,
    /// `pods`, or `team-a/pods`.
    pub(crate) name: String,
}

impl Scope {
    /// What `config` reads, objects before Events.
    pub(crate) fn all(config: &ExporterConfig) -> Vec<Self> {
        let objects = config.objects.iter().copied().map(Resource::Objects);
        objects.chain(std::iter::once(Resource::Events)).flat_map(|resource| Self::of(config, resource)).collect()
    }

    pub(crate) fn new(resource: Resource, namespace: &str, selection: &str) -> Self {
        let name = if namespace.is_empty() { resource.to_string() } else { format!("{namespace}/{resource}") };
        Self { resource, namespace: namespace.to_owned(), selection: selection.to_owned(), name }
    }

    fn of(config: &ExporterConfig, resource: Resource) -> Vec<Self> {
        let selector = config.selectors.get(&resource).cloned().unwrap_or_default();
        let given = [("fieldSelector", selector.fields), ("labelSelector", selector.labels)];
        let given = given.iter().filter(|(_, text)| !text.is_empty());
        let selection = given.map(|(name, text)| format!("{name}={}", escaped(text))).collect::<Vec<_>>().join("&");
        let scope = |namespace: &str| Self::new(resource, namespace, &selection);
        if config.namespaces.is_empty() || !resource.is_namespaced() {
            return vec![scope("")];
        }
        config.namespaces.iter().map(|namespace| scope(namespace)).collect()
    }

    /// A request for it; `query` says what of it.
    pub(crate) fn uri(&self, query: &str) -> String {
        let api_version = match self.resource {
            Resource::Events => "v1",
            Resource::Objects(kind) => kind.api_version(),
        };
        let root = if api_version.contains('/') { "apis" } else { "api" };
        let namespace = match self.namespace.as_str() {
            "" => String::new(),
            name => format!("namespaces/{name}/"),
        };
        let selection = if self.selection.is_empty() { String::new() } else { format!("&{}", self.selection) };
        format!("/{root}/{api_version}/{namespace}{}?{query}{selection}", self.resource)
    }
}

/// `text` in a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Selector;

    #[test]
    fn escapes_what_has_a_meaning_in_a_query() {
        assert_eq!(escaped("aZ9-_.~ +/=&ü"), "aZ9-_.~%20%2B%2F%3D%26%C3%BC");
    }

    #[test]
    fn asks_for_what_is_selected_in_each_namespace() {
        let selector = Selector { fields: "type!=Normal".into(), labels: "a in (b)".into() };
        let config = ExporterConfig {
            objects: vec![Kind::Node, Kind::Deployment],
            namespaces: vec!["x".into(), "y".into()],
            selectors: [(Resource::Events, selector)].into(),
            ..ExporterConfig::default()
        };
        let asked: Vec<_> =
            Scope::all(&config).iter().map(|scope| (scope.name.clone(), scope.uri("limit=1"))).collect();
        let events = "fieldSelector=type%21%3DNormal&labelSelector=a%20in%20%28b%29";
        let expected = [
            ("nodes", "/api/v1/nodes?limit=1".to_owned()),
            ("x/deployments", "/apis/apps/v1/namespaces/x/deployments?limit=1".to_owned()),
            ("y/deployments", "/apis/apps/v1/namespaces/y/deployments?limit=1".to_owned()),
            ("x/events", format!("/api/v1/namespaces/x/events?limit=1&{events}")),
            ("y/events", format!("/api/v1/namespaces/y/events?limit=1&{events}")),
        ];
        assert_eq!(asked, expected.map(|(name, uri)| (name.to_owned(), uri)));
    }
}
