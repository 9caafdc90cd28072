//! What comes of commands: acknowledgements, notes, ends by hand, and silences.

use epicenter_model::{Act, Action, Command, IncidentState, Silence, Transition};

use crate::live::Live;
use crate::part::unpartable;
use crate::state::{ClusterState, Engine};
use crate::wire::Key;

/// Silences of a cluster. Each is looked at whenever an incident is told.
const SILENCES: usize = 200;

impl ClusterState {
    /// Why a command cannot be carried out now, and what can be done; `None` when it can, and may be applied.
    pub fn refusal(&self, command: &Command) -> Option<String> {
        let cluster = &self.cluster;
        if !self.clock.started {
            return Some(format!("nothing was heard of cluster {cluster} yet: name one that an exporter reads"));
        }
        let now = self.clock.now;
        match &command.action {
            Action::Incident { id, act } => {
                let Some(live) = self.incident(id).and_then(|no| self.incidents.get(&no)) else {
                    return Some(self.unknown(id));
                };
                let over = live.head.state != IncidentState::Open;
                match act {
                    Act::Acknowledge | Act::Resolve if over => Some(format!("incident {id} is over already")),
                    Act::Unacknowledge if live.voice.acknowledged.is_none() => {
                        Some(format!("incident {id} is not acknowledged"))
                    }
                    _ => None,
                }
            }
            Action::Silence { ends_at, .. } if *ends_at <= now => Some(format!(
                "the silence would be over: it ends at {ends_at}, and the log of cluster {cluster} is at {now}"
            )),
            Action::Silence { .. } if self.silences.count() >= SILENCES => Some(format!(
                "cluster {cluster} has {SILENCES} silences: end some (`epicenter silences`, `epicenter unsilence ID`), or \
                 describe more incidents by one"
            )),
            Action::Silence { .. } => None,
            Action::Merge { id, with } if id == with => Some(format!("incident {id} is one already: name two")),
            Action::Merge { id, with } => [id, with].into_iter().find_map(|id| self.found_open(id).err()),
            Action::Split { id, objects } => match self.found_open(id) {
                Ok(no) => self.incidents.get(&no).and_then(|live| unpartable(live, objects)),
                Err(why) => Some(why),
            },
            Action::Unsilence { silence } => self.silences.get(silence).is_none().then(|| {
                format!("cluster {cluster} has no silence {silence}: `epicenter silences` lists those that there are")
            }),
        }
    }

    fn unknown(&self, id: &str) -> String {
        format!(
            "cluster {} has no incident {id} that is open, or was until 10 minutes ago; one that is part of another now is \
             spoken of by that one's id",
            self.cluster
        )
    }

    /// The number of the open incident of that id, or why there is none.
    fn found_open(&self, id: &str) -> Result<u64, String> {
        let no = self.incident(id).ok_or_else(|| self.unknown(id))?;
        let open = self.incidents.get(&no).is_some_and(|live| live.is_open());
        open.then_some(no).ok_or_else(|| format!("incident {id} is over already"))
    }

    /// The number of the incident of that id.
    pub(crate) fn incident(&self, id: &str) -> Option<u64> {
        self.incidents.iter().find(|(_, live)| live.head.id == id).map(|(no, _)| *no)
    }
}

impl Engine<'_> {
    /// Carries a command out. One that was refused, or is repeated, has no effect.
    pub fn command(&mut self, command: &Command) {
        if self.state.refusal(command).is_some() {
            return;
        }
        match &command.action {
            Action::Incident { id, act } => self.act(command, id, *act),
            Action::Silence { matcher, starts_at, ends_at } => self.silence(Silence {
                id: command.id.clone(),
                cluster: self.state.cluster.clone(),
                matcher: matcher.clone(),
                starts_at: *starts_at,
                ends_at: *ends_at,
                by: command.by.clone(),
                given_at: command.given_at,
                why: command.why.clone(),
            }),
            Action::Merge { id, with } => self.put_together(command, id, with),
            Action::Split { id, objects } => self.part(command, id, objects),
            Action::Unsilence { silence } => {
                self.unsilence(silence);
                self.tell_silences();
            }
        }
    }

    fn act(&mut self, command: &Command, id: &str, act: Act) {
        let Some(no) = self.state.incident(id) else { return };
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        if live.voice.notes.iter().any(|note| note.id == command.id) {
            return;
        }
        let note = command.note(act);
        match act {
            Act::Acknowledge => live.voice.acknowledged = Some(note.clone()),
            Act::Unacknowledge => live.voice.acknowledged = None,
            Act::Note | Act::Resolve | Act::Wrong | Act::Merge | Act::Split => {}
        }
        live.voice.add(note);
        let ends = live.is_open() && matches!(act, Act::Resolve | Act::Wrong);
        self.changed(Key::Voice(no));
        if ends {
            self.resolve(no, Some(act));
        } else {
            self.touch(no, Some(Transition::Updated));
        }
    }

    fn silence(&mut self, silence: Silence) {
        if self.state.silences.get(&silence.id).is_some() {
            return;
        }
        self.changed(Key::Silence(silence.id.clone()));
        self.effects.silences.push((silence.id.clone(), Some(silence.clone())));
        self.state.silences.insert(silence, self.state.clock.now);
        self.tell_silences();
    }

    fn unsilence(&mut self, id: &str) {
        let now = self.now();
        if self.state.silences.remove(id, now) {
            self.changed(Key::Silence(id.to_owned()));
            self.effects.silences.push((id.to_owned(), None));
        }
    }

    /// Whoever looked after an incident did so until it was over.
    pub fn look_after_no_more(&mut self, no: u64) {
        let Some(live) = self.state.incidents.get_mut(&no) else { return };
        if live.voice.acknowledged.take().is_some() {
            self.changed(Key::Voice(no));
        }
    }

    /// What was said of an incident that is remembered no more goes with it.
    pub fn fall_silent(&mut self, no: u64, gone: &Live) {
        if gone.voice.is_heard() {
            self.changed(Key::Voice(no));
        }
    }

    /// Begins and ends the silences whose time has come.
    pub fn turn_silences(&mut self) {
        let now = self.now();
        if self.state.silences.next_turn().is_none_or(|next| next > now) {
            return;
        }
        for id in self.state.silences.ended(now) {
            self.unsilence(&id);
        }
        self.state.silences.look_ahead(now);
        self.tell_silences();
    }

    /// Tells the open incidents of which somebody is told now, and was not, or the other way round.
    fn tell_silences(&mut self) {
        let now = self.now();
        let ClusterState { incidents, silences, .. } = &*self.state;
        let differs = |live: &Live| {
            let told = live.head.told.as_ref();
            told.is_some_and(|(severity, class, object)| {
                silences.of(|| live.face((*severity, class, object)), now) != live.voice.silenced
            })
        };
        let open = incidents.iter().filter(|(_, live)| live.is_open());
        let mut changed: Vec<u64> = open.filter(|(_, live)| differs(live)).map(|(no, _)| *no).collect();
        self.look(incidents.len());
        changed.sort_unstable();
        for no in changed {
            self.touch(no, Some(Transition::Updated));
        }
    }
}
