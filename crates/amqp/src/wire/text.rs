//! Short strings: names of exchanges, queues and consumers, routing keys.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::Malformed;

/// The longest short string.
pub(crate) const TEXT_BYTES_MAX: usize = 255;

/// UTF-8 of at most 255 bytes, shared with the frame that it came in. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Text(Bytes);

impl Text {
    /// Takes bytes from a frame.
    pub(crate) fn from_wire(bytes: Bytes) -> Result<Self, Malformed> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(Malformed::Utf8),
        }
    }

    /// A copy of `text`, cut where it is too long, and then with three dots at its end, as RabbitMQ does.
    pub(crate) fn cut(text: &str) -> Self {
        if text.len() <= TEXT_BYTES_MAX {
            return Self(Bytes::copy_from_slice(text.as_bytes()));
        }
        let end = (0..=TEXT_BYTES_MAX - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Self(Bytes::from(format!("{}...", &text[..end])))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, shared.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy that does not hold on to the frame it came in: for what is kept long.
    pub(crate) fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        debug_assert!(text.len() <= TEXT_BYTES_MAX);
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_between_two_characters() {
        let long = "ä".repeat(200);
        let cut = Text::cut(&long);
        assert_eq!(cut.as_str(), format!("{}...", "ä".repeat(126)));
        assert_eq!(Text::cut("short").as_str(), "short");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_no_text() {
        assert_eq!(Text::from_wire(Bytes::from_static(b"\xff")), Err(Malformed::Utf8));
    }
}
