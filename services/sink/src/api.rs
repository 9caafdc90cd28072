//! Requests to the API server: a deadline for each, and what a failure means.

use std::future::Future;
use std::time::Duration;

use epicenter_runtime::with_causes;

use crate::crd::GUARD_MESSAGE;

/// A request that has no answer by then has failed. It may have had its effect: every request can be repeated.
const DEADLINE: Duration = Duration::from_secs(10);

/// Said where the custom resource is missing or too old.
pub(crate) const INSTALL: &str = "install it: `epicenter crd | kubectl apply --server-side -f -`";

/// Why a request had no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiFault {
    /// The object shows something newer already.
    Newer,
    /// It exists already.
    Exists,
    /// It does not exist.
    Missing,
    /// It is refused for what it says: the same request would be refused again.
    Refused(String),
    /// It is not allowed.
    Forbidden(String),
    /// It may succeed later.
    Blocked(Blocked),
}

/// Nothing goes on until this passes, or somebody mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// What, why, and how to mend it.
    pub why: String,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Blocked {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after: None }
    }
}

/// Makes a request. `what` names it in messages.
pub(crate) async fn call<T>(what: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiFault> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| meaning(what, &error)),
        Err(_) => {
            let why = format!("{what}: no answer from the API server within {} s", DEADLINE.as_secs());
            Err(ApiFault::Blocked(Blocked::new(why)))
        }
    }
}

fn meaning(what: &str, error: &kube::Error) -> ApiFault {
    let status = match error {
        kube::Error::Api(status) => status,
        kube::Error::SerdeError(source) => {
            return ApiFault::Refused(format!("{what}: the answer is not what this version expects: {source}"));
        }
        other => return ApiFault::Blocked(Blocked::new(format!("{what}: {}", with_causes(other)))),
    };
    let message = format!("{what}: {} {}", status.code, status.message);
    if status.message.contains("field not declared in schema") {
        return ApiFault::Blocked(Blocked::new(format!(
            "{message}. The custom resource definition is older than this version: {INSTALL}"
        )));
    }
    match status.code {
        422 if status.message.contains(GUARD_MESSAGE) => ApiFault::Newer,
        409 if status.is_already_exists() => ApiFault::Exists,
        404 => ApiFault::Missing,
        403 => ApiFault::Forbidden(message),
        401 | 408 | 409 | 429 | 500.. => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
            ApiFault::Blocked(Blocked { why: message, retry_after })
        }
        _ => ApiFault::Refused(message),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    #[track_caller]
    fn check(code: u16, message: &str, reason: &str, expected: ApiFault) {
        let details: StatusDetails = serde_json::from_str(r#"{"retryAfterSeconds":3}"#).unwrap();
        let status = Status::failure(message, reason).with_code(code).with_details(details);
        assert_eq!(meaning("x", &kube::Error::Api(status.boxed())), expected);
    }

    #[test]
    fn tells_what_passes_from_what_does_not() {
        let blocked =
            |why: &str| ApiFault::Blocked(Blocked { why: why.into(), retry_after: Some(Duration::from_secs(3)) });
        check(422, &format!("Incident is invalid: status: {GUARD_MESSAGE}"), "Invalid", ApiFault::Newer);
        check(422, "status.state: bad", "Invalid", ApiFault::Refused("x: 422 status.state: bad".into()));
        check(413, "too large", "", ApiFault::Refused("x: 413 too large".into()));
        check(409, "it exists", "AlreadyExists", ApiFault::Exists);
        check(409, "changed meanwhile", "Conflict", blocked("x: 409 changed meanwhile"));
        check(404, "page not found", "", ApiFault::Missing);
        check(403, "no", "Forbidden", ApiFault::Forbidden("x: 403 no".into()));
        check(429, "slowly", "", blocked("x: 429 slowly"));
        check(503, "away", "", blocked("x: 503 away"));
    }

    #[test]
    fn says_that_the_definition_is_too_old() {
        let status = Status::failure(".status.new: field not declared in schema", "").with_code(500);
        let ApiFault::Blocked(blocked) = meaning("x", &kube::Error::Api(status.boxed())) else { panic!() };
        assert!(blocked.why.ends_with(&format!("is older than this version: {INSTALL}")), "{}", blocked.why);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_a_request_without_answer() {
        let fault = call("get", std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert_eq!(fault, ApiFault::Blocked(Blocked::new("get: no answer from the API server within 10 s")));
    }
}
