//! Where a page of rows ended.

use std::fmt;
use std::str::FromStr;

use epicenter_model::Timestamp;

use crate::ask::Malformed;
use crate::ask::filter::instant;

/// The last row of a page: the next one goes on there, whatever was archived meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Log time, µs since the epoch.
    pub(super) time: i64,
    pub(super) partition: i64,
    pub(super) offset: i64,
}

/// The order that cursors go by: the newest first.
pub(super) const ORDER: &str = "time DESC, partition, \"offset\" DESC";

impl Cursor {
    /// The condition that a row comes after it.
    pub(super) fn after(self) -> String {
        let Self { time, partition, offset } = self;
        let time = instant(Timestamp::from_micros(time));
        format!(
            "time <= {time} AND (time < {time} OR partition > {partition} OR (partition = {partition} AND \"offset\" < {offset}))"
        )
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.time, self.partition, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let numbers: Result<Vec<i64>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([time, partition, offset]) => Ok(Self { time: *time, partition: *partition, offset: *offset }),
            _ => Err(Malformed::new("cursor", text, "is none: take the one that the page before ended with")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        let cursor = Cursor { time: -1, partition: 2, offset: 3 };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in ["", "1.2", "1.2.x", "1.2.3.4", "1.2.3) OR (TRUE"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
