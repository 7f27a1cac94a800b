//! W3C Trace Context (recommendation of November 2021): `traceparent` and `tracestate`.
//!
//! As the recommendation asks, a version above 00 is read as far as version 00 goes. The envelope keeps the text; the
//! types here check it and take it apart.

use std::fmt;
use std::str::FromStr;

use crate::limits::TRACE_STATE_MEMBERS_MAX;

/// A trace context that does not follow the W3C recommendation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// `traceparent` has another shape.
    #[error(
        "traceparent must look like 00-<32 hexadecimal digits>-<16 hexadecimal digits>-01, in lower case"
    )]
    Parent,
    /// `traceparent` has the version ff, which is not allowed.
    #[error("traceparent has the version ff, which is not allowed")]
    Version,
    /// An id in `traceparent` consists of zeros.
    #[error("traceparent has an id of zeros only, which means that there is none")]
    ZeroId,
    /// A member of `tracestate` is not `key=value`.
    #[error("tracestate member {position} is not a key=value that the recommendation allows")]
    Member {
        /// Which member, counted from 1.
        position: usize,
    },
    /// Two members of `tracestate` have the same key.
    #[error("tracestate member {position} has the key of an earlier one")]
    RepeatedKey {
        /// Which member, counted from 1.
        position: usize,
    },
    /// `tracestate` has too many members.
    #[error("tracestate has more than {max} members")]
    TooManyMembers {
        /// The limit, [`crate::limits::TRACE_STATE_MEMBERS_MAX`].
        max: usize,
    },
    /// `tracestate` without `traceparent` means nothing.
    #[error("tracestate needs a traceparent beside it")]
    StateAlone,
}

/// Which trace an event belongs to, and the span that it came from.
///
/// ```
/// use annals_event::TraceParent;
///
/// let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01".parse()?;
/// assert_eq!(parent.trace_id()[0], 0x0a);
/// assert!(parent.is_sampled());
/// # Ok::<(), annals_event::TraceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// A context of version 00.
    ///
    /// # Errors
    /// [`TraceError::ZeroId`] if one of the ids consists of zeros.
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], flags: u8) -> Result<Self, TraceError> {
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(TraceError::ZeroId);
        }
        Ok(Self { trace_id, parent_id, flags })
    }

    /// The id of the whole trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span that sent the event.
    pub fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }

    /// The trace flags; the lowest bit says "sampled".
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the sender may have recorded this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

impl FromStr for TraceParent {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let (head, rest) = text.split_at_checked(55).ok_or(TraceError::Parent)?;
        let bytes = head.as_bytes();
        if [2, 35, 52].iter().any(|&at| bytes[at] != b'-') {
            return Err(TraceError::Parent);
        }
        let [version] = hex(&bytes[..2])?;
        match (version, rest.as_bytes().first()) {
            (0xff, _) => return Err(TraceError::Version),
            (_, None) | (1.., Some(b'-')) => {}
            (_, Some(_)) => return Err(TraceError::Parent),
        }
        let [flags] = hex(&bytes[53..55])?;
        Self::new(hex(&bytes[3..35])?, hex(&bytes[36..52])?, flags)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, parent_id) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.parent_id));
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{:02x}", self.flags)
    }
}

/// Reads `2 * N` lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], TraceError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(TraceError::Parent),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

/// Checks a `tracestate` list (section 3.3.1).
pub(crate) fn check_state(text: &str) -> Result<(), TraceError> {
    let mut keys = Vec::new();
    for (index, member) in text.split(',').enumerate() {
        let (position, member) = (index + 1, member.trim_matches([' ', '\t']));
        if member.is_empty() {
            continue;
        }
        if keys.len() == TRACE_STATE_MEMBERS_MAX {
            return Err(TraceError::TooManyMembers { max: TRACE_STATE_MEMBERS_MAX });
        }
        let (key, value) = member.split_once('=').ok_or(TraceError::Member { position })?;
        if !is_state_key(key) || !is_state_value(value) {
            return Err(TraceError::Member { position });
        }
        if keys.contains(&key) {
            return Err(TraceError::RepeatedKey { position });
        }
        keys.push(key);
    }
    Ok(())
}

/// A simple key of up to 256 characters, or a tenant of up to 241 and a system of up to 14 with an `@` between them.
fn is_state_key(key: &str) -> bool {
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let part = |text: &str, max: usize, start: fn(&u8) -> bool| {
        text.len() <= max && text.bytes().all(valid) && text.as_bytes().first().is_some_and(start)
    };
    let letter_or_digit: fn(&u8) -> bool = |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match key.split_once('@') {
        None => part(key, 256, u8::is_ascii_lowercase),
        Some((tenant, system)) => {
            part(tenant, 241, letter_or_digit) && part(system, 14, u8::is_ascii_lowercase)
        }
    }
}

/// Up to 256 printable characters without comma and equals sign, the last of them no space.
fn is_state_value(value: &str) -> bool {
    let valid = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(valid) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_recommendations_example_is_read_and_written() {
        let parent: TraceParent = EXAMPLE.parse().unwrap();
        assert_eq!(parent.to_string(), EXAMPLE);
        assert_eq!((parent.parent_id()[1], parent.flags(), parent.is_sampled()), (0xf0, 1, true));
    }

    #[test]
    fn later_versions_are_read_as_far_as_this_one_goes() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert!(later.parse::<TraceParent>().is_ok());
        assert!(format!("{later}-what-the-future-will-be-like").parse::<TraceParent>().is_ok());
        assert_eq!(format!("{later}.x").parse::<TraceParent>(), Err(TraceError::Parent));
        assert_eq!(format!("{EXAMPLE}-x").parse::<TraceParent>(), Err(TraceError::Parent));
    }

    #[test]
    fn broken_parents_are_refused() {
        let cases = [
            ("", TraceError::Parent),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", TraceError::Parent),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", TraceError::Parent),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", TraceError::ZeroId),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", TraceError::ZeroId),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceError::Version),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", TraceError::Parent),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<TraceParent>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn state_lists_follow_the_grammar() {
        for good in
            ["", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1, ,\tb=2 , fw529a3039@dt=FfZ;x", "0t@s=1"]
        {
            assert_eq!(check_state(good), Ok(()), "{good}");
        }
        for (bad, position) in
            [("x", 1), ("a=1,B=2", 2), ("a=", 1), ("a=b=c", 1), ("a=1,@s=2", 2), ("0=1", 1)]
        {
            assert_eq!(check_state(bad), Err(TraceError::Member { position }), "{bad}");
        }
        assert_eq!(check_state("a=1,b=2,a=3"), Err(TraceError::RepeatedKey { position: 3 }));
        let list = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(check_state(&list(32)), Ok(()));
        assert_eq!(check_state(&list(33)), Err(TraceError::TooManyMembers { max: 32 }));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = text.parse::<TraceParent>();
            let _ = check_state(&text);
        }
    }
}
