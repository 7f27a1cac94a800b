//! Sizes, counts and durations as people write and read them.

use std::time::Duration;

/// Parses a size in bytes: `4096`, `64KiB`, `1MiB`, `2GB`, `10k`. Letters are powers of 1024, with or without
/// `i`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("unknown unit \"{unit}\" in size \"{text}\"; use KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a size; write 4096 or 64KiB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("size \"{text}\" is too large"))
}

/// Parses a duration: `500ms`, `30s`, `10m`, `2h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let unit_ms = match unit {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("\"{text}\" is not a duration; write 500ms, 30s, 10m, 2h or 7d")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("\"{text}\" is not a duration; write 30s or 10m"))?;
    let millis = number.checked_mul(unit_ms).ok_or_else(|| format!("duration \"{text}\" is too long"))?;
    Ok(Duration::from_millis(millis))
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// `1.5 MiB`, for reading.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1,234,567`, for reading.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in the unit that suits it: `850us`, `12.3ms`, `4.2s`, `3m12s`, `5h03m`, `2d04h`.
pub(crate) fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match () {
        () if span < Duration::from_millis(1) => format!("{}us", span.as_micros()),
        () if span < Duration::from_secs(1) => format!("{:.1}ms", span.as_secs_f64() * 1e3),
        () if seconds < 60 => format!("{:.1}s", span.as_secs_f64()),
        () if seconds < 3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        () if seconds < 86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        () => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `count noun`, with an `s` unless there is one of it.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, count, duration, parse_bytes, parse_duration, plural};

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("2 g"), Ok(2_147_483_648));
        assert!(parse_bytes("12 parsecs").unwrap_err().contains("parsecs"));
        assert!(parse_bytes("99999999999999999T").unwrap_err().contains("too large"));
        assert!(parse_bytes("-1").is_err());
    }

    #[test]
    fn durations_are_parsed() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7_200)));
        assert!(parse_duration("10").is_err());
        assert!(parse_duration("ten").is_err());
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!((bytes(1_023), bytes(1_572_864)), ("1023 B".into(), "1.5 MiB".into()));
        assert_eq!(
            (count(7), count(1_234_567), count(123_456)),
            ("7".into(), "1,234,567".into(), "123,456".into())
        );
        assert_eq!(duration(Duration::from_micros(850)), "850us");
        assert_eq!(duration(Duration::from_millis(4_200)), "4.2s");
        assert_eq!(duration(Duration::from_secs(11_000)), "3h03m");
        assert_eq!((plural(1, "record"), plural(2, "record")), ("1 record".into(), "2 records".into()));
    }
}
