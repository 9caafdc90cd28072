//! Tokens of OAUTHBEARER for the brokers: of a file that somebody else renews, or of an identity provider.

mod endpoint;
mod file;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

pub use endpoint::{TokenEndpoint, TokenEndpointConfig};
pub use file::TokenFile;

/// A token that does not tell its life is taken to live so long, and one in a file is read again before that time is over, ms: a
/// new one may be there before the old one expires.
const LIFE: i64 = 5 * 60 * 1000;

/// What is read of a token (RFC 7519).
#[derive(Default, Deserialize)]
struct Claims {
    /// When it expires, s since the epoch.
    exp: Option<f64>,
    #[serde(default)]
    sub: String,
}

impl Claims {
    /// Those of a signed token; none when it is an opaque one.
    fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).and_then(|part| BASE64URL_NOPAD.decode(part.as_bytes()).ok());
        payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
    }

    /// When it expires, ms since the epoch.
    fn expires(&self) -> Option<i64> {
        self.exp.map(|exp| (exp * 1000.0) as i64)
    }
}

/// A token with those claims.
#[cfg(test)]
fn signed(claims: &str) -> String {
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}.c2ln", encode(r#"{"alg":"RS256"}"#), encode(claims))
}
