//! Paths and queries, with whatever names hold percent-encoded.

use std::fmt::{Display, Write};

/// A path and a query that are being put together.
#[derive(Debug)]
pub(super) struct Target {
    text: String,
    has_query: bool,
}

impl Target {
    /// The path of these segments.
    pub(super) fn of(segments: &[&str]) -> Self {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            encode(&mut text, segment);
        }
        Self { text, has_query: false }
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        encode(&mut self.text, &value.to_string());
        self
    }

    /// Adds a parameter, if there is a value.
    pub(super) fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Everything but the unreserved characters of RFC 3986 is encoded, so that no name is taken for a part of the path.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn names_do_not_become_paths() {
        let target =
            Target::of(&["stores", "bank", "streams", "a/b ü?#%"]).with("expected", 3).with("tag", "x&y=1");
        assert_eq!(
            target.into_text(),
            "/stores/bank/streams/a%2Fb%20%C3%BC%3F%23%25?expected=3&tag=x%26y%3D1"
        );
        let bare = Target::of(&["stores"]).with_some("after", None::<u64>);
        assert_eq!(bare.into_text(), "/stores");
    }
}
