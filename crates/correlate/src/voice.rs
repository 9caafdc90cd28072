//! What people said of an incident.

use epicenter_model::{Note, Silenced};
use serde::{Deserialize, Serialize};

/// Notes that an incident keeps: the newest.
const NOTES: usize = 20;

/// What people did to an incident and said of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Voice {
    pub acknowledged: Option<Note>,
    /// As it was told last.
    pub silenced: Option<Silenced>,
    pub notes: Vec<Note>,
}

impl Voice {
    /// Something was said.
    pub fn is_heard(&self) -> bool {
        *self != Self::default()
    }

    pub fn add(&mut self, note: Note) {
        self.notes.push(note);
        self.notes.drain(..self.notes.len().saturating_sub(NOTES));
    }

    /// Takes over what was said of an incident that is part of this one now. Who looks after a part does not look after all.
    pub fn take_over(&mut self, gone: &Self) {
        self.notes.extend(gone.notes.iter().cloned());
        self.notes.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        self.notes.drain(..self.notes.len().saturating_sub(NOTES));
    }
}
