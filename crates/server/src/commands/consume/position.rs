//! Where reading starts or stops, as written on the command line.

use annals_clock::TimestampMs;

use crate::moment;

/// A position in every partition that is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Position {
    /// The first record that is kept.
    Beginning,
    /// Behind the last record there is now.
    End,
    /// This offset.
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    /// The first record at or after this moment.
    Time(TimestampMs),
}

impl Position {
    /// Parses `beginning`, `end`, `1234`, `-10`, or a moment. A number from 100000000000 on is milliseconds.
    pub(crate) fn parse(text: &str, now_ms: TimestampMs) -> Result<Self, String> {
        let text = text.trim();
        match (text, text.parse::<i64>()) {
            ("beginning" | "earliest" | "start", _) => Ok(Self::Beginning),
            ("end" | "latest", _) => Ok(Self::End),
            (_, Ok(number)) if number >= moment::MILLIS_MIN => Ok(Self::Time(number)),
            (_, Ok(number)) if number >= 0 => Ok(Self::Offset(number)),
            (_, Ok(number)) => Ok(Self::Last(number.saturating_neg())),
            _ => moment::parse(text, now_ms).map(Self::Time).map_err(|_| {
                format!(
                    "\"{text}\" is not a position; write beginning, end, an offset, -N, \
                     2026-03-01T12:00:00Z or \"10m ago\""
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn all_spellings() {
        let parse = |text| Position::parse(text, 1_000_000);
        assert_eq!(parse("beginning"), Ok(Position::Beginning));
        assert_eq!(parse("end"), Ok(Position::End));
        assert_eq!(parse("0"), Ok(Position::Offset(0)));
        assert_eq!(parse("-10"), Ok(Position::Last(10)));
        assert_eq!(parse("1767268800000"), Ok(Position::Time(1_767_268_800_000)));
        assert_eq!(parse("1s ago"), Ok(Position::Time(999_000)));
        assert_eq!(parse("2026-01-01T12:00:00Z"), Ok(Position::Time(1_767_268_800_000)));
        assert!(parse("tomorrow").unwrap_err().contains("\"tomorrow\""));
    }
}
