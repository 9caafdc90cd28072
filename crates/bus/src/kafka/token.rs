//! Tokens of OAUTHBEARER, which somebody else issues.

use std::fmt;

/// Between the two parts of a [`TokenError`], when it is told. No `mend` holds it.
const MEND: &str = ". ";

/// A token, and how long it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What the brokers are shown.
    pub value: String,
    /// Whom it names; empty when it does not tell.
    pub principal: String,
    /// When it is to be asked for again, ms since the epoch: when it expires, or before.
    pub until: i64,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("principal", &self.principal).field("until", &self.until).finish_non_exhaustive()
    }
}

/// Why there is no token. All of it may pass: it is asked for again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}. {mend}")]
pub struct TokenError {
    /// Where it was asked for, and what came of that.
    pub why: String,
    /// How to mend it, in one sentence.
    pub mend: String,
}

impl TokenError {
    /// What is shown in `text`, which was made of one.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (why, mend) = text.rsplit_once(MEND)?;
        Some(Self { why: why.to_owned(), mend: mend.to_owned() })
    }
}

/// Where all clients of an installation have their tokens from.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// The token as it is now. May block, for a few seconds at most: a client asks on the thread that polls it.
    ///
    /// # Errors
    /// There is none that is good now. A client asks again after 10 s.
    fn token(&self) -> Result<Token, TokenError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_told_and_says_how_to_mend_it() {
        let token = Token { value: "secret".to_owned(), principal: "me".to_owned(), until: 7 };
        assert_eq!(format!("{token:?}"), r#"Token { principal: "me", until: 7, .. }"#);
        let error = TokenError { why: "a.b. c".to_owned(), mend: "Check bus.kafka.token_file".to_owned() };
        assert_eq!(TokenError::read(&error.to_string()), Some(error));
    }
}
