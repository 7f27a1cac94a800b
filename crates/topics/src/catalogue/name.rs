//! What a topic may be called (Kafka's `Topic.validate`).

use crate::ErrorKind;

/// The longest topic name.
pub const TOPIC_NAME_LEN_MAX: usize = 249;

/// Why a topic cannot have a name.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// It is empty.
    #[error("topic name is empty")]
    Empty,
    /// It would be a directory's name for itself or its parent.
    #[error("topic name cannot be . or ..")]
    Dots,
    /// It is too long.
    #[error("topic name has {length} bytes; {TOPIC_NAME_LEN_MAX} is the most")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It holds a character other than ASCII letters, digits, `.`, `_` and `-`.
    #[error("topic name holds {character:?}; letters, digits, '.', '_' and '-' are allowed")]
    Character {
        /// The first such character.
        character: char,
    },
}

impl NameError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::FixInput
    }
}

/// Checks the name of a new topic.
///
/// # Errors
/// [`NameError`].
pub fn check_topic_name(name: &str) -> Result<(), NameError> {
    match name {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Dots),
        _ if name.len() > TOPIC_NAME_LEN_MAX => return Err(NameError::TooLong { length: name.len() }),
        _ => {}
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().find(|c| !allowed(c)) {
        Some(character) => Err(NameError::Character { character }),
        None => Ok(()),
    }
}

/// The name with `_` for `.`, if it holds either: names with the same stem collide.
pub(super) fn stem(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
