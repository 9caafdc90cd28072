//! SQL that only reads.

use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::sql::sqlparser::dialect::GenericDialect;
use deltalake::datafusion::sql::sqlparser::keywords::Keyword;
use deltalake::datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::{Answer, Archive, Malformed, Row};
use crate::ArchiveError;

/// Operators, brackets and words of SQL that a query has at most.
const PARTS: usize = 300;
/// What may be asked, and of what.
const MEND: &str = "Ask one SELECT of the tables `events` and `incident_changes`; `DESCRIBE events` names the columns";

impl Archive {
    /// Answers one query that only reads: nothing else is planned, and there is nothing but the two tables to read.
    ///
    /// # Errors
    /// [`ArchiveError::Malformed`] for what cannot be planned; or when the limits are reached, or the archive cannot be read.
    pub async fn sql(&self, query: &str) -> Result<Answer, ArchiveError> {
        bounded(query)?;
        self.ask(query, misunderstood).await
    }

    /// The rows of a query of the archive's own.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Row>, ArchiveError> {
        self.ask(query, |_, error| ArchiveError::query("asking", error)).await?.rows().await
    }
}

/// Planning cannot be interrupted, and takes the longer the deeper expressions are: quadratically, and worse.
///
/// Names, literals and commas do not count, so that a list may be long.
fn bounded(query: &str) -> Result<(), Malformed> {
    let wrong = |why: String| Malformed::new("query", query, format!("is not answered: {why}. {MEND}"));
    let tokens = Tokenizer::new(&GenericDialect {}, query).tokenize().map_err(|error| wrong(error.to_string()))?;
    let is_part = |token: &&Token| match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) => false,
        _ => true,
    };
    let parts = tokens.iter().filter(is_part).count();
    if parts > PARTS {
        return Err(wrong(format!("it has {parts} operators, brackets and words of SQL, and {PARTS} at most may be")));
    }
    Ok(())
}

fn misunderstood(query: &str, error: DataFusionError) -> ArchiveError {
    let why = error.strip_backtrace();
    let why = why.lines().next().unwrap_or_default();
    Malformed::new("query", query, format!("is not answered: {why}. {MEND}")).into()
}
