//! Instants, as microseconds since the Unix epoch, UTC.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// An instant in microseconds since 1970-01-01T00:00:00Z.
///
/// On the wire a `long` (`timestamp-micros`); in JSON and on screen RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 instant, or one that does not fit into the years -9999 to 9999.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time such as 2026-11-23T11:08:04Z")]
pub struct TimestampError {
    text: String,
    source: jiff::Error,
}

impl Timestamp {
    /// The instant `micros` µs after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant `millis` ms after the epoch; saturates at the ends of the range.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// µs since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// ms since the epoch, rounded towards the past.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// ms from `earlier` to `self`; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// This instant moved by `millis` ms (negative: into the past).
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1000)))
    }
}

/// An instant for people: UTC, to the second.
pub fn instant(at: Timestamp) -> String {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000);
    seconds.to_string().replacen('T', " ", 1)
}

/// A length of time in ms for people: its two largest units.
pub fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, 0) => format!("{m}m"),
        (0, 0, m, s) => format!("{m}m{s}s"),
        (0, h, 0, _) => format!("{h}h"),
        (0, h, m, _) => format!("{h}h{m}m"),
        (d, 0, ..) => format!("{d}d"),
        (d, h, ..) => format!("{d}d{h}h"),
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        text.parse::<jiff::Timestamp>()
            .map(|instant| Self(instant.as_microsecond()))
            .map_err(|source| TimestampError { text: text.to_owned(), source })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, micros: i64, shown: &str) {
        let instant: Timestamp = text.parse().unwrap();
        assert_eq!((instant.as_micros(), instant.to_string().as_str()), (micros, shown));
    }

    #[test]
    fn reads_and_shows_rfc_3339() {
        check("1970-01-01T00:00:01Z", 1_000_000, "1970-01-01T00:00:01Z");
        check("1970-01-01T00:00:00.036592Z", 36_592, "1970-01-01T00:00:00.036592Z");
        check("1970-01-01T01:00:00+01:00", 0, "1970-01-01T00:00:00Z");
    }

    #[test]
    fn refuses_what_is_no_time_and_names_it() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert_eq!(error.to_string(), "`yesterday` is not an RFC 3339 time such as 2026-11-23T11:08:04Z");
    }

    #[test]
    fn shows_spans_in_two_units() {
        for (millis, text) in
            [(-5, "0s"), (59_999, "59s"), (60_000, "1m"), (61_000, "1m1s"), (3_660_000, "1h1m"), (90_000_000, "1d1h")]
        {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn shows_instants_to_the_second() {
        assert_eq!(instant(Timestamp::from_micros(1_999_999)), "1970-01-01 00:00:01Z");
    }

    #[test]
    fn rounds_millis_towards_the_past() {
        assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
    }
}
