//! Which incidents a receiver is told of.

use std::time::Duration;

use epicenter_model::{Incident, Severity, Timestamp};
use epicenter_rules::IncidentCondition;

/// A rule of the file.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The least severity that it concerns.
    pub severity: Severity,
    /// What must hold besides.
    pub when: Option<IncidentCondition>,
    /// Who is told; nobody when it mutes.
    pub receivers: Vec<String>,
    /// The rules after it are asked too.
    pub goes_on: bool,
    /// How long an incident must be open before it is told: it gathers its Events, or passes.
    pub group_wait: Duration,
    /// After that time an incident that is still open is told again.
    pub repeat_interval: Duration,
}

/// The rules, in their order.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

impl Rule {
    fn holds(&self, incident: &Incident, now: Timestamp) -> bool {
        if incident.backfill || incident.severity < self.severity {
            return false;
        }
        let told = |problem: String| {
            tracing::warn!(rule = self.name, incident = incident.id, problem, "a condition cannot be told");
            false
        };
        self.when.as_ref().is_none_or(|when| when.holds(incident, now).unwrap_or_else(told))
    }
}

impl Rules {
    /// Those that concern `incident` at `now`: the first that holds, and the next ones as long as they go on.
    pub fn of(&self, incident: &Incident, now: Timestamp) -> Vec<&Rule> {
        let mut found = Vec::new();
        for rule in self.0.iter().filter(|rule| rule.holds(incident, now)) {
            found.push(rule);
            if !rule.goes_on {
                break;
            }
        }
        found
    }

    /// The first of them that names `receiver`.
    pub fn route(&self, receiver: &str, incident: &Incident, now: Timestamp) -> Option<&Rule> {
        let names = |rule: &&Rule| rule.receivers.iter().any(|name| name == receiver);
        self.of(incident, now).into_iter().find(names)
    }

    /// Some rule can come to hold by the passing of time alone.
    pub fn watch_time(&self) -> bool {
        self.0.iter().any(|rule| rule.when.as_ref().is_some_and(IncidentCondition::watches_time))
    }
}
