//! The time of an event: an RFC 3339 timestamp that keeps its text.
//!
//! Invariant: the text leaves exactly as it came, offset and digits of the second included, so that an event that
//! passes through keeps its bytes; the number beside it is for comparing and for Kafka's record timestamp.

use std::fmt;
use std::str::FromStr;

use annals_clock::TimestampMs;

use crate::InvalidEvent;
use crate::error::excerpt;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A moment, as RFC 3339 text and as milliseconds since the Unix epoch.
///
/// ```
/// use annals_event::Time;
///
/// let time: Time = "2018-04-05T19:31:00+02:00".parse()?;
/// assert_eq!(time.as_str(), "2018-04-05T19:31:00+02:00");
/// assert_eq!(Time::from_unix_ms(time.unix_ms()).as_str(), "2018-04-05T17:31:00.000Z");
/// # Ok::<(), annals_event::InvalidEvent>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    text: String,
    unix_ms: TimestampMs,
}

impl Time {
    /// The moment `unix_ms` milliseconds after the Unix epoch, in UTC. RFC 3339 knows the years 0 to 9999; what lies
    /// outside becomes the first or last millisecond of them.
    pub fn from_unix_ms(unix_ms: TimestampMs) -> Self {
        let unix_ms =
            unix_ms.clamp(days_from_civil(0, 1, 1) * DAY_MS, days_from_civil(10_000, 1, 1) * DAY_MS - 1);
        let (year, month, day) = civil_from_days(unix_ms.div_euclid(DAY_MS));
        let in_day = unix_ms.rem_euclid(DAY_MS);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, millis) = (in_day / 1000 % 60, in_day % 1000);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
        Self { text, unix_ms }
    }

    /// Milliseconds since the Unix epoch; finer digits are cut off.
    pub fn unix_ms(&self) -> TimestampMs {
        self.unix_ms
    }

    /// The text as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn parse(text: String) -> Result<Self, InvalidEvent> {
        match parse_unix_ms(&text) {
            Ok(unix_ms) => Ok(Self { text, unix_ms }),
            Err(reason) => Err(InvalidEvent::Time { value: excerpt(&text), reason }),
        }
    }
}

impl FromStr for Time {
    type Err = InvalidEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.to_owned())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses the `date-time` of RFC 3339, section 5.6.
fn parse_unix_ms(text: &str) -> Result<i64, &'static str> {
    const SHAPE: &str = "it must look like 2018-04-05T17:31:00Z";
    let (head, rest) = text.split_at_checked(19).ok_or(SHAPE)?;
    let head = head.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|&(at, mark)| head[at].to_ascii_uppercase() == mark) {
        return Err(SHAPE);
    }
    let field = |from: usize, to: usize| number(&head[from..to]).ok_or(SHAPE);
    let days = parse_date(field(0, 4)?, field(5, 7)?, field(8, 10)?)?;
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let (millis, zone) = parse_fraction(rest)?;
    let offset_min = parse_offset(zone)?;
    let minutes = parse_minutes(hour, minute)? - offset_min;
    check_second(second, minutes)?;
    Ok(days * DAY_MS + minutes * 60_000 + second * 1000 + millis)
}

fn parse_date(year: i64, month: i64, day: i64) -> Result<i64, &'static str> {
    if !(1..=12).contains(&month) {
        return Err("its month is not between 1 and 12");
    }
    if !(1..=days_in_month(year, month)).contains(&day) {
        return Err("its month does not have that day");
    }
    Ok(days_from_civil(year, month, day))
}

fn parse_minutes(hour: i64, minute: i64) -> Result<i64, &'static str> {
    if hour > 23 || minute > 59 {
        return Err("its hour or minute is out of range");
    }
    Ok(hour * 60 + minute)
}

/// Leap seconds come at the end of a day in UTC, and count as the first second of the next day.
fn check_second(second: i64, utc_minutes: i64) -> Result<(), &'static str> {
    let leap = second == 60 && utc_minutes.rem_euclid(24 * 60) == 24 * 60 - 1;
    if second > 59 && !leap { Err("its second is out of range") } else { Ok(()) }
}

/// Takes `.123` off the front of `text`, as milliseconds.
fn parse_fraction(text: &str) -> Result<(i64, &str), &'static str> {
    let Some(after) = text.strip_prefix('.') else { return Ok((0, text)) };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (digits, zone) = after.split_at(end);
    if digits.is_empty() {
        return Err("no digits follow its decimal point");
    }
    let millis =
        digits.bytes().chain(*b"00").take(3).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Ok((millis, zone))
}

/// Minutes east of UTC.
fn parse_offset(zone: &str) -> Result<i64, &'static str> {
    const SHAPE: &str = "it must end in Z or an offset such as +02:00";
    if zone.eq_ignore_ascii_case("z") {
        return Ok(0);
    }
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = *zone.as_bytes() else { return Err(SHAPE) };
    let hour = number(&[h1, h2]).ok_or(SHAPE)?;
    let minute = number(&[m1, m2]).ok_or(SHAPE)?;
    let minutes = parse_minutes(hour, minute)?;
    Ok(if sign == b'-' { -minutes } else { minutes })
}

fn number(digits: &[u8]) -> Option<i64> {
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March, so that leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = era * 400 + of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        // Expected values from GNU date and, before 1970, from Python's datetime.
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2018-04-05T17:31:00Z", 1_522_949_460_000),
            ("2018-04-05t17:31:00.5z", 1_522_949_460_500),
            ("1985-04-12T23:20:50.52Z", 482_196_050_520),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130),
            ("2000-02-29T00:00:00.123456789Z", 951_782_400_123),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("1990-12-31T23:59:60Z", 662_688_000_000),
            ("1990-12-31T15:59:60-08:00", 662_688_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().map(|time: Time| time.unix_ms()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused_with_the_reason() {
        let cases = [
            ("", "look like"),
            ("2018-04-05", "look like"),
            ("2018-04-05 17:31:00Z", "look like"),
            ("2018-04-05T17:31:00", "end in Z"),
            ("2018-04-05T17:31:00+0200", "end in Z"),
            ("2018-04-05T17:31:00Zx", "end in Z"),
            ("2018-04-05T17:31:00.Z", "no digits"),
            ("2018-13-05T17:31:00Z", "month is not"),
            ("2018-02-29T17:31:00Z", "that day"),
            ("1900-02-29T17:31:00Z", "that day"),
            ("2018-04-05T24:00:00Z", "hour or minute"),
            ("2018-04-05T17:31:60Z", "second"),
            ("2018-04-05T17:31:00+25:00", "hour or minute"),
            ("+018-04-05T17:31:00Z", "look like"),
            ("2018-04-05T17:31:é0Z", "look like"),
        ];
        for (text, reason) in cases {
            let refused = text.parse::<Time>().expect_err(text).to_string();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn moments_beyond_the_calendar_are_drawn_in() {
        assert_eq!(Time::from_unix_ms(i64::MAX).as_str(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Time::from_unix_ms(i64::MIN).as_str(), "0000-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn written_moments_are_read_back(unix_ms in -62_167_219_200_000_i64..253_402_300_800_000) {
            let time = Time::from_unix_ms(unix_ms);
            prop_assert_eq!(time.as_str().parse::<Time>(), Ok(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<Time>();
        }
    }
}
