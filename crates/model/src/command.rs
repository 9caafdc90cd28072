//! What people say of incidents: commands in a cluster's log, silences that follow from them, notes in incidents.

use serde::{Deserialize, Serialize};

use crate::meaning::names;
use crate::{Incident, ObjectRef, Severity, Timestamp};

/// The longest reason or note, bytes.
const TEXT: usize = 1000;
/// The longest name: of who said it, of what a silence is about, bytes.
const NAME: usize = 253;
/// Objects that one command names.
const OBJECTS: usize = 100;

/// Something that somebody wants done, in the log of the cluster that it concerns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Command {
    /// The cluster's name.
    pub cluster: String,
    /// Log time of the cluster when it was written, at the latest: a command moves no time on.
    pub at: Timestamp,
    /// Names it: given again it has no effect. What it creates has its name.
    pub id: String,
    /// Who said it.
    pub by: String,
    /// When, by the writer's clock.
    pub given_at: Timestamp,
    /// Why; the text of a note.
    pub why: String,
    /// What.
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To one incident.
    Incident {
        /// Its id.
        id: String,
        /// What.
        act: Act,
    },
    /// Nobody is told of the incidents that `matcher` describes from `starts_at` to `ends_at`, in log time.
    Silence {
        /// Which incidents.
        matcher: Matcher,
        /// From then on; a maintenance that is planned begins later. The epoch is at once.
        starts_at: Timestamp,
        /// Until then.
        ends_at: Timestamp,
    },
    /// Two incidents are one. The one that was opened first takes the other over, and nothing parts them again.
    Merge {
        /// The id of one.
        id: String,
        /// That of the other.
        with: String,
    },
    /// What an incident has of some objects is another incident. Their Events go there from now on, and neither takes the
    /// other over again.
    Split {
        /// The incident's id.
        id: String,
        /// The objects: those that Events are about, or the workloads above them. By kind, namespace and name.
        objects: Vec<ObjectRef>,
    },
    /// That silence is over.
    Unsilence {
        /// The silence's id.
        silence: String,
    },
}

/// What somebody does to an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Act {
    /// Looks after it: nobody needs to be told again.
    Acknowledge,
    /// Does so no longer.
    Unacknowledge,
    /// Says something of it.
    #[default]
    Note,
    /// Says that it is over. It opens again when something more is heard of it.
    Resolve,
    /// Says that it is none, or not what it says it is, and ends it. A label by which the engine's work is judged.
    Wrong,
    /// Says that another is part of it. Likewise a label.
    Merge,
    /// Says that a part of it is another one. Likewise a label.
    Split,
}
names!(Act or Note {
    Acknowledge => "acknowledge", Unacknowledge => "unacknowledge", Note => "note", Resolve => "resolve", Wrong => "wrong",
    Merge => "merge", Split => "split",
});

/// Which incidents a silence is about: those for which all holds that it says. An empty one holds for all of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Matcher {
    /// The incident of that id.
    pub incident: String,
    /// Those that touch that namespace.
    pub namespace: String,
    /// Those whose cause has that class; `node.*` is all classes below `node.`.
    pub class: String,
    /// Those whose cause, or a workload that they touch, is of that kind, and has that name if one is given.
    pub kind: String,
    /// See `kind`.
    pub name: String,
    /// Those that are not more severe than that.
    pub severity: Option<Severity>,
}

/// A silence that is in force, or will be: the newest record of its key in topic `silences`. A tombstone ends it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Silence {
    /// Its id: that of the command that made it.
    pub id: String,
    /// The cluster's name.
    pub cluster: String,
    /// Which incidents.
    pub matcher: Matcher,
    /// Log time from which on nobody is told of them.
    pub starts_at: Timestamp,
    /// Log time until which nobody is.
    pub ends_at: Timestamp,
    /// Who said it.
    pub by: String,
    /// When, by the writer's clock.
    pub given_at: Timestamp,
    /// Why.
    pub why: String,
}

/// What somebody did to an incident, or said of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Note {
    /// The command's id.
    pub id: String,
    /// What was done.
    pub act: Act,
    /// By whom.
    pub by: String,
    /// When, by the writer's clock.
    pub at: Timestamp,
    /// Why, or what was said.
    pub text: String,
}

/// That nobody is told of an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Silenced {
    /// The silence's id.
    pub id: String,
    /// Who said it.
    pub by: String,
    /// Log time until which it holds.
    pub until: Timestamp,
    /// Why.
    pub why: String,
}

/// Why something is no command. Never retryable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It does not say what to do, or this version does not know how.
    #[error(
        "`action` is {0:?}: it must be acknowledge, unacknowledge, note, resolve, wrong, merge, split, silence or unsilence; if a newer version wrote it, upgrade this one"
    )]
    Action(String),
    /// A field is missing.
    #[error("`{field}` is missing: {mend}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What to write there.
        mend: &'static str,
    },
    /// A field is too long.
    #[error("`{field}` has {length} bytes and {limit} are allowed: shorten it")]
    Long {
        /// The field.
        field: &'static str,
        /// Its length, bytes.
        length: usize,
        /// What is allowed, bytes.
        limit: usize,
    },
    /// A text names no object.
    #[error("`objects` has {0:?}: write KIND/NAMESPACE/NAME, or KIND/NAME of what has no namespace")]
    Object(String),
    /// There are too many of them.
    #[error("`objects` has {0} objects and {OBJECTS} are allowed: name the workloads above them")]
    Objects(usize),
    /// A silence would be over before it begins.
    #[error("the silence would end at {ends_at}, and it begins at {starts_at}: it must end after it begins")]
    Backwards {
        /// When it would begin.
        starts_at: Timestamp,
        /// When it would end.
        ends_at: Timestamp,
    },
}

/// A command as it is written, in Avro and in JSON: flat, `action` says which of the other fields count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "Command", rename_all = "camelCase", default, deny_unknown_fields)]
struct Form {
    cluster: String,
    at: Timestamp,
    id: String,
    by: String,
    given_at: Timestamp,
    action: String,
    incident: String,
    silence: String,
    matcher: Matcher,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    why: String,
    other: String,
    objects: Vec<String>,
}

impl TryFrom<Form> for Command {
    type Error = CommandError;

    fn try_from(form: Form) -> Result<Self, CommandError> {
        let Matcher { incident, namespace, class, kind, name, .. } = &form.matcher;
        let names = [
            ("cluster", &form.cluster),
            ("id", &form.id),
            ("by", &form.by),
            ("incident", &form.incident),
            ("silence", &form.silence),
            ("other", &form.other),
            ("matcher.incident", incident),
            ("matcher.namespace", namespace),
            ("matcher.class", class),
            ("matcher.kind", kind),
            ("matcher.name", name),
        ];
        for (field, text, limit) in
            names.map(|(field, text)| (field, text, NAME)).into_iter().chain([("why", &form.why, TEXT)])
        {
            if text.len() > limit {
                return Err(CommandError::Long { field, length: text.len(), limit });
            }
        }
        let given = |field, text: String, mend| match text.as_str() {
            "" => Err(CommandError::Missing { field, mend }),
            _ => Ok(text),
        };
        let by = given("by", form.by, "say who you are")?;
        let action = match form.action.as_str() {
            "silence" => {
                let mend = "a time such as 2026-11-27T16:00:00Z";
                let ends_at = form.ends_at.ok_or(CommandError::Missing { field: "endsAt", mend })?;
                let starts_at = form.starts_at.unwrap_or_default();
                if ends_at <= starts_at {
                    return Err(CommandError::Backwards { starts_at, ends_at });
                }
                if form.matcher.kind.is_empty() && !form.matcher.name.is_empty() {
                    return Err(CommandError::Missing {
                        field: "matcher.kind",
                        mend: "say of which kind that name is",
                    });
                }
                Action::Silence { matcher: form.matcher, starts_at, ends_at }
            }
            "unsilence" => {
                Action::Unsilence { silence: given("silence", form.silence, "`epicenter silences` lists them")? }
            }
            "merge" => {
                let mend = "`epicenter incidents` lists them";
                Action::Merge { id: given("incident", form.incident, mend)?, with: given("other", form.other, mend)? }
            }
            "split" => {
                let mend = "what is to be another incident, such as Pod/shop/web-1";
                if form.objects.len() > OBJECTS {
                    return Err(CommandError::Objects(form.objects.len()));
                }
                let objects: Vec<_> = form.objects.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
                if objects.is_empty() {
                    return Err(CommandError::Missing { field: "objects", mend });
                }
                Action::Split { id: given("incident", form.incident, "`epicenter incidents` lists them")?, objects }
            }
            other => {
                let act = Act::ALL.iter().find(|act| act.name() == other);
                // Those that need more were read above.
                let act = *act.ok_or_else(|| CommandError::Action(other.to_owned()))?;
                if act == Act::Note {
                    given("why", form.why.clone(), "the text of the note")?;
                }
                Action::Incident { id: given("incident", form.incident, "`epicenter incidents` lists them")?, act }
            }
        };
        let Form { cluster, at, id, given_at, why, .. } = form;
        Ok(Self { cluster, at, id, by, given_at, why, action })
    }
}

impl From<Command> for Form {
    fn from(command: Command) -> Self {
        let Command { cluster, at, id, by, given_at, why, action } = command;
        let form = Self { cluster, at, id, by, given_at, why, action: action.name().to_owned(), ..Self::default() };
        match action {
            Action::Incident { id: incident, .. } => Self { incident, ..form },
            Action::Unsilence { silence } => Self { silence, ..form },
            Action::Merge { id: incident, with: other } => Self { incident, other, ..form },
            Action::Split { id: incident, objects } => {
                Self { incident, objects: objects.iter().map(path).collect(), ..form }
            }
            Action::Silence { matcher, starts_at, ends_at } => {
                Self { matcher, starts_at: Some(starts_at), ends_at: Some(ends_at), ..form }
            }
        }
    }
}

/// Reads `KIND/NAMESPACE/NAME`, or `KIND/NAME`, as it is typed.
impl std::str::FromStr for ObjectRef {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            _ if parts.contains(&"") || parts.iter().any(|part| part.len() > NAME) => {}
            [kind, namespace, name] => return Ok(Self::named(kind, namespace, name)),
            [kind, name] => return Ok(Self::named(kind, "", name)),
            _ => {}
        }
        Err(CommandError::Object(text.chars().take(NAME).collect()))
    }
}

fn path(object: &ObjectRef) -> String {
    let (kind, namespace, name) = object.full_name();
    [kind, namespace, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

impl Action {
    /// The incident that it is about, if it is about one.
    pub fn incident(&self) -> Option<&str> {
        match self {
            Self::Incident { id, .. } | Self::Merge { id, .. } | Self::Split { id, .. } => Some(id),
            Self::Silence { .. } | Self::Unsilence { .. } => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Incident { act, .. } => act.name(),
            Self::Merge { .. } => Act::Merge.name(),
            Self::Split { .. } => Act::Split.name(),
            Self::Silence { .. } => "silence",
            Self::Unsilence { .. } => "unsilence",
        }
    }
}

impl Command {
    /// The note that an act leaves in its incident.
    pub fn note(&self, act: Act) -> Note {
        Note { id: self.id.clone(), act, by: self.by.clone(), at: self.given_at, text: self.why.clone() }
    }
}

impl Matcher {
    /// Whether it holds for `incident`; its members do not count.
    pub fn holds(&self, incident: &Incident) -> bool {
        let any = |wanted: &String, is: &dyn Fn() -> bool| wanted.is_empty() || is();
        let cause = &incident.cause;
        let object =
            |object: &ObjectRef| object.kind == self.kind && (self.name.is_empty() || object.name == self.name);
        any(&self.incident, &|| incident.id == self.incident)
            && any(&self.namespace, &|| incident.touches(&self.namespace))
            && any(&self.class, &|| match self.class.strip_suffix('*') {
                Some(beginning) => cause.class.starts_with(beginning),
                None => cause.class == self.class,
            })
            && any(&self.kind, &|| object(&cause.object) || incident.impact.workloads.iter().any(object))
            && self.severity.is_none_or(|most| incident.severity <= most)
    }
}

impl Silence {
    /// What an incident says of it.
    pub fn shown(&self) -> Silenced {
        Silenced { id: self.id.clone(), by: self.by.clone(), until: self.ends_at, why: self.why.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(json: &str, expected: &str) {
        let error = serde_json::from_str::<Command>(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_no_command_is_refused_with_the_reason() {
        check_refused(r#"{"by": "anna", "action": "shout"}"#, "`action` is \"shout\": it must be acknowledge, ");
        check_refused(
            r#"{"by": "anna", "action": "note", "incident": "epc-a"}"#,
            "`why` is missing: the text of the note",
        );
        check_refused(
            r#"{"by": "anna", "action": "acknowledge"}"#,
            "`incident` is missing: `epicenter incidents` lists",
        );
        check_refused(r#"{"action": "acknowledge", "incident": "epc-a"}"#, "`by` is missing: say who you are");
        let part = r#""by": "anna", "action": "split", "incident": "epc-a""#;
        check_refused(&format!("{{{part}}}"), "`objects` is missing: what is to be another incident");
        check_refused(
            &format!(r#"{{{part}, "objects": ["Pod"]}}"#),
            "`objects` has \"Pod\": write KIND/NAMESPACE/NAME",
        );
        check_refused(&format!(r#"{{{part}, "objects": ["Pod//x"]}}"#), "`objects` has \"Pod//x\"");
        let many = vec!["Node/n1"; 101];
        check_refused(&format!(r#"{{{part}, "objects": {many:?}}}"#), "`objects` has 101 objects and 100 are allowed");
        check_refused(r#"{"by": "anna", "action": "merge", "incident": "epc-a"}"#, "`other` is missing");
        check_refused(r#"{"by": "anna", "action": "silence"}"#, "`endsAt` is missing");
        check_refused(
            r#"{"by": "anna", "action": "silence", "startsAt": "2026-11-27T16:00:00Z", "endsAt": "2026-11-27T15:00:00Z"}"#,
            "the silence would end at 2026-11-27T15:00:00Z, and it begins at 2026-11-27T16:00:00Z: it must end after",
        );
        let silence = r#""by": "anna", "action": "silence", "endsAt": "2026-11-27T15:00:00Z""#;
        check_refused(&format!(r#"{{{silence}, "matcher": {{"name": "db"}}}}"#), "`matcher.kind` is missing");
        check_refused(&format!(r#"{{{silence}, "matcher": {{"namespce": "shop"}}}}"#), "unknown field `namespce`");
        check_refused(
            &format!(r#"{{{silence}, "cluster": "{}"}}"#, "x".repeat(300)),
            "`cluster` has 300 bytes and 253",
        );
    }

    #[test]
    fn what_parts_and_what_puts_together_is_read_as_it_was_written() {
        for json in [
            r#"{"by": "anna", "action": "split", "incident": "epc-a", "objects": ["Node/n1", "Pod/shop/web-1"]}"#,
            r#"{"by": "anna", "action": "merge", "incident": "epc-a", "other": "epc-b"}"#,
        ] {
            let command: Command = serde_json::from_str(json).unwrap();
            let again: Command = serde_json::from_str(&serde_json::to_string(&command).unwrap()).unwrap();
            assert_eq!((again.action.incident(), &again), (Some("epc-a"), &command));
        }
    }

    #[track_caller]
    fn check(matcher: Matcher, expected: bool) {
        let mut incident = Incident { id: "epc-a".into(), severity: Severity::Medium, ..Incident::default() };
        incident.cause.class = "node.not_ready".into();
        incident.cause.object = ObjectRef::named("Node", "", "n1");
        incident.impact.namespaces = vec!["shop".into(), "web".into()];
        incident.impact.workloads = vec![ObjectRef::named("Deployment", "shop", "checkout")];
        assert_eq!(matcher.holds(&incident), expected, "{matcher:?}");
    }

    #[test]
    fn a_silence_is_about_what_all_of_it_describes() {
        let matcher = Matcher::default;
        check(matcher(), true);
        check(Matcher { incident: "epc-a".into(), ..matcher() }, true);
        check(Matcher { incident: "epc-b".into(), ..matcher() }, false);
        check(Matcher { namespace: "web".into(), ..matcher() }, true);
        check(Matcher { namespace: "team".into(), ..matcher() }, false);
        check(Matcher { class: "node.*".into(), ..matcher() }, true);
        check(Matcher { class: "node.not_ready".into(), ..matcher() }, true);
        check(Matcher { class: "node".into(), ..matcher() }, false);
        check(Matcher { kind: "Deployment".into(), name: "checkout".into(), ..matcher() }, true);
        check(Matcher { kind: "Node".into(), ..matcher() }, true);
        check(Matcher { kind: "Node".into(), name: "n2".into(), ..matcher() }, false);
        check(Matcher { severity: Some(Severity::Medium), ..matcher() }, true);
        check(Matcher { severity: Some(Severity::Low), ..matcher() }, false);
        check(Matcher { namespace: "shop".into(), class: "image.*".into(), ..matcher() }, false);
    }
}
