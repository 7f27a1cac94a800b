//! The one question that every error of this crate answers: what should the caller do?

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again: the cause may pass by itself.
    Retry,
    /// The input, the command or the program's registrations are wrong, and stay wrong until they are changed.
    Input,
    /// Somebody else was faster: load, decide and try again.
    Conflict,
    /// Nothing will work until an operator acts.
    Unavailable,
    /// Stored data is damaged or cannot be understood by this program.
    Corrupt,
    /// A mistake in Annals or in a function that it was given.
    Bug,
}
