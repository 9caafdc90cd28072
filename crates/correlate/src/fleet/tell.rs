//! Incidents of the fleet, as they are told.

use std::collections::BTreeSet;

use epicenter_model::{
    Because, Candidate, Category, Cause, EventCounts, FLEET, Incident, IncidentChange, IncidentState, Member,
    MemberObject, ObjectRef, Severity, Timestamp, Transition,
};
use serde::{Deserialize, Serialize};

use super::Step;
use super::case::{Case, CaseId, Place, Sighting};
use super::state::Key;
use crate::ENGINE;
use crate::phrase::{capital, clock, plural};
use crate::score::rounded;

/// Clusters that a sentence names; it counts the others.
const NAMED: usize = 10;
/// That nothing is heard is certain; that the cluster is to blame for it is not.
const SILENT: f64 = 0.9;

/// An incident of the fleet without what makes it one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub id: String,
    pub version: i64,
    pub opened_at: Timestamp,
    pub last_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// The quiet clock until which it can come back, once it is over.
    pub until: i64,
}

/// What an incident is told as.
struct Story {
    class: String,
    object: ObjectRef,
    observed: bool,
    confidence: f64,
    category: Category,
    severity: Severity,
    title: String,
    explanation: Vec<String>,
    events: EventCounts,
    members: Vec<Member>,
}

impl Step<'_> {
    /// Tells that a cluster is silent, or no longer; `why` it is over.
    pub(super) fn tell_silence(&mut self, name: &str, head: &mut Head, transition: Transition, why: &str) {
        let now = self.fleet.clock.now;
        let rule = &self.rules.silent;
        let fill = |text: &str| text.replace("{name}", name);
        let mut explanation = vec![format!("{} It was heard last at {}.", fill(&rule.why), clock(head.opened_at))];
        if transition == Transition::Resolved {
            head.resolved_at = Some(now);
            explanation.push(why.to_owned());
        } else {
            explanation.push(format!("Look at: {}", fill(&rule.look)));
        }
        head.last_at = now;
        let story = Story {
            class: rule.class.clone(),
            object: ObjectRef::named("Cluster", "", name),
            observed: true,
            confidence: SILENT,
            category: rule.category,
            severity: rule.severity,
            title: capital(&fill(&rule.title)),
            explanation,
            events: EventCounts::default(),
            members: Vec::new(),
        };
        self.tell(head, transition, story);
    }

    /// Tells the incident of a case; of its members only `changed`.
    pub(super) fn tell_case(&mut self, id: &CaseId, transition: Transition, changed: &[Place]) {
        let Some(rule) = self.rules.get(&id.0) else { return };
        let Some(case) = self.fleet.cases.get(id) else { return };
        let Some(mut head) = case.incident.clone() else { return };
        let fill = |text: &str| text.replace("{name}", &id.1);
        let clusters = clusters(case, |_| true);
        let mut events = EventCounts::default();
        for (_, sighting) in case.members() {
            events.objects += 1;
            events.occurrences += 1;
            *events.by_reason.entry(sighting.class.clone()).or_default() += 1;
        }
        let first = case.members().min_by_key(|(place, sighting)| (sighting.since, *place));
        let since = head.opened_at;
        let member = |place: &Place| {
            let sighting = case.sightings.get(place).filter(|sighting| sighting.member)?;
            Some(self::member(place, sighting, &rule.id, since, rule.weight))
        };
        let evidence = 1.0 + libm::log(clusters.len().saturating_sub(1).max(1) as f64);
        let story = Story {
            class: rule.id.clone(),
            object: ObjectRef::named(&rule.entity, "", &id.1),
            observed: false,
            confidence: rounded((1.0 - libm::pow(1.0 - rule.weight, evidence)).min(0.99)),
            category: first.map_or(Category::Other, |(_, sighting)| sighting.category),
            severity: case.members().map(|(_, sighting)| sighting.severity).max().unwrap_or_default(),
            title: format!(
                "{}: {} affected",
                capital(&fill(&rule.title)),
                plural(i64::try_from(clusters.len()).unwrap_or(i64::MAX), "cluster")
            ),
            explanation: explain(case, &fill(&rule.why), since, &clusters),
            members: changed.iter().filter_map(member).collect(),
            events,
        };
        self.tell(&mut head, transition, story);
        self.put(&Key::Case(id.clone()), &head);
        if let Some(case) = self.fleet.cases.get_mut(id) {
            case.incident = Some(head);
        }
    }

    fn tell(&mut self, head: &mut Head, transition: Transition, story: Story) {
        head.version += 1;
        let Story { class, object, observed, confidence, .. } = story;
        let candidate = Candidate { class: class.clone(), object: object.clone(), observed, confidence };
        let voice = self.fleet.voices.get(&head.id).cloned().unwrap_or_default();
        if voice.is_heard() {
            self.put(&Key::Voice(head.id.clone()), &voice);
        }
        let state = if head.resolved_at.is_some() { IncidentState::Resolved } else { IncidentState::Open };
        let incident = Incident {
            id: head.id.clone(),
            version: head.version,
            cluster: FLEET.to_owned(),
            state,
            severity: story.severity,
            category: story.category,
            title: story.title,
            cause: Cause { class, object, observed, confidence, candidates: vec![candidate] },
            explanation: story.explanation,
            events: story.events,
            opened_at: head.opened_at,
            last_event_at: head.last_at,
            resolved_at: head.resolved_at,
            members: story.members,
            acknowledged: voice.acknowledged,
            notes: voice.notes,
            ..Incident::default()
        };
        self.effects.changes.push(IncidentChange {
            at: self.fleet.clock.now,
            transition,
            engine: ENGINE.to_owned(),
            rules: self.rules.hash().to_owned(),
            backfill: false,
            incident,
        });
    }
}

/// Clusters of members that `wanted` takes.
fn clusters(case: &Case, wanted: impl Fn(&Sighting) -> bool) -> BTreeSet<&str> {
    case.members().filter(|(_, sighting)| wanted(sighting)).map(|((cluster, _), _)| cluster.as_str()).collect()
}

fn explain(case: &Case, why: &str, since: Timestamp, all: &BTreeSet<&str>) -> Vec<String> {
    let mut sentences = vec![format!("{why} It began at {}.", clock(since))];
    sentences.push(format!("It shows in {}.", names(all)));
    let goes_on = clusters(case, |sighting| sighting.over.is_none());
    let over: BTreeSet<&str> = all.difference(&goes_on).copied().collect();
    if !over.is_empty() && !goes_on.is_empty() {
        sentences.push(format!("It is over in {}.", names(&over)));
    }
    let worst = case.members().max_by_key(|(place, one)| (one.over.is_none(), one.severity, std::cmp::Reverse(*place)));
    if let Some(((cluster, incident), _)) = worst {
        sentences.push(format!("Look at: epicenter show {incident} (in {cluster})"));
    }
    sentences
}

/// `clusters a, b and c`, `clusters a, b, … and 7 more`.
fn names(clusters: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = clusters.iter().take(NAMED).copied().collect();
    let more = clusters.len() - shown.len();
    match (shown.as_slice(), more) {
        ([one], 0) => format!("cluster {one}"),
        ([before @ .., last], 0) => format!("clusters {} and {last}", before.join(", ")),
        (shown, more) => format!("clusters {} and {more} more", shown.join(", ")),
    }
}

/// A cluster's incident as a member of the fleet's: its id stands for an Event's.
fn member(place: &Place, sighting: &Sighting, rule: &str, first: Timestamp, weight: f64) -> Member {
    let (cluster, incident) = place;
    Member {
        event_uid: incident.clone(),
        name: incident.clone(),
        reason: sighting.class.clone(),
        regarding: MemberObject { kind: "Cluster".to_owned(), name: cluster.clone(), ..MemberObject::default() },
        role: "symptom".to_owned(),
        occurrences: 1,
        because: Some(Because {
            rule: rule.to_owned(),
            lag_ms: sighting.since.millis_since(first),
            score: rounded(weight),
            ..Because::default()
        }),
        ..Member::default()
    }
}
