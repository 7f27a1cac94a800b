//! What streams, types and tags may be called.
//!
//! A stream is named `category-id`: the category is what stands before the first `-`. Names that start with `$` are the
//! store's own; `$$account-17` holds the metadata of `account-17` (as KurrentDB has it). Names that start with `~` are the
//! library's: anybody may write there, and nobody sees it without asking.

use std::fmt;
use std::sync::Arc;

/// Bytes of a stream's name.
pub const STREAM_NAME_BYTES_MAX: usize = 512;
/// Bytes of an event's type.
pub const TYPE_BYTES_MAX: usize = 256;
/// Bytes of a tag.
pub const TAG_BYTES_MAX: usize = 256;

const METADATA_PREFIX: &str = "$$";

/// Why a name is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// There is too much.
    #[error("it has {bytes} bytes, and {max} is the most")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// It holds a control character.
    #[error("it holds the control character U+{:04X}", u32::from(*character))]
    Control {
        /// The first such character.
        character: char,
    },
    /// It is the store's own.
    #[error("names that start with '$' are the store's own")]
    Reserved,
}

/// The name of a stream. Cheap to clone.
///
/// ```
/// use annals_eventstore::StreamName;
/// let name = StreamName::new("account-17")?;
/// assert_eq!(name.category(), Some("account"));
/// assert!(StreamName::new("$secret").is_err());
/// # Ok::<(), annals_eventstore::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// A stream of a user.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.starts_with('$') {
            return Err(NameError::Reserved);
        }
        check(name, STREAM_NAME_BYTES_MAX)?;
        Ok(Self(name.into()))
    }

    /// The stream that holds the metadata of this one.
    #[must_use]
    pub fn metadata(&self) -> Self {
        Self(format!("{METADATA_PREFIX}{}", self.0).into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As shared text.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// What stands before the first `-`.
    pub fn category(&self) -> Option<&str> {
        category_of(&self.0)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The category of a stream's name: what stands before the first `-`, if that is not empty and the stream is a user's.
pub fn category_of(stream: &str) -> Option<&str> {
    let (category, _) = stream.split_once('-')?;
    (!category.is_empty() && !is_system(stream)).then_some(category)
}

/// Whether a stream, category or type is Annals' own: the store's (`$`) or the library's (`~`). Both are given to those alone
/// who ask for them.
pub fn is_internal(name: &str) -> bool {
    name.starts_with(['$', '~'])
}

/// Whether a stream is the store's own.
pub(crate) fn is_system(stream: &str) -> bool {
    stream.starts_with('$')
}

/// The stream that `stream` holds the metadata of.
pub(crate) fn described_by(stream: &str) -> Option<&str> {
    stream.strip_prefix(METADATA_PREFIX)
}

/// Checks the type of a user's event.
pub(crate) fn check_type(name: &str) -> Result<(), NameError> {
    if name.starts_with('$') {
        return Err(NameError::Reserved);
    }
    check(name, TYPE_BYTES_MAX)
}

/// Checks a tag.
pub(crate) fn check_tag(tag: &str) -> Result<(), NameError> {
    check(tag, TAG_BYTES_MAX)
}

fn check(name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong { bytes: name.len(), max });
    }
    match name.chars().find(|character| character.is_control()) {
        Some(character) => Err(NameError::Control { character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let refused = |name: &str| StreamName::new(name).expect_err("refused");
        assert_eq!(refused(""), NameError::Empty);
        assert_eq!(refused("$$account-1"), NameError::Reserved);
        assert_eq!(refused("a\nb"), NameError::Control { character: '\n' });
        assert!(matches!(refused(&"x".repeat(513)), NameError::TooLong { bytes: 513, max: 512 }));
        assert!(StreamName::new("конто-1").is_ok());
        assert_eq!(check_type("$metadata"), Err(NameError::Reserved));
    }

    #[test]
    fn the_category_stands_before_the_first_dash() {
        assert_eq!(category_of("order-item-5"), Some("order"));
        assert_eq!(category_of("order"), None);
        assert_eq!(category_of("-5"), None);
        assert_eq!(category_of("$$order-5"), None);
        assert_eq!(described_by("$$order-5"), Some("order-5"));
    }
}
