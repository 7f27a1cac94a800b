//! Moments as people name them on a command line.
//!
//! `now`, an RFC 3339 timestamp (`2026-03-01T12:00:00Z`, also with a space or an offset), an age (`10m ago`),
//! or milliseconds since 1970. The current time is an argument, so that a test decides what "ago" means.

use annals_clock::TimestampMs;
use annals_event::Time;

use crate::human;

/// Whole numbers from here on are milliseconds since 1970 (this one is in March 1973), smaller ones are not
/// times.
pub(crate) const MILLIS_MIN: i64 = 100_000_000_000;

/// Parses a moment, relative to `now_ms` if it says so.
pub(crate) fn parse(text: &str, now_ms: TimestampMs) -> Result<TimestampMs, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(age) = text.strip_suffix("ago") {
        let age = human::parse_duration(age.trim())?;
        return Ok(now_ms.saturating_sub_unsigned(age.as_millis() as u64));
    }
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    text.replacen(' ', "T", 1).parse::<Time>().map(|at| at.unix_ms()).map_err(|_| {
        format!(
            "\"{text}\" is not a time; write 2026-03-01T12:00:00Z, \"10m ago\" or milliseconds since 1970"
        )
    })
}

/// RFC 3339 in UTC with milliseconds. What no calendar can say becomes its first or last moment.
pub(crate) fn format(timestamp_ms: TimestampMs) -> String {
    Time::from_unix_ms(timestamp_ms).as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    const NOON: i64 = 1_767_268_800_000; // 2026-01-01T12:00:00Z, by `date -u -d 2026-01-01T12:00:00Z +%s`

    #[test]
    fn the_ways_to_name_a_moment() {
        assert_eq!(parse("2026-01-01T12:00:00Z", 0), Ok(NOON));
        assert_eq!(parse("2026-01-01 13:30:00+01:30", 0), Ok(NOON));
        assert_eq!(parse("10m ago", NOON), Ok(NOON - 600_000));
        assert_eq!(parse("now", NOON), Ok(NOON));
        assert_eq!(parse("1767268800000", 0), Ok(NOON));
    }

    #[test]
    fn nonsense_is_named() {
        assert!(parse("yesterday", NOON).unwrap_err().contains("\"yesterday\""));
        assert!(parse("ten minutes ago", NOON).is_err());
    }

    #[test]
    fn moments_are_written_in_rfc_3339() {
        assert_eq!(format(NOON + 7), "2026-01-01T12:00:00.007Z");
    }
}
