//! What is out of the ordinary: it becomes an Event that the engine makes, which is part of the incident that it is about or begins one.

use std::sync::Arc;

use epicenter_model::{EnrichedEvent, EnrichedRecord, Entity, Event, ObjectRef, Role, Severity, Timestamp, Transition};
use sha2::{Digest, Sha256};

use crate::entity::bounded;
use crate::incoming::Incoming;
use crate::live::Cap;
use crate::neighbours::Links;
use crate::patterns::Pattern;
use crate::rates::Talker;
use crate::recall::about;
use crate::recurrence::{fingerprint, stem};
use crate::row::Reason;
use crate::score::When;
use crate::series::HOUR_MS;
use crate::state::Engine;
use crate::wire::Key;

/// Events that are kept of what is out of the ordinary.
const SAMPLES: u8 = 5;
/// In `because` of what belongs to a pattern, and of a pattern that belongs to an incident.
pub(crate) const RULE: &str = "pattern";

/// Something out of the ordinary.
struct Anomaly<'a> {
    pattern: Pattern,
    about: Arc<ObjectRef>,
    /// Of the Events.
    class: &'a str,
    /// What its sentence tells, by placeholder.
    numbers: Vec<(&'static str, String)>,
    /// Nobody is to be woken up for it alone.
    note: bool,
}

fn hour(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(HOUR_MS)
}

/// A number of Events in an hour or a day, for people.
fn rate(value: f64) -> String {
    if value < 10.0 { format!("{:.1}", libm::round(value * 10.0) / 10.0) } else { format!("{:.0}", libm::round(value)) }
}

impl Engine<'_> {
    /// Closes the hours that are over: `before` is what log time was.
    pub fn close_hours(&mut self, before: Option<Timestamp>) {
        let Some(over) = before.map(hour).filter(|over| *over < hour(self.now())) else { return };
        let (most, classes) = self.state.rates.close(over);
        self.look(classes.len());
        for class in classes {
            self.changed(Key::Profile(str::to_owned(&class)));
        }
        let Some(limits) = self.rules.patterns.of_talkers() else { return };
        let known = self.state.memory.since.is_some_and(|since| over - hour(since) >= limits.after_h());
        self.talker = most.filter(|most| {
            let (count, all) = (most.count as f64, most.all as f64);
            known && all >= limits.least && count >= limits.share * all && count >= limits.times * most.usual
        });
    }

    /// Counts what the record says, and tells what is out of the ordinary.
    pub fn notice(&mut self, record: &EnrichedRecord) {
        if let Some(talker) = self.talker.take() {
            self.top_talker(&talker);
        }
        let EnrichedRecord::Event(event) = record else { return };
        self.note_load(event);
        self.flapping();
        if event.backfill || !self.rules.class(&event.class).counted {
            return;
        }
        self.count(event);
    }

    fn count(&mut self, event: &EnrichedEvent) {
        let rules = &self.rules.patterns;
        let regarding = &event.event.regarding;
        let namespace = if regarding.kind == "Node" { "" } else { bounded(&regarding.namespace) };
        let entities = &self.state.entities;
        let Some(object) = entities.find(bounded(&regarding.kind), namespace, bounded(&regarding.name)) else { return };
        let Some(top) = entities.get(entities.top(object)).map(|top| Arc::clone(&top.object)) else { return };
        let name = (top.kind.as_str(), top.namespace.as_str(), stem(&top.kind, &top.name));
        let hour = hour(self.now());
        let Some((key, day)) = self.state.rates.count(&event.class, name, hour, event.occurrences) else {
            self.state.memory.uncounted += 1;
            self.state.unwritten.memory = true;
            return;
        };
        let rates = &mut self.state.rates;
        let note = event.role == Role::Change || event.severity < Severity::Low;
        // Planned changes come in phases: that there are more of them says nothing.
        let rise =
            rules.limits(Pattern::SlowRise, &event.class).filter(|_| !note).zip(day).and_then(|(limits, day)| {
                let series = rates.get_mut(key).filter(|series| series.rises(day, &limits))?;
                series.rise_is_told();
                Some(day)
            });
        let more = rules.limits(Pattern::Frequency, &event.class).and_then(|limits| {
            let season = match rates.get(key).is_some_and(|series| series.may_have_more(&limits)) {
                true => rates.season(&event.class, hour),
                false => return None,
            };
            let series = rates.get_mut(key)?;
            let more = series.more(&limits, season)?;
            series.more_told = hour;
            series.samples = 0;
            Some(more)
        });
        let anomaly =
            |pattern, numbers| Anomaly { pattern, about: Arc::clone(&top), class: &event.class, numbers, note };
        let reason = || ("Reason", event.event.reason.clone());
        if let Some(more) = more {
            let numbers = vec![reason(), ("Count", more.count.to_string()), ("Usual", rate(more.usual))];
            self.tell_anomaly(&anomaly(Pattern::Frequency, numbers), Some(event));
        } else if let Some(day) = rise {
            let numbers = vec![reason(), ("Count", day.count.to_string()), ("Usual", rate(day.usual))];
            self.tell_anomaly(&anomaly(Pattern::SlowRise, numbers), Some(event));
        }
        self.keep_sample(key, event, &anomaly(Pattern::Frequency, vec![]));
    }

    /// More Events of what began an incident of its own.
    fn keep_sample(&mut self, key: u64, event: &EnrichedEvent, anomaly: &Anomaly<'_>) {
        let now = hour(self.now());
        let told = |series: &crate::series::Series| series.more_told == now && series.samples < SAMPLES;
        if !self.state.rates.get(key).is_some_and(told) || self.state.uids.get(bounded(&event.event.uid)).is_some() {
            return;
        }
        let Some((no, number)) = self.state.uids.get(&self.uid(anomaly)) else { return };
        let candidate = self.row_today(no, number).and_then(|(_, row)| row?.candidate);
        if let Some(series) = self.state.rates.get_mut(key) {
            series.samples += 1;
        }
        let because = (RULE.into(), self.uid(anomaly).as_str().into(), 0, 1.0);
        self.join_as(event, no, candidate, because);
    }

    fn top_talker(&mut self, talker: &Talker) {
        let share = talker.count.saturating_mul(100) / talker.all.max(1);
        let numbers =
            vec![("Count", talker.count.to_string()), ("All", talker.all.to_string()), ("Share", share.to_string())];
        let about = Arc::new(ObjectRef::named(&talker.kind, &talker.namespace, &talker.name));
        self.tell_anomaly(&Anomaly { pattern: Pattern::TopTalker, about, class: "", numbers, note: true }, None);
    }

    /// Looks whether what began, or came back, did so often of late.
    fn flapping(&mut self) {
        let begun = |(no, how): &(u64, Option<Transition>)| {
            matches!(how, Some(Transition::Opened | Transition::Reopened)).then_some(*no)
        };
        for no in self.touched.iter().filter_map(begun).collect::<Vec<_>>() {
            let Some((class, about, count, span)) = self.turns(no) else { continue };
            let numbers = vec![("Count", count.to_string()), ("Span", span)];
            let anomaly = Anomaly { pattern: Pattern::Flapping, about, class: &class, numbers, note: false };
            let Some(live) = self.state.incidents.get(&no) else { continue };
            let candidate = self.best_root(live);
            let made = self.made(&anomaly);
            let parent = candidate.and_then(|best| live.rows.get(&live.head.candidates[best].row));
            let because = (RULE.into(), parent.map(|row| Arc::clone(&row.uid)).unwrap_or_default(), 0, 1.0);
            self.join_as(&made, no, candidate, because);
            let cap = &mut self.head_mut(no).cap;
            // What passes each time does not: but it is no more than that.
            *cap = cap.map(|cap| Cap {
                severity: if cap.planned { cap.severity } else { cap.severity.max(Severity::Low) },
                ..cap
            });
        }
    }

    /// Class and object of an incident that began so often of late, how often, and within which time.
    fn turns(&self, no: u64) -> Option<(Arc<str>, Arc<ObjectRef>, usize, String)> {
        let live = self.state.incidents.get(&no)?;
        if live.head.by_reason.contains_key(Pattern::Flapping.reason()) {
            return None;
        }
        let best = &live.head.candidates[self.best_root(live)?];
        let limits = self.rules.patterns.limits(Pattern::Flapping, &best.class)?;
        let history = self.state.histories.get(&fingerprint(&best.class, &best.object))?;
        let now = self.now();
        let ends = history.turns.iter().filter(|at| now.millis_since(**at) <= limits.within_ms);
        let (count, first) = (ends.clone().count() + 1, ends.min()?);
        let often = count as f64 >= limits.least;
        often.then(|| (Arc::clone(&best.class), Arc::clone(&best.object), count, about(now.millis_since(*first))))
    }

    /// Makes the anomaly a part of the open incident that `sample` is a part of, or of whatever it belongs to.
    fn tell_anomaly(&mut self, anomaly: &Anomaly<'_>, sample: Option<&EnrichedEvent>) {
        let made = self.made(anomaly);
        let place = sample.and_then(|sample| self.state.uids.get(bounded(&sample.event.uid)));
        let place = place.and_then(|(no, number)| self.row_today(no, number));
        let open = place.filter(|(no, _)| self.state.incidents.get(no).is_some_and(|live| live.is_open()));
        if let Some((no, Some(row))) = open {
            let (candidate, because) = (row.candidate, (RULE.into(), Arc::clone(&row.uid), 0, 1.0));
            return self.join_as(&made, no, candidate, because);
        }
        let before = self.state.clock.incidents;
        self.event(&made);
        // It began an incident, and is no more than a note.
        let no = self.state.clock.incidents;
        if anomaly.note
            && no > before
            && let Some(live) = self.state.incidents.get_mut(&no)
        {
            live.head.cap = Some(Cap { severity: Severity::Info, planned: true, until: None });
        }
    }

    fn join_as(&mut self, event: &EnrichedEvent, no: u64, candidate: Option<usize>, because: Reason) {
        let object = self.learn(event);
        let (first, since) = (event.occurred_at, event.at);
        let when = When { first, last: first, since, at: since };
        let incoming = Incoming { event, object, links: Links::default(), blamed: object, when };
        self.add(&incoming, no, candidate, Some(because));
    }

    /// The same for the same anomaly, within an hour.
    fn uid(&self, anomaly: &Anomaly<'_>) -> String {
        let Anomaly { pattern, about, class, .. } = anomaly;
        let hour = hour(self.now());
        let cluster = &self.state.clock.cluster_uid;
        let text = format!("{cluster}\0{}\0{class}\0{about}\0{hour}", pattern.class());
        data_encoding::HEXLOWER.encode(&Sha256::digest(text)[..16])
    }

    fn made(&self, anomaly: &Anomaly<'_>) -> EnrichedEvent {
        let Anomaly { pattern, about, numbers, .. } = anomaly;
        let info = self.rules.classes.get(pattern.class());
        let number = |(kind, name): &(&str, String)| Entity {
            kind: (*kind).to_owned(),
            namespace: String::new(),
            name: name.clone(),
        };
        EnrichedEvent {
            cluster: self.state.cluster.clone(),
            cluster_uid: self.state.clock.cluster_uid.clone(),
            at: self.now(),
            occurred_at: self.now(),
            occurrences: 1,
            derived: true,
            class: pattern.class().to_owned(),
            category: info.map(|info| info.category).unwrap_or_default(),
            severity: info.map(|info| info.severity).unwrap_or_default(),
            role: Role::Symptom,
            entities: numbers.iter().map(number).collect(),
            event: Event {
                uid: self.uid(anomaly),
                namespace: about.namespace.clone(),
                name: format!("{}.{}", about.name, pattern.class()),
                reason: pattern.reason().to_owned(),
                component: "epicenter".to_owned(),
                regarding: ObjectRef::clone(about),
                count: Some(1),
                ..Event::default()
            },
            ..EnrichedEvent::default()
        }
    }
}
