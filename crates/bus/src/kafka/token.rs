//! A token of OAUTHBEARER that somebody else renews in a file, as a kubelet does with a service account's.

use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// The file is read again before that time is over, ms, however long the token lives: a new one may be there before the old
/// one expires. A token that does not tell its life is taken to live so long.
const LIFE: i64 = 5 * 60 * 1000;

/// Why there is no token. All of it may pass: somebody writes the file anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("bus.kafka.token_file: {path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("bus.kafka.token_file: {path} is empty")]
    Empty { path: PathBuf },
    #[error("bus.kafka.token_file: the token in {path} expired {seconds} s ago, and was not renewed")]
    Expired { path: PathBuf, seconds: i64 },
}

/// What is read of a token (RFC 7519).
#[derive(Default, Deserialize)]
struct Claims {
    /// When it expires, s since the epoch.
    exp: Option<f64>,
    #[serde(default)]
    sub: String,
}

/// The token in the file. `now` is in ms since the epoch.
pub(super) fn read(path: &Path, now: i64) -> Result<OAuthToken, TokenError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenError::Empty { path: path.to_owned() });
    }
    let Claims { exp, sub } = claims(token).unwrap_or_default();
    let expires = exp.map_or(i64::MAX, |exp| (exp * 1000.0) as i64);
    if expires <= now {
        return Err(TokenError::Expired { path: path.to_owned(), seconds: (now - expires) / 1000 });
    }
    Ok(OAuthToken { token: token.to_owned(), principal_name: sub, lifetime_ms: expires.min(now + LIFE) })
}

/// The claims of a signed token; `None` when it is an opaque one.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(claims: &str) -> String {
        format!(
            "{}.{}.c2ln\n",
            BASE64URL_NOPAD.encode(b"{\"alg\":\"RS256\"}"),
            BASE64URL_NOPAD.encode(claims.as_bytes())
        )
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, i64), &str>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, text).unwrap();
        let found = read(&path, 1_000_000).map(|token| (token.principal_name, token.lifetime_ms));
        match (found, expected) {
            (Ok((name, life)), Ok(expected)) => assert_eq!((name.as_str(), life), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn lives_as_long_as_it_says_and_is_read_again_soon() {
        check(&signed(r#"{"sub":"epicenter","exp":1010.5}"#), Ok(("epicenter", 1_010_500)));
        check(&signed(r#"{"sub":"epicenter","exp":99999}"#), Ok(("epicenter", 1_000_000 + LIFE)));
        check(&signed("{}"), Ok(("", 1_000_000 + LIFE)));
        check("opaque\n", Ok(("", 1_000_000 + LIFE)));
        check(&signed(r#"{"exp":990}"#), Err("expired 10 s ago"));
        check("\n", Err("is empty"));
        let missing = read(Path::new("/no/such/token"), 0).err().map(|error| error.to_string());
        assert!(missing.is_some_and(|said| said.contains("cannot be read")));
    }
}
