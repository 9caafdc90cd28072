//! What a token lets somebody see and do, by cluster and namespace.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use epicenter_model::{Incident, Matcher};
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Stands for all names; at the end of one, for all that begin so.
const ANY: &str = "*";

/// A token, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Whose it is, for messages.
    pub name: String,
    /// Where it is.
    pub token: Secret,
    /// Names of clusters that it shows; `*` is all, `prod-*` those that begin so.
    pub clusters: Vec<String>,
    /// The same of namespaces.
    pub namespaces: Vec<String>,
    /// It is also for commands, and for events of applications.
    pub write: bool,
}

impl Default for TokenConfig {
    fn default() -> Self {
        let all = || vec![ANY.to_owned()];
        Self { name: String::new(), token: Secret::default(), clusters: all(), namespaces: all(), write: false }
    }
}

impl TokenConfig {
    /// What is wrong with it: (key, what).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.name.is_empty() {
            problems.push(("name", "must be a name: messages tell whose token it is".to_owned()));
        }
        if self.token.file.is_some() == self.token.env.is_some() {
            problems.push(("token", "name either `file` or `env`, not both".to_owned()));
        }
        for (key, names) in [("clusters", &self.clusters), ("namespaces", &self.namespaces)] {
            let star = |name: &String| name.is_empty() || name.trim_end_matches(ANY).contains(ANY);
            if names.is_empty() || names.iter().any(star) {
                problems.push((key, "must be a list of names; `*` may stand at the end of one".to_owned()));
            }
        }
        problems
    }
}

/// Names, or beginnings of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// All names.
    pub fn all() -> Self {
        Self(vec![ANY.to_owned()])
    }

    /// Whether they are all names.
    pub fn are_all(&self) -> bool {
        self.0.iter().any(|name| name == ANY)
    }

    /// Whether `name` is one of them. What has none, such as a node's namespace, is only one of all.
    pub fn hold(&self, name: &str) -> bool {
        self.are_all()
            || !name.is_empty()
                && self.0.iter().any(|known| match known.strip_suffix(ANY) {
                    Some(beginning) => name.starts_with(beginning),
                    None => name == known,
                })
    }

    /// Each of them: a whole name, or `Err` with the beginning of some.
    pub fn each(&self) -> impl Iterator<Item = Result<&str, &str>> {
        self.0.iter().map(|name| name.strip_suffix(ANY).map_or(Ok(name.as_str()), Err))
    }
}

/// What somebody may see and do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub name: String,
    /// Clusters of which something is shown.
    pub clusters: Names,
    /// Namespaces of which something is shown.
    pub namespaces: Names,
    /// Commands are taken, too.
    pub write: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self::whole()
    }
}

impl Access {
    /// To everything.
    pub fn whole() -> Self {
        Self { name: "admin".to_owned(), clusters: Names::all(), namespaces: Names::all(), write: true }
    }

    /// That of a token.
    pub fn of(token: &TokenConfig) -> Self {
        let TokenConfig { name, clusters, namespaces, write, .. } = token;
        Self {
            name: name.clone(),
            clusters: Names(clusters.clone()),
            namespaces: Names(namespaces.clone()),
            write: *write,
        }
    }

    /// Whether nothing is kept from it.
    pub fn sees_all(&self) -> bool {
        self.clusters.are_all() && self.namespaces.are_all()
    }

    /// Whether what is in that namespace of that cluster is shown.
    pub fn sees(&self, cluster: &str, namespace: &str) -> bool {
        self.clusters.hold(cluster) && self.namespaces.hold(namespace)
    }

    /// Whether the incident is shown: it touches a namespace that is.
    pub fn sees_incident(&self, incident: &Incident) -> bool {
        let touched = incident.impact.namespaces.iter().chain([&incident.cause.object.namespace]);
        self.sees_any(&incident.cluster, touched.map(String::as_str))
    }

    /// The same of an incident of which it is only known what it touches.
    pub fn sees_any<'n>(&self, cluster: &str, mut touched: impl Iterator<Item = &'n str>) -> bool {
        self.clusters.hold(cluster)
            && (self.namespaces.are_all() || touched.any(|namespace| self.namespaces.hold(namespace)))
    }

    /// Whether a silence of such incidents is theirs to see and to end; one of a single incident is not decided here.
    pub fn sees_silence(&self, cluster: &str, matcher: &Matcher) -> bool {
        self.clusters.hold(cluster) && (self.namespaces.are_all() || self.namespaces.hold(&matcher.namespace))
    }

    /// The incident as it is shown, if it is: with what it touches in namespaces that are. Its title, cause, explanation and
    /// counts are those of the whole. Members that have no namespace, such as its node, are shown.
    pub fn show(&self, mut incident: Incident) -> Option<Incident> {
        if !self.sees_incident(&incident) {
            return None;
        }
        if !self.namespaces.are_all() {
            let shown = |namespace: &String| self.namespaces.hold(namespace);
            incident.impact.namespaces.retain(shown);
            incident.impact.workloads.retain(|workload| shown(&workload.namespace));
            incident
                .members
                .retain(|member| member.regarding.namespace.is_empty() || shown(&member.regarding.namespace));
            incident.truncated = (incident.events.objects - incident.members.len() as i64).max(0);
        }
        Some(incident)
    }
}

/// That which the admin endpoint let in with a request; nobody, where it did not.
impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or((StatusCode::FORBIDDEN, "nobody said who may read this\n"))
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Member, MemberObject, ObjectRef};

    use super::*;

    fn access(clusters: &[&str], namespaces: &[&str]) -> Access {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Access::of(&TokenConfig { clusters: names(clusters), namespaces: names(namespaces), ..TokenConfig::default() })
    }

    fn incident() -> Incident {
        let mut incident = Incident { cluster: "prod-1".into(), ..Incident::default() };
        incident.impact.namespaces = vec!["bank".into(), "shop".into()];
        incident.impact.workloads =
            vec![ObjectRef::named("Deployment", "bank", "api"), ObjectRef::named("Deployment", "shop", "web")];
        let member = |kind: &str, namespace: &str| Member {
            regarding: MemberObject { kind: kind.into(), namespace: namespace.into(), ..MemberObject::default() },
            ..Member::default()
        };
        incident.members = vec![member("Node", ""), member("Pod", "bank"), member("Pod", "shop")];
        incident.events.objects = 3;
        incident
    }

    #[test]
    fn an_incident_is_shown_with_what_it_touches_of_ones_own() {
        let check = |access: Access, expected: Option<(&[&str], usize, i64)>| {
            let shown = access.show(incident());
            let shown =
                shown.map(|it| (it.impact.namespaces, it.impact.workloads.len(), it.members.len(), it.truncated));
            let expected = expected.map(|(names, members, truncated)| {
                let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                (names.clone(), names.len(), members, truncated)
            });
            assert_eq!(shown, expected, "{access:?}");
        };
        check(Access::whole(), Some((&["bank", "shop"], 3, 0)));
        check(access(&["prod-*"], &["shop", "team-*"]), Some((&["shop"], 2, 1)));
        check(access(&["prod-1"], &["ban*"]), Some((&["bank"], 2, 1)));
        check(access(&["prod-2", "lab*"], &["*"]), None);
        check(access(&["*"], &["sho"]), None);
        assert!(!access(&["*"], &["shop"]).sees("prod-1", ""), "a node is everybody's, and nobody's");
        assert!(access(&["*"], &["*"]).sees("prod-1", ""));
    }

    #[test]
    fn says_what_is_wrong_with_a_token() {
        let problems = TokenConfig { namespaces: vec!["a*b".into()], ..TokenConfig::default() }.problems();
        let keys: Vec<_> = problems.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["name", "token", "namespaces"]);
    }
}
