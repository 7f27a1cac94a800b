//! What a caller can do about an error.

/// The one question that every error of this crate answers: what should the caller do next?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The same request may succeed later.
    Retry,
    /// The request is wrong and stays wrong until it is changed.
    FixInput,
    /// A newer owner has taken the caller's place.
    Fenced,
    /// The thing asked for is not there, or not served here.
    Unavailable,
    /// The bytes are damaged.
    Corrupt,
    /// A promise of this program is broken.
    Bug,
}
