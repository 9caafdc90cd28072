//! Time and recovery: when an incident is over, and when it comes back.

use std::ops::Bound;
use std::sync::Arc;

use epicenter_model::{Act, EnrichedEvent, EnrichedRecord, IncidentState, Timestamp, Transition};

use crate::edge::Edge;
use crate::entity::bounded;
use crate::incoming::Incoming;
use crate::live::STAYS_MS;
use crate::row::{Row, RowRole};
use crate::source::Passes;
use crate::state::{ClusterState, Engine};
use crate::wire::Key;

/// A jump of log time by more than this does not count as quiet: three heartbeats.
const JUMP_MS: i64 = 15_000;
/// What heals itself faster is nothing to wake anybody for.
const SELF_HEALED_MS: i64 = 60_000;
/// A container's start is over by then, mostly: what goes on is no start.
const REPEATS_MS: i64 = 60_000;
/// Events come no later than this, usually.
const LATE_MS: i64 = 60_000;

impl Engine<'_> {
    /// Moves log time on to that of `record`, and does what was due until then.
    pub fn advance(&mut self, record: &EnrichedRecord) {
        let clock = &mut self.state.clock;
        let at = record.at().max(clock.now);
        let before = clock.started.then_some(clock.now);
        let passed = if clock.started { at.millis_since(clock.now) } else { 0 };
        let beat = match record {
            EnrichedRecord::Heartbeat(heartbeat) => Some(heartbeat.healthy),
            _ => None,
        };
        if clock.healthy && beat != Some(false) && passed <= JUMP_MS {
            clock.quiet += passed;
        }
        clock.healthy = beat.unwrap_or(clock.healthy);
        clock.started = true;
        clock.now = at;
        let quiet = clock.quiet;
        self.remember_from_now();
        self.close_hours(before);
        self.signal_time(record, before);
        while let Some(no) = self.quietest(quiet) {
            self.resolve(no, None);
        }
        self.turn_silences();
        while let Some((_, no)) = self.state.timers.due.first().copied().filter(|(due, _)| *due <= at) {
            self.stays(no);
            self.tell_now(no, Transition::Updated);
        }
        while let Some((_, no)) = self.state.timers.forget.first().copied().filter(|(due, _)| *due <= at) {
            self.forget(no);
        }
        self.forget_objects(at);
    }

    fn forget_objects(&mut self, at: Timestamp) {
        while let Some((id, due)) = self.state.entities.oldest(at, self.rules.bounds.objects) {
            let pinned = due
                && self.state.entities.get(id).and_then(|entity| entity.incident).is_some_and(|no| {
                    self.state
                        .today(no)
                        .and_then(|(no, _)| self.state.incidents.get(&no))
                        .is_some_and(|live| live.is_open())
                });
            if pinned {
                self.state.entities.keep(id, at);
                continue;
            }
            self.state.clock.dropped.objects += u64::from(!due);
            self.state.entities.forget(id);
        }
    }

    /// The incident that has been quiet for the longest, if its time is over by `until` on the quiet clock.
    fn quietest(&mut self, until: i64) -> Option<u64> {
        let ClusterState { timers, incidents, .. } = &mut *self.state;
        timers.quietest(until, |no| incidents.get(&no)?.alarm().quiet)
    }

    /// Ends an incident, because of what somebody `said` or by itself.
    pub fn resolve(&mut self, no: u64, said: Option<Act>) {
        let (rules, now) = (self.rules, self.now());
        let Some(live) = self.state.incidents.get_mut(&no) else { return self.state.timers.clear(no) };
        let recovered = live.has_recovered() && !live.rows.values().any(|row| rules.class(&row.class).harm);
        let head = &mut live.head;
        head.state = IncidentState::Resolved;
        head.resolved_at = Some(now);
        // All that was heard of it, recovery and all, within that time. What was removed has not healed.
        head.healed = recovered && !head.removed && head.last_event_at.millis_since(head.opened_at) < SELF_HEALED_MS;
        self.tell_now(no, Transition::Resolved);
        self.remember(no, said);
    }

    /// Tells a change outside the record's own, and sets the alarm for the next.
    fn tell_now(&mut self, no: u64, transition: Transition) {
        self.tell_one(no, Some(transition));
        if let Some(live) = self.state.incidents.get(&no) {
            let alarm = live.alarm();
            self.state.timers.set(no, alarm);
        }
    }

    /// An incident of what often passes by itself counts once an Event shows that it lasts, or something else joins it that
    /// no planned change excuses.
    pub fn outlasts(&mut self, no: u64, incoming: &Incoming<'_>) {
        let Some(no) = self.provisional(no) else { return };
        if self.excuse(incoming).is_some() {
            return;
        }
        let event = incoming.event;
        if self.rules.class(&event.class).passes != Passes::Never {
            // That an autoscaler lacks metrics does not show that the probes still fail.
            if event.severity < self.head_mut(no).worst {
                return;
            }
            let Some(entity) = self.state.entities.get(incoming.object) else { return };
            let own = entity.marks.iter().filter(|mark| mark.edge == Edge::Object && *mark.class == *event.class);
            // What a planned change excused, right before, counts too.
            let here = own.filter(|mark| match mark.place {
                Some((place, _)) => self.state.today(place).is_some_and(|(place, _)| place == no),
                None => incoming.when.at.millis_since(mark.at) < STAYS_MS,
            });
            let since = here.map(|mark| mark.first).min();
            if since.is_none_or(|since| incoming.when.first.millis_since(since) < REPEATS_MS) {
                return;
            }
        }
        self.head_mut(no).cap = None;
        self.touch(no, None);
    }

    /// It counts too when nothing has ended it for so long, and no planned change that was heard of since explains what goes on.
    fn stays(&mut self, no: u64) {
        let (rules, now) = (self.rules, self.now());
        let Some(live) = self.state.incidents.get(&no) else { return };
        let Some(cap) = live.head.cap.filter(|cap| cap.until.is_some_and(|until| until <= now)) else { return };
        let goes_on = |row: &Row| row.lasting && !row.over;
        let passes = |row: &Row| rules.class(&row.class).passes == Passes::UnlessItStays;
        let stays = |row: &Row| goes_on(row) && passes(row) && !self.is_excused(row);
        let lasts = if cap.planned {
            live.head.root_row.and_then(|root| live.rows.get(&root)).is_some_and(goes_on)
        } else {
            self.work.set(self.work.get() + live.rows.len());
            live.pending > 0 && live.rows.values().any(stays)
        };
        if lasts {
            self.head_mut(no).cap = None;
        }
    }

    /// The incident, if it is no more than a note because its like often passes by itself.
    fn provisional(&self, no: u64) -> Option<u64> {
        let (no, _) = self.state.today(no)?;
        let cap = self.state.incidents.get(&no)?.head.cap?;
        (!cap.planned).then_some(no)
    }

    /// Drops an incident that can no longer be reopened.
    fn forget(&mut self, no: u64) {
        self.state.timers.clear(no);
        self.touched.retain(|(touched, _)| *touched != no);
        let Some(live) = self.state.incidents.remove(&no) else { return };
        self.changed(Key::Head(no));
        self.fall_silent(no, &live);
        if !live.quotes.is_empty() {
            self.changed(Key::Quotes(no));
        }
        for other in self.state.partings.forget(no) {
            self.changed(Key::Apart(other));
        }
        self.look(live.rows.len());
        for (number, row) in &live.rows {
            self.state.unindex(no, *number, &row.keys());
            self.changed(Key::Row(no, *number));
        }
        for absorbed in live.head.absorbed {
            self.forget_redirect(absorbed);
        }
    }

    pub fn forget_redirect(&mut self, no: u64) {
        if self.state.redirects.remove(&no).is_some() {
            self.changed(Key::Redirect(no));
        }
    }

    /// Drops the incident that matters least, so that another may be opened.
    pub fn make_room(&mut self) {
        if let Some((_, no)) = self.state.timers.forget.first().copied() {
            return self.forget(no);
        }
        if let Some(no) = self.quietest(i64::MAX) {
            self.state.clock.dropped.incidents += 1;
            self.resolve(no, None);
            self.forget(no);
        }
    }

    /// More of an Event that is a member already.
    pub fn again(&mut self, no: u64, number: u32, event: &EnrichedEvent) {
        let (now, quiet) = (self.now(), self.state.clock.quiet);
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        live.head.heard(event.occurrences);
        live.head.last_event_at = now;
        let mut active = false;
        live.change(number, |row| {
            row.occurrences = row.occurrences.saturating_add(event.occurrences);
            row.last = row.last.max(event.occurred_at);
            active = matches!(row.role, RowRole::Cause | RowRole::Symptom);
            row.over &= !active;
        });
        let keys = live.rows.get(&number).map(Row::keys);
        if active {
            live.head.active = quiet;
            let roots = live.head.candidates.iter().any(|c| c.row == number);
            live.head.root_recovered &= !roots;
            if let Some(keys) = keys.filter(|keys| keys.pending) {
                self.state.set_pending((no, number), &keys, true);
            }
            self.wake(no);
        }
        self.repeat(no);
    }

    /// Reopens an incident that something was added to.
    pub fn wake(&mut self, no: u64) {
        let head = self.head_mut(no);
        if head.state == IncidentState::Resolved {
            head.state = IncidentState::Open;
            head.resolved_at = None;
            head.healed = false;
            head.recovered = None;
            head.root_recovered = false;
            head.removed = false;
            self.look_after_no_more(no);
            self.touch(no, Some(Transition::Reopened));
        }
    }

    /// A recovery: ends what it ends.
    pub fn recover(&mut self, event: &EnrichedEvent, object: u64) {
        let over = self.rules.class(&event.class);
        let ended = self.end(object, event.at, false, |class| over.recovers.contains(class));
        let Some(no) = ended else { return };
        if self.state.uids.get(bounded(&event.event.uid)).is_some() {
            return;
        }
        let regarding = &event.event.regarding;
        let row = Row {
            uid: bounded(&event.event.uid).into(),
            namespace: bounded(&event.event.namespace).into(),
            name: bounded(&event.event.name).into(),
            reason: bounded(&event.event.reason).into(),
            object,
            kind: bounded(&regarding.kind).into(),
            object_namespace: bounded(&regarding.namespace).into(),
            object_name: bounded(&regarding.name).into(),
            class: event.class.as_str().into(),
            role: RowRole::Recovery,
            occurrences: event.occurrences,
            last: event.occurred_at,
            ..Row::default()
        };
        let now = self.now();
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        live.head.count(&row.reason);
        live.head.heard(event.occurrences);
        live.head.last_event_at = now;
        let keys = row.keys();
        if let Some(number) = live.add(row, self.rules.bounds.members_of_one) {
            self.state.index(no, number, keys);
        }
    }

    /// Whether its end was heard of before it: Events come late.
    pub fn ended_before(&self, incoming: &Incoming<'_>) -> bool {
        let Some(entity) = self.state.entities.get(incoming.object) else { return false };
        let class = &*incoming.event.class;
        entity.marks.iter().any(|mark| {
            mark.edge == Edge::Object
                && self.rules.class(&mark.class).recovers.contains(class)
                && mark.last > incoming.when.first
                && incoming.when.at.millis_since(mark.at) <= LATE_MS
        })
    }

    /// The object is on its way out: nothing about it lasts, but that it was driven out.
    pub fn gone(&mut self, event: &EnrichedEvent, object: u64) {
        let regarding = &event.event.regarding;
        let mut objects = Vec::new();
        if regarding.kind == "Pod" {
            objects.push(object);
        } else {
            for named in event.entities.iter().filter(|named| named.kind == "Pod") {
                objects.extend(self.state.entities.find("Pod", &regarding.namespace, &named.name));
            }
        }
        for object in objects {
            self.end(object, event.at, true, |_| true);
        }
    }

    /// Marks lasting rows of an object as over: those of classes that end, and when it was removed only its own. Gives the
    /// newest open incident in which there were some.
    fn end(&mut self, object: u64, at: Timestamp, removed: bool, ends: impl Fn(&Arc<str>) -> bool) -> Option<u64> {
        let pending = self.state.pending.get(&object)?;
        let mut places: Vec<(u64, u32)> = Vec::new();
        let mut next = pending.first();
        while let Some((class, ..)) = next {
            let of_class = (class.clone(), 0, 0)..=(class.clone(), u64::MAX, u32::MAX);
            if ends(class) {
                places.extend(pending.range(of_class.clone()).map(|(_, no, number)| (*no, *number)));
            }
            next = pending.range((Bound::Excluded(of_class.end()), Bound::Unbounded)).next();
            self.look(1);
        }
        self.look(places.len());
        let quiet = self.state.clock.quiet;
        let mut newest = None;
        for (no, number) in places {
            let Some(live) = self.state.incidents.get(&no).filter(|live| live.is_open()) else { continue };
            let Some(keys) = live.rows.get(&number).filter(|row| !removed || row.object == object).map(Row::keys)
            else {
                continue;
            };
            let best = self.best_root(live);
            let Some(live) = self.state.incidents.get_mut(&no) else { continue };
            live.change(number, |row| row.over = true);
            self.state.set_pending((no, number), &keys, false);
            let Some(live) = self.state.incidents.get_mut(&no) else { continue };
            let head = &mut live.head;
            head.recovered = Some((at, quiet));
            head.removed = removed;
            let root = best.map(|best| &head.candidates[best]);
            // A root that is one object, such as a node, is over with that object's own Event.
            head.root_recovered |=
                !removed && root.is_some_and(|c| c.row == number && c.entity == object && c.common.is_none());
            newest = newest.max(Some(no));
            self.touch(no, None);
        }
        newest
    }
}
