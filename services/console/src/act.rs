//! What people say on a page, as commands in the cluster's log (docs/adr/0023): what the command line says, in the same form.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use epicenter_intake::IntakeError;
use epicenter_model::{Act, Action, Command, Matcher, Severity, Timestamp};

use crate::filter::named;
use crate::guard::cookie;
use crate::page::{self, Said, encoded, incident_address};
use crate::serve::Site;
use crate::visit::Visit;

/// How long to wait until what was said is seen.
const SEEN: Duration = Duration::from_secs(3);
/// Who said something is not asked again.
pub(crate) const NAME: &str = "epicenter_by";

/// Fields of a form.
type Fields = BTreeMap<String, String>;

/// Why something was not said: for people.
type Refusal = (StatusCode, String);

pub(crate) async fn on_incident(visit: Visit, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let fields = fields(&body);
    match say(&visit, || incident(&id, &fields, visit.now())).await {
        Ok((command, is_seen)) => {
            let done = if is_seen { command.action.name() } else { "written" };
            let to = format!("{}?done={done}", incident_address(&id));
            ([(header::SET_COOKIE, remembered(&command.by))], Redirect::to(&to)).into_response()
        }
        Err((status, why)) => {
            let by = of(&fields, "by").to_owned();
            let by = if by.is_empty() { who(&visit, &headers) } else { by };
            let said = Said { refused: Some((status, why, of(&fields, "why").to_owned())), by, notice: None };
            page::incident(&visit, &id, said).await.into_response()
        }
    }
}

pub(crate) async fn on_silences(visit: Visit, headers: HeaderMap, body: Bytes) -> Response {
    let fields = fields(&body);
    match say(&visit, || silences(&fields, visit.now())).await {
        Ok((command, _)) => {
            ([(header::SET_COOKIE, remembered(&command.by))], Redirect::to("/silences")).into_response()
        }
        Err((status, why)) => (status, page::silences(&visit, &who(&visit, &headers), Some(&why))).into_response(),
    }
}

/// Writes a command, and waits a while for what comes of it; gives the command as it was written, and whether that was seen.
async fn say(visit: &Visit, make: impl FnOnce() -> Result<Command, String>) -> Result<(Command, bool), Refusal> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    // What the log would refuse is refused here, with its own words.
    let form = serde_json::to_value(make().map_err(bad)?);
    let command: Command = form.and_then(serde_json::from_value).map_err(|error| bad(error.to_string()))?;
    let Ok(place) = Arc::clone(&visit.writers).try_acquire_owned() else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "Too many say something at once. Try again.".to_owned()));
    };
    let mut changes = visit.console.board.watch();
    let (intake, access) = (visit.console.intake.clone(), visit.access.clone());
    let writing = move || {
        let _place = place;
        intake.command(command, &access)
    };
    let written = match tokio::task::spawn_blocking(writing).await {
        Ok(Ok(written)) => written,
        Ok(Err(error)) => {
            let status = match &error {
                IntakeError::Refused(_) => StatusCode::BAD_REQUEST,
                IntakeError::Unknown(_) => StatusCode::NOT_FOUND,
                IntakeError::Forbidden(_) => StatusCode::FORBIDDEN,
                IntakeError::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
                IntakeError::Codec(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return Err((status, error.to_string()));
        }
        Err(error) => return Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    };
    let seen = async {
        while !is_seen(visit, &written) {
            if changes.changed().await.is_err() {
                break;
            }
        }
    };
    let is_seen = tokio::time::timeout(SEEN, seen).await.is_ok();
    Ok((written, is_seen))
}

fn is_seen(site: &Site, command: &Command) -> bool {
    site.console.board.look(|held| match &command.action {
        Action::Incident { id, .. } | Action::Merge { id, .. } | Action::Split { id, .. } => {
            held.find(id).is_some_and(|shown| shown.head.notes.iter().any(|note| note.id == command.id))
        }
        Action::Silence { matcher, .. } => {
            let silences = held.silences();
            let is_listed = silences.iter().any(|silence| silence.id == command.id);
            let is_on = |id: &str| held.find(id).is_none_or(|shown| shown.head.silenced.is_some());
            is_listed && (matcher.incident.is_empty() || is_on(&matcher.incident))
        }
        Action::Unsilence { silence } => !held.silences().iter().any(|it| it.id == *silence),
    })
}

/// A form on the page of an incident.
fn incident(id: &str, fields: &Fields, now: Timestamp) -> Result<Command, String> {
    let action = match of(fields, "act") {
        "silence" => {
            let matcher = Matcher { incident: id.to_owned(), ..Matcher::default() };
            Action::Silence { matcher, starts_at: Timestamp::default(), ends_at: now.plus_millis(length(fields)?) }
        }
        "unsilence" => Action::Unsilence { silence: of(fields, "silence").to_owned() },
        act => {
            let act = named("act", act, Act::ALL, Act::name)?.ok_or("Choose what to do.")?;
            if act == Act::Note && of(fields, "why").is_empty() {
                return Err("Write the note first.".to_owned());
            }
            Action::Incident { id: id.to_owned(), act }
        }
    };
    command(fields, of(fields, "cluster"), action, now)
}

/// A form on the page of silences.
fn silences(fields: &Fields, now: Timestamp) -> Result<Command, String> {
    let silence = of(fields, "silence").to_owned();
    if !silence.is_empty() {
        return command(fields, of(fields, "cluster"), Action::Unsilence { silence }, now);
    }
    let (kind, name) = of(fields, "object").split_once('/').unwrap_or((of(fields, "object"), ""));
    let severity = named("severity", of(fields, "severity"), Severity::ALL, Severity::name)?;
    let matcher = Matcher {
        incident: String::new(),
        namespace: of(fields, "namespace").to_owned(),
        class: of(fields, "class").to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        severity,
    };
    if matcher == Matcher::default() {
        return Err("Say of which incidents: name a namespace, a class, an object or a severity.".to_owned());
    }
    let starts_at = match of(fields, "from") {
        "" => Timestamp::default(),
        from => instant(from)?,
    };
    let ends_at = match of(fields, "until") {
        "" if starts_at == Timestamp::default() => now.plus_millis(length(fields)?),
        "" => starts_at.plus_millis(length(fields)?),
        until => instant(until)?,
    };
    command(fields, of(fields, "cluster"), Action::Silence { matcher, starts_at, ends_at }, now)
}

fn command(fields: &Fields, cluster: &str, action: Action, now: Timestamp) -> Result<Command, String> {
    let by = of(fields, "by").to_owned();
    if by.is_empty() {
        return Err("Say who you are.".to_owned());
    }
    let (cluster, why) = (cluster.to_owned(), of(fields, "why").to_owned());
    Ok(Command { cluster, at: Timestamp::default(), id: String::new(), by, given_at: now, why, action })
}

/// A time as browsers send it (`2026-11-27T16:00`), UTC, or as anybody else would.
fn instant(text: &str) -> Result<Timestamp, String> {
    let whole = if text.len() == 16 { format!("{text}:00Z") } else { text.to_owned() };
    whole.parse().map_err(|error: epicenter_model::TimestampError| error.to_string())
}

/// How long, ms.
fn length(fields: &Fields) -> Result<i64, String> {
    let text = of(fields, "for");
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let length = parsed.map_err(|_| format!("`{text}` is no duration such as 30m or 2h"))?;
    i64::try_from(length.as_millis()).map_err(|_| format!("`{text}` is too long"))
}

fn fields(body: &[u8]) -> Fields {
    url::form_urlencoded::parse(body).map(|(key, value)| (key.into_owned(), value.trim().to_owned())).collect()
}

fn of<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.get(name).map_or("", String::as_str)
}

/// Who is asked for a name: who said something last in this browser, else the process's own user.
pub(crate) fn who(site: &Site, headers: &HeaderMap) -> String {
    let remembered = cookie(headers, NAME).map(|value| {
        let pair = format!("by={value}");
        fields(pair.as_bytes()).remove("by").unwrap_or_default()
    });
    remembered.filter(|by| !by.is_empty()).unwrap_or_else(|| site.console.user.clone())
}

fn remembered(by: &str) -> String {
    format!("{NAME}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000", encoded(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn forms_are_commands() {
        let made = |body: &str| incident("epc-a", &fields(body.as_bytes()), NOW);
        let command = made("act=acknowledge&by=anna&why=+the+tag+is+wrong%0D%0Aset-cookie").unwrap();
        assert_eq!(command.action, Action::Incident { id: "epc-a".into(), act: Act::Acknowledge });
        assert_eq!((command.by.as_str(), command.why.as_str()), ("anna", "the tag is wrong\r\nset-cookie"));
        let command = made("act=silence&for=2h&by=anna").unwrap();
        let Action::Silence { matcher, ends_at, .. } = command.action else { panic!("{command:?}") };
        assert!(matcher.incident == "epc-a" && ends_at.millis_since(NOW) == 7_200_000);
        for (body, why) in [
            ("by=anna", "Choose what to do."),
            ("act=shout&by=anna", "act: `shout` is none of acknowledge, "),
            ("act=note&by=anna", "Write the note first."),
            ("act=resolve", "Say who you are."),
            ("act=silence&for=soon&by=anna", "`soon` is no duration"),
        ] {
            let error = made(body).unwrap_err();
            assert!(error.starts_with(why), "{body}: {error}");
        }
    }

    #[test]
    fn silences_say_of_what() {
        let made = |body: &str| silences(&fields(body.as_bytes()), NOW);
        let command = made("by=anna&object=Deployment%2Fweb&cluster=a&from=2030-01-01T10:00&for=1h").unwrap();
        let Action::Silence { matcher, starts_at, ends_at } = command.action else { panic!() };
        assert_eq!(
            (matcher.kind.as_str(), matcher.name.as_str(), command.cluster.as_str()),
            ("Deployment", "web", "a")
        );
        assert_eq!(
            (starts_at.to_string().as_str(), ends_at.millis_since(starts_at)),
            ("2030-01-01T10:00:00Z", 3_600_000)
        );
        assert!(made("by=anna&for=1h").unwrap_err().starts_with("Say of which incidents"));
        let command = made("by=anna&silence=s1&cluster=a").unwrap();
        assert_eq!(command.action, Action::Unsilence { silence: "s1".into() });
    }

    #[test]
    fn a_name_is_remembered_as_it_is() {
        let header = remembered("Anna Ö;\r\n x=1");
        assert!(header.starts_with("epicenter_by=Anna%20%C3%96%3B%0D%0A%20x%3D1; Path=/"), "{header}");
    }
}
