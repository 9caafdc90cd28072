//! A member of an incident.

use std::sync::Arc;

use epicenter_model::{Because, Entity, Member, MemberObject, ObjectRef, Timestamp};
use serde::{Deserialize, Serialize};

/// Why a row is in its incident: rule, uid of the parent, lag in ms, score.
pub(crate) type Reason = (Arc<str>, Arc<str>, i64, f64);

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub uid: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub reason: Arc<str>,
    pub object: u64,
    pub kind: Box<str>,
    pub object_namespace: Box<str>,
    pub object_name: Box<str>,
    pub workload: Option<Arc<ObjectRef>>,
    /// The object of `workload`.
    pub top: Option<u64>,
    pub node: Box<str>,
    pub container: Box<str>,
    /// What the text names: kind and name.
    pub named: Vec<(Box<str>, Box<str>)>,
    pub class: Arc<str>,
    pub role: RowRole,
    pub occurrences: i64,
    /// Emitter's clock, newest occurrence.
    pub last: Timestamp,
    pub because: Option<Reason>,
    /// Of `Head::candidates`.
    pub candidate: Option<usize>,
    pub lasting: bool,
    pub over: bool,
    /// The version of the incident that tells it as it is.
    pub version: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RowRole {
    Cause,
    #[default]
    Symptom,
    Change,
    Recovery,
}

/// By what a row is found.
#[derive(Clone, Debug)]
pub(crate) struct RowKeys {
    pub uid: Arc<str>,
    pub object: u64,
    pub workload: Option<u64>,
    pub class: Arc<str>,
    pub pending: bool,
}

impl RowKeys {
    /// The object, and its workload.
    pub fn objects(&self) -> impl Iterator<Item = u64> + use<> {
        [Some(self.object), self.workload].into_iter().flatten()
    }
}

impl Row {
    /// The object that it is about.
    pub fn regarding(&self) -> ObjectRef {
        ObjectRef::named(&self.kind, &self.object_namespace, &self.object_name)
    }

    /// What the text names is the same as in `entities`, as far as it is of the same kinds.
    pub fn may_name(&self, entities: &[Entity]) -> bool {
        self.named.iter().all(|(kind, name)| {
            let of_kind = || entities.iter().filter(|named| *named.kind == **kind);
            of_kind().next().is_none() || of_kind().any(|named| *named.name == **name)
        })
    }

    pub fn keys(&self) -> RowKeys {
        let workload = self.top.filter(|top| *top != self.object);
        RowKeys {
            uid: Arc::clone(&self.uid),
            object: self.object,
            workload,
            class: Arc::clone(&self.class),
            pending: self.lasting && !self.over,
        }
    }

    /// The document's form; `root` is the number of the row that is the root.
    pub fn member(&self, is_root: bool) -> Member {
        let role = match self.role {
            _ if is_root => "root",
            RowRole::Cause => "cause",
            RowRole::Symptom => "symptom",
            RowRole::Change => "change",
            RowRole::Recovery => "recovery",
        };
        // By `str`: the `to_string` of a pointer to one formats it.
        let text = str::to_owned;
        Member {
            event_uid: text(&self.uid),
            namespace: text(&self.namespace),
            name: text(&self.name),
            reason: text(&self.reason),
            regarding: MemberObject {
                kind: text(&self.kind),
                namespace: text(&self.object_namespace),
                name: text(&self.object_name),
            },
            role: text(role),
            occurrences: self.occurrences,
            because: self.because.as_ref().map(|(rule, parent, lag_ms, score)| Because {
                rule: text(rule),
                parent: text(parent),
                lag_ms: *lag_ms,
                score: *score,
            }),
        }
    }
}
