//! What people write onto Incident objects: `kubectl annotate incident epc-… epicenter.dev/ack="I look at it"`.
//!
//! An annotation is a letter: once it is in the log it is taken away, and what came of it stands in the object's status.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use epicenter_model::{Act, Action, Command, Matcher, Timestamp};
use epicenter_runtime::{Access, Backoff, Health, with_causes};
use futures::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Client, core::GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::intake::{Intake, IntakeError};

const PREFIX: &str = "epicenter.dev/";
/// Says who writes the others.
const BY: &str = "epicenter.dev/by";
/// Says why the last one had no effect.
const REFUSED: &str = "epicenter.dev/refused";
const MANAGER: &str = "epicenter-intake";
/// Objects in one page of a list.
const PAGE: u32 = 100;
/// Between two attempts, ms.
const RETRY_FIRST_MS: u64 = 1_000;
const RETRY_LONGEST_MS: u64 = 60_000;
/// How long one watch goes on, s. Behind it everything is looked at again.
const WATCH_S: u32 = 280;
/// A watch that ends later has lost its server.
const OVERDUE: Duration = Duration::from_secs(300);
/// A request that has no answer by then has failed.
const DEADLINE: Duration = Duration::from_secs(10);

/// What an annotation comes to.
#[derive(Debug, PartialEq)]
enum Letter {
    Command(Box<Command>),
    /// It is none: why, and how to mend it.
    Refused(String),
}

/// Why objects cannot be read or written now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{}; allow list, watch and patch of incidents.epicenter.dev", with_causes(.0))]
    Api(#[from] kube::Error),
    #[error("no answer from the API server within {} s", DEADLINE.as_secs())]
    Silent,
    #[error("{0}")]
    Log(#[from] IntakeError),
}

/// Takes the annotations of the Incident objects that `client` reaches into the log of `cluster`, until `token` is cancelled.
/// What is away for a while is reported to `health` as `annotations/<cluster>` with how to mend it, and tried again. Give it a
/// client that is fit for watches.
///
/// # Errors
/// None.
pub async fn run_annotations(
    client: Client,
    intake: Intake,
    cluster: String,
    token: CancellationToken,
    health: Health,
) -> Result<(), Infallible> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("epicenter.dev", "v1alpha1", "Incident"));
    let reader = Reader { incidents: Api::all_with(client, &resource), intake, cluster, health };
    let _ = token.run_until_cancelled_owned(reader.run()).await;
    Ok(())
}

struct Reader {
    incidents: Api<DynamicObject>,
    intake: Intake,
    cluster: String,
    health: Health,
}

/// A request with its deadline.
async fn asked<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    Ok(tokio::time::timeout(DEADLINE, request).await.map_err(|_| Trouble::Silent)??)
}

impl Reader {
    async fn run(self) {
        let part = format!("annotations/{}", self.cluster);
        let mut backoff = Backoff::new(RETRY_FIRST_MS, RETRY_LONGEST_MS);
        loop {
            let well = || {
                self.health.well(&part);
                backoff.reset();
            };
            if let Err(trouble) = self.follow(well).await {
                self.health.unwell(&part, trouble.to_string());
                backoff.wait(None).await;
            }
        }
    }

    /// Reads all objects, and then their changes until the watch ends.
    async fn follow(&self, well: impl FnOnce()) -> Result<(), Trouble> {
        let mut page = ListParams::default().limit(PAGE);
        let version = loop {
            let list = asked(self.incidents.list_metadata(&page)).await?;
            for object in &list.items {
                self.open(&object.metadata).await?;
            }
            match list.metadata.continue_ {
                Some(token) if !token.is_empty() => page = page.continue_token(&token),
                _ => break list.metadata.resource_version.unwrap_or_default(),
            }
        };
        let parameters = WatchParams::default().timeout(WATCH_S);
        let watch = asked(self.incidents.watch_metadata(&parameters, &version)).await?;
        well();
        let (mut watch, overdue) = (std::pin::pin!(watch), Instant::now() + OVERDUE);
        while let Some(event) =
            tokio::time::timeout_at(overdue, watch.try_next()).await.map_err(|_| Trouble::Silent)??
        {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => self.open(&object.metadata).await?,
                // Its history is gone: the list says how it is.
                WatchEvent::Error(_) => return Ok(()),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(())
    }

    /// Takes an object's letters.
    async fn open(&self, object: &ObjectMeta) -> Result<(), Trouble> {
        let letters = letters(object);
        if letters.is_empty() {
            return Ok(());
        }
        let mut answer: BTreeMap<String, Value> = BTreeMap::from([(BY.to_owned(), Value::Null)]);
        let mut refused = Value::Null;
        for (key, letter) in letters {
            let outcome = match letter {
                Letter::Command(command) => self.write(*command).await,
                Letter::Refused(why) => Err(IntakeError::Refused(why)),
            };
            match outcome {
                Ok(()) => {}
                Err(IntakeError::Refused(why) | IntakeError::Unknown(why)) => refused = format!("{key}: {why}").into(),
                Err(error) => return Err(error.into()),
            }
            answer.insert(key, Value::Null);
        }
        answer.insert(REFUSED.to_owned(), refused);
        // Whoever has written another letter meanwhile is answered by the next round.
        let metadata = json!({"annotations": answer, "resourceVersion": object.resource_version});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let name = object.name.as_deref().unwrap_or_default();
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match asked(self.incidents.patch_metadata(name, &parameters, &patch)).await {
            Err(Trouble::Api(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    async fn write(&self, command: Command) -> Result<(), IntakeError> {
        let (intake, cluster) = (self.intake.clone(), self.cluster.clone());
        let written = tokio::task::spawn_blocking(move || {
            intake.command(Command { cluster, ..command }, &Access::whole()).map(|_| ())
        });
        written.await.unwrap_or_else(|error| Err(IntakeError::Refused(error.to_string())))
    }
}

/// The letters that an object carries, by the annotation's name. The same letter has the same id.
fn letters(object: &ObjectMeta) -> Vec<(String, Letter)> {
    let annotations = object.annotations.iter().flatten();
    let letters = annotations.filter_map(|(key, value)| {
        let word = key.strip_prefix(PREFIX)?;
        let writer = object
            .managed_fields
            .iter()
            .flatten()
            .filter(|entry| owns(entry, key))
            .max_by_key(|entry| entry.time.clone());
        let manager = writer.and_then(|writer| writer.manager.clone()).unwrap_or_else(|| "an annotation".to_owned());
        let by = object.annotations.as_ref().and_then(|all| all.get(BY)).cloned().unwrap_or(manager);
        let time = writer.and_then(|writer| writer.time.as_ref());
        let given_at = time.map_or_else(Timestamp::default, |time| Timestamp::from_micros(time.0.as_microsecond()));
        let incident = object.name.clone().unwrap_or_default();
        let (action, why) = match act(word) {
            Some(act) => (Ok(Action::Incident { id: incident, act }), value.trim()),
            None if word == "silence" => silence(incident, value, given_at),
            None => return None,
        };
        let mut digest = Sha256::new();
        for part in [object.uid.as_deref().unwrap_or_default(), key, value, &given_at.to_string()] {
            digest.update(part);
            digest.update([0]);
        }
        let id = data_encoding::BASE32_NOPAD.encode(&digest.finalize()[..10]).to_lowercase();
        let (cluster, at, why) = (String::new(), Timestamp::default(), why.to_owned());
        let command = action.map(|action| Command { cluster, at, id, by, given_at, why, action });
        let letter =
            command.and_then(checked).map_or_else(Letter::Refused, |command| Letter::Command(Box::new(command)));
        Some((key.clone(), letter))
    });
    letters.collect()
}

/// A command that the log takes, or why it would not.
fn checked(command: Command) -> Result<Command, String> {
    let written = serde_json::to_value(command).map_err(|error| error.to_string())?;
    serde_json::from_value(written).map_err(|error| error.to_string())
}

fn act(word: &str) -> Option<Act> {
    Some(match word {
        "ack" => Act::Acknowledge,
        "unack" => Act::Unacknowledge,
        "note" => Act::Note,
        "resolve" => Act::Resolve,
        "wrong" => Act::Wrong,
        _ => return None,
    })
}

/// `2h`, or `2h the vendor is on it`.
fn silence(incident: String, value: &str, given_at: Timestamp) -> (Result<Action, String>, &str) {
    let (text, why) = value.trim().split_once(char::is_whitespace).unwrap_or((value.trim(), ""));
    let millis = text.parse::<jiff::SignedDuration>().ok().and_then(|it| i64::try_from(it.as_millis()).ok());
    let silence = |millis: i64| Action::Silence {
        matcher: Matcher { incident, ..Matcher::default() },
        starts_at: Timestamp::default(),
        ends_at: given_at.plus_millis(millis),
    };
    let mend = || format!("{text:?} is no duration: write one such as 30m or 2h, and why behind it");
    (millis.map(silence).ok_or_else(mend), why.trim())
}

/// Whether a field manager wrote that annotation.
fn owns(entry: &ManagedFieldsEntry, key: &str) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:metadata"]["f:annotations"]);
    fields.is_some_and(|fields| fields.get(format!("f:{key}")).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(annotations: &Value) -> ObjectMeta {
        let fields: serde_json::Map<_, _> =
            annotations.as_object().unwrap().keys().map(|key| (format!("f:{key}"), json!({}))).collect();
        serde_json::from_value(json!({"name": "epc-a", "uid": "u", "annotations": annotations, "managedFields": [
            {"manager": "epicenter-sink", "time": "2026-11-27T16:00:00Z", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
            {"manager": "kubectl-annotate", "time": "2026-11-27T15:00:00Z", "fieldsV1": {"f:metadata": {"f:annotations": fields}}},
        ]}))
        .unwrap()
    }

    #[track_caller]
    fn check(annotations: &Value, expected: &[&str]) {
        let shown: Vec<_> = letters(&object(annotations))
            .into_iter()
            .map(|(key, letter)| match letter {
                Letter::Refused(why) => format!("{key} refused: {why}"),
                Letter::Command(it) => match &it.action {
                    Action::Silence { ends_at, .. } => format!("silence until {ends_at} by {}: {}", it.by, it.why),
                    action => format!("{} at {} by {}: {}", action.name(), it.given_at, it.by, it.why),
                },
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn reads_what_people_write() {
        check(&json!({"other.dev/ack": "x", "epicenter.dev/refused": "y", "epicenter.dev/by": "z"}), &[]);
        check(&json!({"epicenter.dev/ack": ""}), &["acknowledge at 2026-11-27T15:00:00Z by kubectl-annotate: "]);
        check(
            &json!({"epicenter.dev/wrong": "a drill", "epicenter.dev/by": "anna"}),
            &["wrong at 2026-11-27T15:00:00Z by anna: a drill"],
        );
        check(
            &json!({"epicenter.dev/silence": "2h the vendor is on it"}),
            &["silence until 2026-11-27T17:00:00Z by kubectl-annotate: the vendor is on it"],
        );
        check(
            &json!({"epicenter.dev/silence": "banana"}),
            &[
                "epicenter.dev/silence refused: \"banana\" is no duration: write one such as 30m or 2h, and why behind it",
            ],
        );
        check(
            &json!({"epicenter.dev/note": ""}),
            &["epicenter.dev/note refused: `why` is missing: the text of the note"],
        );
    }

    #[test]
    fn the_same_letter_is_the_same_command() {
        let id = |value: &str| match letters(&object(&json!({"epicenter.dev/ack": value}))).remove(0).1 {
            Letter::Command(command) => command.id,
            Letter::Refused(why) => panic!("{why}"),
        };
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
    }
}
