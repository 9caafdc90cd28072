//! To which incident an Event belongs.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::{EnrichedEvent, ObjectRef, Role, Severity, Transition, incident_id};

use crate::edge::Edge;
use crate::entity::{EventRef, Heard, bounded};
use crate::incoming::Incoming;
use crate::live::{Candidate, Cap, Head, Live, STAYS_MS};
use crate::merge::Effect;
use crate::parents::Parent;
use crate::quiet::Excuse;
use crate::row::{Reason, Row, RowRole};
use crate::score::{When, rounded};
use crate::source::{Blame, Passes};
use crate::state::Engine;
use crate::wire::Key;

/// Kinds that make pods.
const WORKLOADS: [&str; 9] = [
    "CronJob",
    "DaemonSet",
    "Deployment",
    "DeploymentConfig",
    "Job",
    "ReplicaSet",
    "ReplicationController",
    "Rollout",
    "StatefulSet",
];

impl Engine<'_> {
    /// An Event: learn from it, end what it ends, place it, remember it.
    pub fn event(&mut self, event: &EnrichedEvent) {
        if self.state.clock.cluster_uid.is_empty() {
            self.state.clock.cluster_uid.clone_from(&event.cluster_uid);
        }
        let rules = self.rules;
        let class = rules.class(&event.class);
        let object = self.learn(event);
        let known = self.state.uids.get(bounded(&event.event.uid));
        if class.gone || event.context.deleting {
            self.gone(event, object);
        }
        if !class.recovers.is_empty() && !event.backfill {
            self.recover(event, object);
        }
        if class.follow.is_empty() && known.is_none() && !symptomatic(event) {
            return;
        }
        let (first, since) = (event.occurred_at, event.at);
        let when = When { first, last: first, since, at: since };
        let links = self.links(event, object, class.follow);
        let mut incoming = Incoming { event, object, links, blamed: object, when };
        let mut place = None;
        if let Some((no, number)) = known {
            self.again(no, number, event);
            place = Some((no, number));
        } else if symptomatic(event) {
            self.meet_namesakes(event, object);
            let blamed = self.blame(event, object);
            // What somebody parted from what it would blame has itself to blame.
            if !self.is_parted_from(&incoming, blamed) {
                incoming.blamed = blamed;
            }
            place = self.place(&incoming);
        } else if event.role == Role::Change && event.severity >= Severity::Low && !event.backfill {
            place = self.follow(&incoming);
        }
        self.mark(&incoming, place, known.is_some());
        if let Some((no, _)) = place.filter(|_| symptomatic(event)) {
            self.outlasts(no, &incoming);
        }
        if place.is_some() && !class.common.is_empty() {
            self.common_cause(&incoming);
        }
    }

    /// Remembers an Event on the objects that are linked with its own.
    fn mark(&mut self, incoming: &Incoming<'_>, place: Option<(u64, u32)>, repeat: bool) {
        let event = incoming.event;
        let marked = self.rules.class(&event.class).mark;
        if marked.is_empty() {
            return;
        }
        let owner = self.state.entities.top(incoming.object);
        // One for all objects on which it is remembered.
        let mut shared: Option<Arc<EventRef>> = None;
        for (edge, id) in incoming.links.iter().filter(|(edge, _)| marked.contains(*edge)) {
            let (occurred_at, at, began) = (event.occurred_at, event.at, incoming.began());
            let heard = Heard { edge, class: &event.class, place, occurred_at, at, began, owner, repeat };
            let make = || Arc::clone(shared.get_or_insert_with(|| Arc::new(reference(event, incoming.object))));
            self.state.entities.mark(id, &heard, make);
        }
    }

    /// Finds the incident of a new symptom or cause, or opens one. `None` when a planned change explains it.
    fn place(&mut self, incoming: &Incoming<'_>) -> Option<(u64, u32)> {
        let event = incoming.event;
        let class = self.rules.class(&event.class);
        let mut parents = self.parents(incoming);
        parents.extend(self.alike(incoming));
        let (home, all) = (self.home(incoming), parents.len());
        parents.retain(|parent| self.may_be_in(home, parent.place.map(|(no, _)| no)));
        let kept_apart = home.filter(|_| parents.len() < all).or_else(|| self.claimed(incoming));
        // Noisy-or over the parents of each incident; those of none count alone.
        let mut joint: Vec<(Option<u64>, f64, usize)> = Vec::new();
        for (index, parent) in parents.iter().enumerate() {
            let no = parent.place.map(|(no, _)| no);
            match joint.iter_mut().find(|(known, ..)| no.is_some() && *known == no) {
                Some((_, miss, best)) => {
                    *miss *= 1.0 - parent.score;
                    // A causal rule says more than mere likeness.
                    let weight = |parent: &Parent<'_>| (parent.causal, parent.score);
                    if weight(parent) > weight(&parents[*best]) {
                        *best = index;
                    }
                }
                None => joint.push((no, 1.0 - parent.score, index)),
            }
        }
        let best = |of: &dyn Fn(Option<u64>) -> bool| {
            let mut found: Option<(f64, usize)> = None;
            for (no, miss, index) in joint.iter().filter(|(no, ..)| of(*no)) {
                // Of equals the older incident.
                let score = 1.0 - miss;
                let older = |other: usize| parents[other].place.map(|(no, _)| no) > *no;
                if found.is_none_or(|(most, other)| score > most || score == most && older(other)) {
                    found = Some((score, *index));
                }
            }
            found
        };
        let incident = best(&|no| no.is_some()).filter(|(score, _)| *score >= class.own);
        let before = best(&|no| no.is_none()).filter(|(score, _)| *score >= class.own);
        let mut effects = self.effects_of(incoming);
        effects.retain(|effect| self.may_be_in(home, Some(effect.no)));
        let placed = match (incident, before) {
            (Some((score, index)), trigger) if trigger.is_none_or(|(other, _)| score >= other) => {
                self.join(incoming, &parents[index], &effects)
            }
            (_, trigger) => {
                let trigger = trigger.map(|(_, index)| &parents[index]);
                match effects.iter().map(|effect| effect.no).min().or(kept_apart) {
                    Some(no) => self.head(incoming, no, trigger),
                    None => self.open(incoming, trigger)?,
                }
            }
        };
        Some(self.adopt(placed, &effects))
    }

    /// A change that an open incident explains, such as the reboot of a node that was away, is part of it.
    fn follow(&mut self, incoming: &Incoming<'_>) -> Option<(u64, u32)> {
        let own = self.rules.class(&incoming.event.class).own;
        let mut best: Option<Parent<'_>> = None;
        let home = self.home(incoming);
        for parent in self.parents(incoming) {
            if !self.may_be_in(home, parent.place.map(|(no, _)| no)) {
                continue;
            }
            let open =
                parent.place.and_then(|(no, _)| self.state.incidents.get(&no)).is_some_and(|live| live.is_open());
            if open && parent.score >= own && best.as_ref().is_none_or(|best| parent.score > best.score) {
                best = Some(parent);
            }
        }
        best.map(|parent| self.join(incoming, &parent, &[]))
    }

    /// Adds the Event, which explains `effects`, to the incident of `parent`.
    fn join(&mut self, incoming: &Incoming<'_>, parent: &Parent<'_>, effects: &[Effect]) -> (u64, u32) {
        let (no, above) = parent.place.unwrap_or_default();
        // A change explains that there is a cause, and not what it is.
        let other = |above: usize| {
            self.state.incidents.get(&no).is_some_and(|live| live.head.candidates[above].entity != incoming.blamed)
        };
        let by_change = self.rules.class(&parent.class).role == Role::Change && above.is_some_and(other);
        // Of what is merely like it, it may be the cause.
        let explains = |above: usize| {
            self.state.incidents.get(&no).map(|live| &live.head.candidates[above]).is_some_and(|known| {
                effects
                    .iter()
                    .any(|effect| (effect.no, &effect.class, effect.entity) == (no, &known.class, known.entity))
            })
        };
        let deeper = !parent.causal && above.is_some_and(explains);
        let own_cause = deeper || (!parent.causal || by_change) && incoming.event.role == Role::Cause;
        let candidate = match above {
            Some(above) if !own_cause => Some(above),
            _ => self.candidate(incoming, no),
        };
        // A row of another class, of the same object to blame: its own hypothesis, next to the other.
        let because = because(parent);
        let number = self.add(incoming, no, candidate, Some(because));
        self.head_mut(no).used(parent.rule, 1);
        (no, number)
    }

    /// Adds the Event to the incident `no`, as a root of what is there.
    fn head(&mut self, incoming: &Incoming<'_>, no: u64, trigger: Option<&Parent<'_>>) -> (u64, u32) {
        let candidate = self.candidate(incoming, no);
        let because = self.trigger(no, candidate, trigger);
        let number = self.add(incoming, no, candidate, because);
        (no, number)
    }

    fn open(&mut self, incoming: &Incoming<'_>, trigger: Option<&Parent<'_>>) -> Option<(u64, u32)> {
        let event = incoming.event;
        let passes = self.rules.class(&event.class).passes != Passes::Never;
        let capped = match self.excuse(incoming) {
            None => passes.then_some((Severity::Info, None)),
            Some(Excuse::UpTo { severity, lasts_ms }) => Some((severity, lasts_ms)),
            Some(Excuse::Wholly) => return None,
        };
        if self.state.incidents.len() >= self.rules.bounds.incidents {
            self.make_room();
        }
        self.state.clock.incidents += 1;
        let no = self.state.clock.incidents;
        let now = self.now();
        let cap = capped.map(|(severity, lasts_ms)| {
            let lasts_ms = if passes { lasts_ms.max(Some(STAYS_MS)) } else { lasts_ms };
            Cap { severity, planned: !passes, until: lasts_ms.map(|lasts| now.plus_millis(lasts)) }
        });
        let uid = if event.cluster_uid.is_empty() { &self.state.clock.cluster_uid } else { &event.cluster_uid };
        let head = Head {
            no,
            id: incident_id(uid, &event.event.uid, event.event.total()),
            category: event.category,
            cap,
            opened_at: now,
            last_event_at: now,
            active: self.state.clock.quiet,
            quiet_ms: self.rules.class(&event.class).quiet_ms,
            ..Head::default()
        };
        self.state.incidents.insert(no, Box::new(Live::restored(head, BTreeMap::new())));
        self.touch(no, Some(Transition::Opened));
        Some(self.head(incoming, no, trigger))
    }

    /// The candidate that the Event itself is, in the incident `no`.
    fn candidate(&mut self, incoming: &Incoming<'_>, no: u64) -> Option<usize> {
        let object = self.state.entities.get(incoming.blamed).map(|entity| Arc::clone(&entity.object));
        let class = &incoming.event.class;
        let (entity, first) = (incoming.blamed, incoming.when.first);
        let head = self.head_mut(no);
        let (row, object, known) = (head.given, object.unwrap_or_default(), head.candidates.len());
        let new = || Candidate { class: class.as_str().into(), object, entity, first, row, ..Candidate::default() };
        let index = head.candidate(class, entity, new);
        if head.candidates.len() > known {
            self.quote(incoming, no);
        }
        self.state.entities.set_incident(entity, no);
        index
    }

    /// Keeps what the Event says, to quote it should it be the root of the incident `no`.
    fn quote(&mut self, incoming: &Incoming<'_>, no: u64) {
        let event = &incoming.event.event;
        let live = self.state.incidents.get_mut(&no);
        if live.is_some_and(|live| live.quotes.add(bounded(&event.uid), &event.note)) {
            self.changed(Key::Quotes(no));
        }
    }

    /// Takes an Event that no incident has into `no`, because it explains another. Gives why.
    fn trigger(&mut self, no: u64, candidate: Option<usize>, parent: Option<&Parent<'_>>) -> Option<Reason> {
        let parent = parent?;
        let entity = self.state.entities.get(parent.event.object)?;
        let class = self.rules.class(&parent.class);
        let failing = matches!(class.role, Role::Cause | Role::Symptom);
        let role = if failing { RowRole::Cause } else { RowRole::Change };
        let severity = self.rules.classes.get(&parent.class).filter(|_| failing).map(|info| info.severity);
        let top = self.state.entities.top(parent.event.object);
        let mut row = Row {
            uid: parent.event.uid.clone(),
            namespace: parent.event.namespace.clone(),
            name: parent.event.name.clone(),
            reason: parent.event.reason.clone(),
            object: parent.event.object,
            kind: entity.object.kind.as_str().into(),
            object_namespace: entity.object.namespace.as_str().into(),
            object_name: entity.object.name.as_str().into(),
            top: (top != parent.event.object).then_some(top),
            workload: self.workload_of(parent.event.object),
            class: parent.class.clone(),
            role,
            occurrences: parent.event.occurrences,
            last: parent.first,
            lasting: role == RowRole::Cause && class.lasting,
            ..Row::default()
        };
        if role == RowRole::Cause {
            let blamed = if class.blame.first() == Some(&Blame::Workload) { top } else { parent.event.object };
            let object = self.state.entities.get(blamed).map(|entity| Arc::clone(&entity.object)).unwrap_or_default();
            let (class, first) = (parent.class.clone(), parent.first);
            let head = self.head_mut(no);
            let given = head.given;
            let new =
                || Candidate { class, object, entity: blamed, first, row: given, explained: 1, ..Candidate::default() };
            row.candidate = head.candidate(&parent.class, blamed, new);
            if let (Some(below), Some(above)) = (candidate, row.candidate) {
                head.adopt(below, above);
            }
            self.state.entities.set_incident(blamed, no);
        } else {
            row.candidate = candidate;
        }
        let because = because(parent);
        let head = self.head_mut(no);
        head.worst = head.worst.max(severity.unwrap_or_default());
        head.count(&parent.event.reason);
        head.heard(parent.event.occurrences);
        head.used(parent.rule, 1);
        let live = self.state.incidents.get_mut(&no)?;
        let keys = row.keys();
        let number = live.add(row, self.rules.bounds.members_of_one)?;
        if let Some(candidate) = candidate.filter(|_| role == RowRole::Change) {
            live.head.candidates[candidate].trigger = Some(number);
            // The row of the candidate is the one that follows.
            if live.head.candidates[candidate].row == number {
                live.head.candidates[candidate].row = number + 1;
            }
        }
        self.state.index(no, number, keys);
        let (object, uid) = (parent.event.object, parent.event.uid.clone());
        self.state.entities.change(object, |entity| {
            for mark in entity.marks.iter_mut().filter(|mark| mark.event.uid == uid) {
                mark.place = Some((no, number));
            }
        });
        Some(because)
    }

    /// Adds a row for the Event to the incident `no`.
    pub fn add(&mut self, incoming: &Incoming<'_>, no: u64, candidate: Option<usize>, because: Option<Reason>) -> u32 {
        let event = incoming.event;
        let mut row = self.row(incoming, candidate, because);
        row.over = row.lasting && self.ended_before(incoming);
        let crowded = self.state.uids.len() >= self.rules.bounds.members;
        let quiet = self.state.clock.quiet;
        let now = self.now();
        let Some(live) = self.state.incidents.get_mut(&no) else { return u32::MAX };
        let head = &mut live.head;
        head.count(&row.reason);
        head.heard(event.occurrences);
        head.last_event_at = now;
        head.active = quiet;
        head.worst = head.worst.max(event.severity);
        if row.over {
            head.recovered = Some((now, quiet));
        }
        if let Some(candidate) = candidate {
            head.candidates[candidate].explained += 1;
            if *head.candidates[candidate].class == *event.class {
                head.candidates[candidate].first = head.candidates[candidate].first.min(incoming.when.first);
            }
        }
        let new_pod = &*row.kind == "Pod" && !live.has_pod(row.object);
        let keys = row.keys();
        let number = if crowded { None } else { live.add(row, self.rules.bounds.members_of_one) };
        match number {
            Some(number) => self.state.index(no, number, keys),
            None => {
                let counted =
                    self.state.entities.get(incoming.object).is_some_and(|entity| entity.incident == Some(no));
                live.head.more_pods += i64::from(new_pod && !counted);
                self.state.clock.dropped.members += 1;
            }
        }
        self.state.entities.set_incident(incoming.object, no);
        self.wake(no);
        self.touch(no, None);
        number.unwrap_or(u32::MAX)
    }

    fn row(&self, incoming: &Incoming<'_>, candidate: Option<usize>, because: Option<Reason>) -> Row {
        let event = incoming.event;
        let regarding = &event.event.regarding;
        let entities = &self.state.entities;
        let top = Some(entities.top(incoming.object)).filter(|top| *top != incoming.object);
        let node = entities.get(incoming.object).and_then(|entity| entity.linked(Edge::Node).next());
        let named = event.entities.iter().take(6).map(|e| (bounded(&e.kind).into(), bounded(&e.name).into()));
        let reference = reference(event, incoming.object);
        Row {
            uid: reference.uid,
            namespace: reference.namespace,
            name: reference.name,
            reason: reference.reason,
            object: incoming.object,
            kind: bounded(&regarding.kind).into(),
            object_namespace: bounded(&regarding.namespace).into(),
            object_name: bounded(&regarding.name).into(),
            workload: self.workload_of(incoming.object),
            top,
            node: node
                .and_then(|link| entities.get(link.to))
                .map(|node| node.object.name.as_str().into())
                .unwrap_or_default(),
            container: bounded(event.event.container().unwrap_or_default()).into(),
            named: named.collect(),
            class: event.class.as_str().into(),
            role: match event.role {
                Role::Cause => RowRole::Cause,
                Role::Change => RowRole::Change,
                _ => RowRole::Symptom,
            },
            occurrences: event.occurrences,
            last: incoming.when.first,
            because,
            candidate,
            lasting: event.role != Role::Change && self.rules.class(&event.class).lasting,
            ..Row::default()
        }
    }

    /// The top of its owner chain, or the object itself where it is a workload.
    fn workload_of(&self, object: u64) -> Option<Arc<ObjectRef>> {
        let top = self.state.entities.top(object);
        let workload = self.state.entities.get(top)?;
        (top != object || WORKLOADS.contains(&workload.object.kind.as_str())).then(|| Arc::clone(&workload.object))
    }

    pub fn head_mut(&mut self, no: u64) -> &mut Head {
        &mut self.state.incidents.entry(no).or_default().head
    }
}

/// It can be part of an incident, and begin one.
fn symptomatic(event: &EnrichedEvent) -> bool {
    matches!(event.role, Role::Cause | Role::Symptom) && event.severity >= Severity::Low && !event.backfill
}

fn because(parent: &Parent<'_>) -> Reason {
    (parent.rule.into(), parent.event.uid.clone(), parent.lag_ms, rounded(parent.score))
}

fn reference(event: &EnrichedEvent, object: u64) -> EventRef {
    let event_ref = &event.event;
    EventRef {
        uid: bounded(&event_ref.uid).into(),
        namespace: bounded(&event_ref.namespace).into(),
        name: bounded(&event_ref.name).into(),
        reason: bounded(&event_ref.reason).into(),
        occurrences: event.occurrences,
        object,
    }
}
