//! Times in documents: RFC 3339 as Go reads it (`time.Time`'s `UnmarshalJSON`), because most tools do.
//!
//! Go takes an hour of one digit, a comma before the fraction, and offsets up to 24:60; but no small letters, and no
//! second 60.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use serde::Deserialize;

/// The most characters that are kept of what is no time.
const MAX_KEPT: usize = 64;
/// The year before which no image was made.
const FIRST_YEAR: i32 = 2015;

/// A time, as a document has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(DateTime<Utc>);

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time in RFC 3339, such as 2026-01-31T12:00:00Z")]
pub struct BadTime(String);

impl Time {
    /// The time in UTC.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// The time in UTC, if it [`is_real`].
    pub fn real(self) -> Option<DateTime<Utc>> {
        Some(self.0).filter(is_real)
    }
}

/// Whether a time is one, and not what builds that are reproducible put in its place.
pub fn is_real(time: &DateTime<Utc>) -> bool {
    time.year() >= FIRST_YEAR
}

impl FromStr for Time {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let bad = || BadTime(text.chars().take(MAX_KEPT).collect());
        parse(text).map(Time).ok_or_else(bad)
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(time: DateTime<Utc>) -> Self {
        Time(time)
    }
}

impl TryFrom<String> for Time {
    type Error = BadTime;

    fn try_from(text: String) -> Result<Self, BadTime> {
        text.parse()
    }
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4)?;
    rest.one_of(b"-")?;
    let month = rest.number(2)?;
    rest.one_of(b"-")?;
    let day = rest.number(2)?;
    rest.one_of(b"T")?;
    let hour = rest.number(2).or_else(|| rest.number(1))?;
    rest.one_of(b":")?;
    let minute = rest.number(2)?;
    rest.one_of(b":")?;
    let second = rest.number(2)?;
    let nanosecond = rest.fraction()?;
    let sign = rest.one_of(b"Z+-")?;
    let offset = if sign == b'Z' {
        0
    } else {
        let hours = rest.number(2).filter(|hours| *hours <= 24)?;
        rest.one_of(b":")?;
        let minutes = rest.number(2).filter(|minutes| *minutes <= 60)?;
        i64::from(hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
    };
    if !rest.0.is_empty() {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day)?;
    let local = date.and_hms_nano_opt(hour, minute, second, nanosecond)?;
    let utc = local
        .checked_sub_signed(TimeDelta::minutes(offset))?
        .and_utc();
    // Others could not be written again.
    (0..=9999).contains(&utc.year()).then_some(utc)
}

/// What is left to parse.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = std::str::from_utf8(number).ok()?;
        if !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        number.parse().ok()
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !bytes.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    /// The nanoseconds; none of a second where there is no fraction. What is smaller is left out.
    fn fraction(&mut self) -> Option<u32> {
        if self.one_of(b".,").is_none() {
            return Some(0);
        }
        let mut nanoseconds = self.number(1)? * 100_000_000;
        let mut unit = 10_000_000;
        while let Some(digit) = self.number(1) {
            nanoseconds += digit * unit;
            unit /= 10;
        }
        Some(nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+02:30", "2026-01-31T09:30:00Z"),
            ("2026-01-31T12:00:00-02:30", "2026-01-31T14:30:00Z"),
            ("2026-01-31T1:00:00Z", "2026-01-31T01:00:00Z"),
            ("2026-01-31T01:00:00,5Z", "2026-01-31T01:00:00.500Z"),
            (
                "2026-01-31T01:00:00.1234567891234Z",
                "2026-01-31T01:00:00.123456789Z",
            ),
            ("2026-01-31T00:00:00+24:60", "2026-01-29T23:00:00Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ] {
            let time: Time = text.parse().unwrap();
            let found = time
                .utc()
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            assert_eq!(found, expected, "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31t12:00:00Z",
            "2026-01-31T12:00:00z",
            "2026-01-31T12:00:60Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-02-29T00:00:00Z",
            "2026-1-31T12:00:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00+25:00",
            "2026-01-31T12:00:00+00:61",
            "2026-01-31T12:00:00Z ",
            "+2026-01-31T12:00:00Z",
            "12026-01-31T12:00:00Z",
            "２026-01-31T12:00:00Z",
            "1767225600",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        let error = format!("\u{202e}{}", "x".repeat(1000)).parse::<Time>();
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with(r#""\u{202e}xx"#) && error.len() < 200,
            "{error}"
        );
    }

    #[test]
    fn a_time_before_there_were_images_is_none() {
        let real = |text: &str| text.parse::<Time>().unwrap().real();
        assert!(real("0001-01-01T00:00:00Z").is_none());
        assert!(real("1980-01-01T00:00:01Z").is_none());
        assert!(real("2026-01-01T00:00:00Z").is_some());
    }
}
