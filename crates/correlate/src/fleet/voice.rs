//! What people do to incidents of the fleet, and say of them.

use epicenter_model::{Act, Action, Command, Transition};

use super::case::{CaseId, REOPEN_MS};
use super::state::Key;
use super::{Fleet, Step};

/// What an incident is about.
enum Subject {
    Case(CaseId),
    /// The cluster that is silent.
    Silence(String),
}

impl Fleet {
    /// Why a command cannot be carried out now, and what can be done; `None` when it can, and may be applied.
    pub fn refusal(&self, command: &Command) -> Option<String> {
        let Action::Incident { id, act } = &command.action else {
            return Some(format!(
                "incidents of all clusters together follow from those of the clusters: `{}` what they are made of",
                command.action.name()
            ));
        };
        let Some(subject) = self.subject(id) else {
            return Some(format!("the fleet has no incident {id} that is open, or was until 10 minutes ago"));
        };
        let over = match &subject {
            Subject::Case(case) => self.cases.get(case).and_then(|case| case.incident.as_ref()?.resolved_at).is_some(),
            Subject::Silence(_) => false,
        };
        let acknowledged = self.voices.get(id).is_some_and(|voice| voice.acknowledged.is_some());
        match (act, subject) {
            (Act::Acknowledge | Act::Resolve, _) if over => Some(format!("incident {id} is over already")),
            (Act::Unacknowledge, _) if !acknowledged => Some(format!("incident {id} is not acknowledged")),
            (Act::Resolve | Act::Wrong, Subject::Silence(cluster)) => Some(format!(
                "that cluster {cluster} is silent is over when it is heard again, or taken out: `epicenter forget {cluster}`"
            )),
            _ => None,
        }
    }

    fn subject(&self, id: &str) -> Option<Subject> {
        let of_case = |case: &super::Case| case.incident.as_ref().is_some_and(|head| head.id == id);
        let case = self.cases.iter().find(|(_, case)| of_case(case)).map(|(id, _)| Subject::Case(id.clone()));
        case.or_else(|| {
            let mut silent = self.clusters.iter().filter_map(|(name, it)| Some((name, &it.silent.as_ref()?.0)));
            silent.find(|(_, head)| head.id == id).map(|(name, _)| Subject::Silence(name.clone()))
        })
    }
}

impl Step<'_> {
    /// Carries a command out. One that was refused, or is repeated, has no effect.
    pub(super) fn command(&mut self, command: &Command) {
        let Action::Incident { id, act } = &command.action else { return };
        let refused = self.fleet.refusal(command).is_some();
        let Some(subject) = self.fleet.subject(id).filter(|_| !refused) else { return };
        let voice = self.fleet.voices.entry(id.clone()).or_default();
        if voice.notes.iter().any(|note| note.id == command.id) {
            return;
        }
        let note = command.note(*act);
        match act {
            Act::Acknowledge => voice.acknowledged = Some(note.clone()),
            Act::Unacknowledge => voice.acknowledged = None,
            Act::Note | Act::Resolve | Act::Wrong | Act::Merge | Act::Split => {}
        }
        voice.add(note);
        match subject {
            Subject::Case(case) => self.act(&case, matches!(act, Act::Resolve | Act::Wrong)),
            Subject::Silence(cluster) => {
                let Some(Some((mut head, since))) = self.fleet.clusters.get(&cluster).map(|it| it.silent.clone())
                else {
                    return;
                };
                self.tell_silence(&cluster, &mut head, Transition::Updated, "");
                if let Some(known) = self.fleet.clusters.get_mut(&cluster) {
                    known.silent = Some((head, since));
                    let known = known.clone();
                    self.put(&Key::Cluster(cluster), &known);
                }
            }
        }
    }

    /// Tells a case of which something was said, or that it is over.
    fn act(&mut self, id: &CaseId, ends: bool) {
        let clock = self.fleet.clock;
        let head = self.fleet.cases.get_mut(id).and_then(|case| case.incident.as_mut());
        let transition = match head {
            Some(head) if ends && head.resolved_at.is_none() => {
                head.resolved_at = Some(clock.now);
                head.until = clock.quiet + REOPEN_MS;
                self.fleet.ended.insert((head.until, id.clone()));
                Transition::Resolved
            }
            _ => Transition::Updated,
        };
        self.tell_case(id, transition, &[]);
    }

    /// What was said of an incident that is remembered no more goes with it.
    pub(super) fn fall_silent(&mut self, incident: &str) {
        if self.fleet.voices.remove(incident).is_some() {
            self.delete(&Key::Voice(incident.to_owned()));
        }
    }
}
