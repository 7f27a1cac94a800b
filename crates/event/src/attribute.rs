//! Names and values of attributes, as CloudEvents' naming conventions and type system define them.
//!
//! Invariant: a name that passes [`check_name`] means the same in every protocol, whether or not that protocol tells
//! upper from lower case; a value that passes [`check_characters`] fits into every header field.

use std::fmt;

use crate::InvalidEvent;
use crate::error::excerpt;
use crate::limits::NAME_BYTES_MAX;

/// The value of an extension attribute.
///
/// Formats without types of their own, such as Kafka's headers, carry the canonical string, which [`fmt::Display`]
/// writes: what left as [`Value::Integer`] arrives from there as [`Value::String`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits.
    Integer(i32),
    /// Text; also timestamps, URIs and Base64 bytes, which have no form of their own in JSON.
    String(String),
}

impl Value {
    /// The text, if this is a [`Value::String`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Boolean(_) | Self::Integer(_) => None,
        }
    }

    /// Bytes of the canonical string.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Boolean(_) | Self::Integer(_) => self.to_string().len(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

/// Checks the name of an extension attribute.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidEvent> {
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidEvent::NameTooLong { name: excerpt(name), max: NAME_BYTES_MAX });
    }
    if name == "data" {
        return Err(InvalidEvent::ReservedName);
    }
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(valid) {
        return Err(InvalidEvent::Name { name: excerpt(name) });
    }
    Ok(())
}

/// Checks that a value holds neither control characters nor noncharacters.
pub(crate) fn check_characters(attribute: &str, value: &str) -> Result<(), InvalidEvent> {
    match value.char_indices().find(|(_, character)| is_forbidden(*character)) {
        None => Ok(()),
        Some((position, character)) => {
            let attribute = attribute.to_owned();
            Err(InvalidEvent::Character { attribute, code: u32::from(character), position })
        }
    }
}

fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    // The noncharacters: U+FDD0 to U+FDEF, and the last two of each plane.
    character.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_and_digits() {
        for good in ["a", "correlationid", "comexampleextension1", "0", "opcuametadatamajorversion"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "Upper", "with_underscore", "with-dash", "ünï", "a b"] {
            assert!(matches!(check_name(bad), Err(InvalidEvent::Name { .. })), "{bad}");
        }
        assert_eq!(check_name("data"), Err(InvalidEvent::ReservedName));
        assert!(matches!(check_name(&"a".repeat(65)), Err(InvalidEvent::NameTooLong { max: 64, .. })));
    }

    #[test]
    fn control_characters_and_noncharacters_are_refused() {
        for good in ["", "text with spaces", "Grüße", "日本", "\u{1f600}", "\u{a0}", "\u{fffd}"] {
            assert_eq!(check_characters("subject", good), Ok(()), "{good}");
        }
        for (bad, position) in
            [("\n", 0), ("a\0", 1), ("é\u{7f}", 2), ("\u{85}", 0), ("\u{fdd0}", 0), ("\u{1ffff}", 0)]
        {
            let refused = check_characters("subject", bad);
            assert!(
                matches!(refused, Err(InvalidEvent::Character { position: at, .. }) if at == position),
                "{bad:?}"
            );
        }
    }
}
