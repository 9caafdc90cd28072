//! A token that somebody else renews in a file, as a kubelet does with a service account's.

use std::path::PathBuf;

use epicenter_bus::{Token, TokenError, Tokens};

use super::{Claims, LIFE};
use crate::now;

/// The token in a file. It is read again before it expires, and every few minutes at least.
#[derive(Debug)]
pub struct TokenFile(
    /// The file.
    pub PathBuf,
);

impl Tokens for TokenFile {
    fn token(&self) -> Result<Token, TokenError> {
        self.read(now().as_millis())
    }
}

impl TokenFile {
    /// The token, at `now`, in ms since the epoch.
    fn read(&self, now: i64) -> Result<Token, TokenError> {
        let path = self.0.display();
        let wrong = |what: String| TokenError {
            why: format!("bus.kafka.token_file: {what}"),
            mend: "Check that file, and who renews it".to_owned(),
        };
        let text =
            std::fs::read_to_string(&self.0).map_err(|error| wrong(format!("{path} cannot be read: {error}")))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(wrong(format!("{path} is empty")));
        }
        let claims = Claims::of(token);
        let expires = claims.expires().unwrap_or(i64::MAX);
        if expires <= now {
            let seconds = (now - expires) / 1000;
            return Err(wrong(format!("the token in {path} expired {seconds} s ago, and was not renewed")));
        }
        Ok(Token { value: token.to_owned(), principal: claims.sub, until: expires.min(now + LIFE) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::signed;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, i64), &str>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, text).unwrap();
        let found = TokenFile(path).read(1_000_000).map(|token| (token.principal, token.until));
        match (found, expected) {
            (Ok((name, until)), Ok(expected)) => assert_eq!((name.as_str(), until), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn lives_as_long_as_it_says_and_is_read_again_soon() {
        check(&signed(r#"{"sub":"epicenter","exp":1010.5}"#), Ok(("epicenter", 1_010_500)));
        check(&signed(r#"{"sub":"epicenter","exp":99999}"#), Ok(("epicenter", 1_000_000 + LIFE)));
        check(&format!("{}\n", signed("{}")), Ok(("", 1_000_000 + LIFE)));
        check("opaque\n", Ok(("", 1_000_000 + LIFE)));
        check(&signed(r#"{"exp":990}"#), Err("expired 10 s ago"));
        check("\n", Err("is empty"));
        let missing = TokenFile("/no/such/token".into()).read(0).unwrap_err().to_string();
        assert!(missing.contains("cannot be read") && missing.ends_with("who renews it"), "{missing}");
    }
}
