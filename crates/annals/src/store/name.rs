//! Names of streams: `category-id`.

use std::fmt;
use std::sync::Arc;

use super::STREAM_NAME_BYTES_MAX;

/// What the names of Annals' own streams begin with: those of this library (`~`) and of the store (`$`).
pub(super) const SYSTEM_MARKS: [char; 2] = ['~', '$'];

/// The name of a stream. What stands before the first `-` is its category.
///
/// ```
/// use annals::store::StreamName;
///
/// let name = StreamName::of("account", "123-a")?;
/// assert_eq!((name.as_str(), name.category()), ("account-123-a", "account"));
/// assert!(StreamName::of("account", "").is_err());
/// assert!(StreamName::of("bank-account", "1").is_err());
/// # Ok::<(), annals::store::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

/// A name that no stream can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A part of it is empty.
    #[error("the name of a stream has the form category-id, and neither is empty: {name:?}")]
    Empty {
        /// The name.
        name: String,
    },
    /// It is too long.
    #[error("the name of a stream has at most {STREAM_NAME_BYTES_MAX} bytes, this one has {len}: {name:?}")]
    TooLong {
        /// Its beginning.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// A control character is in it.
    #[error("a control character is in the name of a stream: {name:?}")]
    Control {
        /// The name.
        name: String,
    },
    /// A category that cannot be found again.
    #[error("the name of a category holds no `-`, since that is where the id begins: {category:?}")]
    Category {
        /// The category.
        category: String,
    },
}

impl StreamName {
    /// A name as it is.
    ///
    /// # Errors
    /// If it is empty, too long or holds control characters.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty { name: String::new() });
        }
        if name.len() > STREAM_NAME_BYTES_MAX {
            return Err(NameError::TooLong { name: name.chars().take(40).collect(), len: name.len() });
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control { name: name.to_string() });
        }
        Ok(Self(name))
    }

    /// The stream of the aggregate `id` in a category.
    ///
    /// # Errors
    /// If either is empty, the category holds a `-`, or the whole is no name.
    pub fn of(category: &str, id: &str) -> Result<Self, NameError> {
        let name = format!("{category}-{id}");
        if category.is_empty() || id.is_empty() {
            return Err(NameError::Empty { name });
        }
        if category.contains('-') {
            return Err(NameError::Category { category: category.to_owned() });
        }
        Self::new(name)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `-`; all of it, if there is none.
    pub fn category(&self) -> &str {
        self.0.split('-').next().unwrap_or(&self.0)
    }

    /// What stands behind the first `-`.
    pub fn id(&self) -> Option<&str> {
        self.0.split_once('-').map(|(_, id)| id)
    }

    /// Whether it is one of Annals' own: of this library (`~`) or of the store (`$`).
    pub fn is_system(&self) -> bool {
        self.0.starts_with(SYSTEM_MARKS)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
