//! Conditions over incidents.

use std::collections::HashMap;
use std::sync::Arc;

use cel::{Context, Env, Value};
use epicenter_model::{Incident, ObjectRef, Timestamp};

use crate::condition::{Condition, Vocabulary};
use crate::subject::{add_patterns, object, text};

/// What a condition can look at: `incident` with the fields of its document, flattened.
static OF_INCIDENTS: Vocabulary = Vocabulary {
    root: "incident",
    what: "an incident",
    fields: &[
        "severity",
        "category",
        "class",
        "state",
        "cluster",
        "title",
        "id",
        "object",
        "observed",
        "confidence",
        "namespaces",
        "workloads",
        "pods",
        "nodes",
        "occurrences",
        "reasons",
        "recurrence",
        "novelty",
        "duration",
    ],
    tables: &["object"],
    table: &["apiVersion", "kind", "namespace", "name"],
    variables: &[],
};

/// A condition in CEL over an incident, bounded by its form as those over Events are.
pub struct IncidentCondition {
    condition: Condition,
    patterns: Arc<rustc_hash::FxHashMap<String, regex::Regex>>,
    env: Arc<Env>,
}

impl std::fmt::Debug for IncidentCondition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.condition.fmt(f)
    }
}

impl IncidentCondition {
    /// Compiles `source`, and tries it; an error says what is wrong and how to mend it.
    pub fn compile(source: &str) -> Result<Self, String> {
        let condition = Condition::compile(source, &OF_INCIDENTS)?;
        let patterns = Arc::new(condition.patterns.iter().cloned().collect());
        let compiled = Self { condition, patterns, env: Arc::new(Env::stdlib()) };
        let sample = Incident { id: "epc-sample".into(), title: "a sample".into(), ..Incident::default() };
        compiled.condition.check(&compiled.subject(&sample, Timestamp::default()))?;
        Ok(compiled)
    }

    /// Whether it holds of `incident` at `now`; an error says why it cannot be told.
    pub fn holds(&self, incident: &Incident, now: Timestamp) -> Result<bool, String> {
        self.condition.holds(&self.subject(incident, now))
    }

    /// It can come to hold by the passing of time alone.
    pub fn watches_time(&self) -> bool {
        self.condition.fields.contains(&"duration")
    }

    fn subject(&self, incident: &Incident, now: Timestamp) -> Context<'static, 'static> {
        let mut subject = Context::with_env(Arc::clone(&self.env));
        let fields: HashMap<String, Value> =
            self.condition.fields.iter().map(|name| ((*name).to_owned(), field(incident, name, now))).collect();
        subject.add_variable_from_value(OF_INCIDENTS.root, fields);
        add_patterns(&mut subject, &self.patterns);
        subject
    }
}

fn field(incident: &Incident, name: &str, now: Timestamp) -> Value {
    match name {
        "severity" => text(incident.severity.name()),
        "category" => text(incident.category.name()),
        "class" => text(&incident.cause.class),
        "state" => text(incident.state.name()),
        "cluster" => text(&incident.cluster),
        "title" => text(&incident.title),
        "id" => text(&incident.id),
        "object" => object(&incident.cause.object),
        "observed" => Value::Bool(incident.cause.observed),
        "confidence" => Value::Float(incident.cause.confidence),
        "namespaces" => list(incident.impact.namespaces.iter().map(|name| text(name))),
        "workloads" => list(incident.impact.workloads.iter().map(workload)),
        "pods" => Value::Int(incident.impact.pods),
        "nodes" => Value::Int(incident.impact.nodes),
        "occurrences" => Value::Int(incident.events.occurrences),
        "reasons" => list(incident.events.by_reason.keys().map(|reason| text(reason))),
        "recurrence" => Value::Int(incident.recurrence.count),
        "novelty" => text(incident.recurrence.novelty.name()),
        "duration" => {
            let until = incident.resolved_at.unwrap_or(now);
            Value::Int(until.millis_since(incident.opened_at).max(0) / 1000)
        }
        _ => Value::Null,
    }
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::List(Arc::new(items.collect()))
}

fn workload(workload: &ObjectRef) -> Value {
    text(&format!("{}/{}/{}", workload.namespace, workload.kind, workload.name))
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Category, Novelty, Severity};

    use super::*;

    fn incident() -> Incident {
        let mut incident = Incident {
            id: "epc-1".into(),
            cluster: "prod".into(),
            severity: Severity::High,
            category: Category::Storage,
            opened_at: Timestamp::from_millis(1_000),
            ..Incident::default()
        };
        incident.cause.class = "volume.multi_attach".into();
        incident.cause.object = ObjectRef::named("Pod", "shop", "db-0");
        incident.impact.namespaces = vec!["shop".into(), "web".into()];
        incident.impact.workloads = vec![ObjectRef::named("StatefulSet", "shop", "db")];
        incident.impact.pods = 4;
        incident.recurrence.count = 7;
        incident.recurrence.novelty = Novelty::Object;
        incident
    }

    #[track_caller]
    fn check(condition: &str, expected: bool) {
        let compiled = IncidentCondition::compile(condition).unwrap();
        assert_eq!(compiled.holds(&incident(), Timestamp::from_millis(61_000)), Ok(expected), "{condition}");
    }

    #[test]
    fn looks_at_the_document() {
        check(r#"incident.severity in ["critical", "high"] && incident.category == "storage""#, true);
        check(r#"incident.class.startsWith("volume.")"#, true);
        check(r#""web" in incident.namespaces && incident.pods > 3"#, true);
        check(r#"incident.workloads.exists(it, it.matches("^shop/StatefulSet/"))"#, true);
        check(r#"incident.object.kind == "Pod" && incident.cluster == "test""#, false);
        check("incident.duration >= 60", true);
        check("incident.duration > 60 || incident.recurrence > 7", false);
        check(r#"incident.novelty == "object""#, true);
    }

    #[track_caller]
    fn check_wrong(condition: &str, expected: &str) {
        let what = IncidentCondition::compile(condition).unwrap_err();
        assert!(what.contains(expected), "{what}");
    }

    #[test]
    fn refuses_what_cannot_be_told() {
        check_wrong("incident.sevrity == 'high'", "an incident has no `sevrity`: it has severity, category");
        check_wrong("severity == 'high'", "there is no `severity`: there are incident.FIELD");
        check_wrong("incident.pods", "not true or false");
        check_wrong("incident.object.uid == ''", "incident.object has no `uid`: it has apiVersion");
        check_wrong("incident.pods >", "this is no CEL");
    }

    #[test]
    fn knows_what_time_changes() {
        let watches = |text: &str| IncidentCondition::compile(text).unwrap().watches_time();
        assert!(watches("incident.duration > 5") && !watches("incident.pods > 5"));
    }
}
