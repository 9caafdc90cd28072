//! Errors in one line.

use std::error::Error;

/// An error with its causes: those of HTTP clients say little by themselves. A cause that is quoted already is not told again.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("not sent")]
    struct Hides(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("no answer: {0}")]
    struct Quotes(#[source] Hides);

    #[test]
    fn tells_each_cause_once() {
        let error = Quotes(Hides(std::io::Error::other("the disk is full")));
        assert_eq!(with_causes(&error), "no answer: not sent: the disk is full");
    }
}
