//! The lines of a watch.

use bytes::{Buf, Bytes, BytesMut};

use crate::api::{ApiError, Incoming};

/// How much is kept of a line that is too long.
const KEPT: usize = 64 * 1024;

/// A line of a watch, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Bytes),
    /// It is longer than the limit; its start, and its length in bytes.
    TooLong(Bytes, usize),
}

/// Cuts a body into lines.
pub(crate) struct Lines {
    body: Incoming,
    split: Split,
}

impl Lines {
    pub(crate) fn new(body: Incoming, limit: usize) -> Self {
        Self { body, split: Split { buffer: BytesMut::new(), searched: 0, dropped: 0, limit } }
    }

    /// The next line; `None` at the end. A last line without an end was cut off, and will come again.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, ApiError> {
        loop {
            if let Some(line) = self.split.next() {
                return Ok(Some(line));
            }
            match self.body.part().await? {
                Some(part) => self.split.push(&part),
                None => return Ok(None),
            }
        }
    }
}

struct Split {
    buffer: BytesMut,
    /// There is no line end before that index.
    searched: usize,
    /// Bytes of the present line that were thrown away, since it is too long.
    dropped: usize,
    limit: usize,
}

impl Split {
    fn push(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(part);
    }

    fn next(&mut self) -> Option<Line> {
        loop {
            let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.buffer.len() > self.limit {
                    self.dropped += self.buffer.len() - KEPT.min(self.limit);
                    self.buffer.truncate(KEPT.min(self.limit));
                    self.searched = self.buffer.len();
                }
                return None;
            };
            let line = self.buffer.split_to(self.searched + found).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            let length = line.len() + std::mem::take(&mut self.dropped);
            if length > self.limit {
                return Some(Line::TooLong(line.slice(..line.len().min(KEPT)), length));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Line::Whole(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: usize, parts: &[&str], expected: &[(&str, usize)]) {
        let mut split = Split { buffer: BytesMut::new(), searched: 0, dropped: 0, limit };
        let mut found = Vec::new();
        for part in parts {
            split.push(part.as_bytes());
            while let Some(line) = split.next() {
                found.push(match line {
                    Line::Whole(line) => (String::from_utf8(line.to_vec()).unwrap(), 0),
                    Line::TooLong(start, length) => (String::from_utf8(start.to_vec()).unwrap(), length),
                });
            }
        }
        let expected: Vec<_> = expected.iter().map(|(text, length)| ((*text).to_owned(), *length)).collect();
        assert_eq!(found, expected, "{parts:?}");
    }

    #[test]
    fn cuts_wherever_the_parts_end() {
        check(9, &["a\nb", "c\n", "\n\r\n", "d"], &[("a", 0), ("bc", 0)]);
        check(9, &["a", "b", "\n"], &[("ab", 0)]);
    }

    #[test]
    fn throws_away_what_is_too_long_and_goes_on() {
        check(4, &["12345\nab\n"], &[("12345", 5), ("ab", 0)]);
        check(4, &["123", "456", "789", "\nab\n"], &[("1234", 9), ("ab", 0)]);
    }
}
